"""`--jobs N`: several jobs of a multirun at a time."""

import json
import os
import signal
import sys
import textwrap
import threading
import time

import pytest

from cnntrain.cli import parallel_jobs
from cnntrain.cli.parallel_jobs import Flags, taken_out
from cnntrain.errors import ConfigError
from tests.training.test_run import history_of, without_times

SWEEP = ["-m", "experiment=smoke", "data=digits", "report=false"]


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Has a program of the test's own take the place of cnntrain in each job; it gets the job's number."""

    def program(text):
        path = tmp_path / "job.py"
        begin = "import os, pathlib, signal, sys, time\nfolder = pathlib.Path(sys.argv[2])\nnumber = int(folder.name)\n"
        path.write_text(begin + textwrap.dedent(text))
        monkeypatch.setattr(parallel_jobs, "PROGRAM", [sys.executable, str(path)])

    return program


def test_jobs_run_at_the_same_time_and_all_are_recorded(cnntrain, tmp_path, jobs):
    jobs("""
        (folder / "here").touch()
        other = folder.parent / str(1 - number) / "here"
        until = time.monotonic() + 20
        while not other.exists() and time.monotonic() < until:
            time.sleep(0.02)
        sys.exit(not other.exists())
    """)
    code, said = cnntrain(*SWEEP, "seed=1,2", "--jobs", "2", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert code == 0, said
    assert "2 jobs in" in said
    record = json.loads((tmp_path / "sweep" / "multirun.json").read_text())
    assert [job["seed"] for job in record["jobs"]] == [1, 2]
    assert "--jobs 2" in record["command"]


def test_a_failed_job_is_named_with_its_error_and_the_others_run(cnntrain, tmp_path, jobs):
    jobs("""
        if number == 0:
            print("no such disk", file=sys.stderr)
            sys.exit(3)
        (folder / "here").touch()
    """)
    code, said = cnntrain(*SWEEP, "seed=1,2,3", "--jobs=2", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert code == 3
    assert f"0: failed: no such disk ({tmp_path / 'sweep' / '0' / 'error.txt'})" in said
    assert all((tmp_path / "sweep" / number / "here").exists() for number in "12")
    assert "what is left: cnntrain resume" in said


def test_the_first_failure_may_end_all(cnntrain, tmp_path, jobs):
    jobs("""
        if number == 0:
            sys.exit(4)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        time.sleep(60)
    """)
    words = [*SWEEP, "seed=1,2,3", "--jobs=2", "--stop-at-first-failure", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    code, said = cnntrain(*words)
    assert code == 4
    assert "1: stopped, its state is saved" in said
    assert "not run: 2" in said


def test_a_job_that_is_killed_is_named(cnntrain, tmp_path, jobs):
    jobs("os.kill(os.getpid(), signal.SIGKILL)")
    code, said = cnntrain(*SWEEP, "seed=1,2", "--jobs=2", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert code == 137
    assert "0: killed by SIGKILL; out of memory?; resume goes on with it" in said


def test_a_signal_has_all_jobs_save(cnntrain, tmp_path, jobs):
    jobs("""
        def stop(number, _):
            (folder / "saved").touch()
            sys.exit(128 + number)
        signal.signal(signal.SIGTERM, stop)
        (folder / "ready").touch()
        time.sleep(60)
    """)
    sweep = tmp_path / "sweep"

    def interrupt():
        while len(list(sweep.glob("*/ready"))) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt).start()
    code, said = cnntrain(*SWEEP, "seed=1,2,3", "--jobs=2", f"hydra.sweep.dir={sweep}")
    assert code == 143
    assert len(list(sweep.glob("*/saved"))) == 2
    assert f"what is left: cnntrain resume {sweep} --jobs 2" in said


@pytest.mark.slow
def test_two_jobs_at_a_time_give_what_one_after_the_other_gives_and_resume_does_the_rest(cnntrain, tmp_path):
    words = [*SWEEP, "seed=1,2"]
    folders = [tmp_path / "at once", tmp_path / "one by one"]
    for folder, flags in zip(folders, (["--jobs", "2"], []), strict=True):
        code, said = cnntrain(*words, *flags, f"hydra.sweep.dir={folder}")
        assert code == 0, said
    for number in "01":
        both = [without_times(history_of(folder / number)) for folder in folders]
        rounded = [[{k: v[:8] for k, v in row.items()} for row in rows] for rows in both]
        assert rounded[0] == rounded[1]  # another number of cores may round differently
        files = [{path.name for path in (folder / number).iterdir()} for folder in folders]
        assert files[0] == files[1]
    for path in (folders[0] / "1").rglob("*"):
        if path.is_file():
            path.unlink()
    code, said = cnntrain("resume", folders[0], "--jobs", "2")
    assert code == 0, said
    assert "1: done" in said
    assert "0: begins" not in said
    record = json.loads((folders[0] / "1" / "run.json").read_text())
    assert record["command"].startswith("cnntrain train -m")


def test_flags_are_taken_out_of_a_command_line():
    assert taken_out(["-m", "seed=1,2", "--jobs", "3"]) == (["-m", "seed=1,2"], Flags(3))
    assert taken_out(["seed=1"]) == (["seed=1"], Flags())


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-m", "--jobs", "0"], "at least 1; received 0"),
        (["-m", "--jobs=many"], "at least 1; received many"),
        (["-m", "--jobs"], "received nothing"),
        (["--jobs=2"], "belong to a multirun; add -m"),
        (["--stop-at-first-failure"], "belong to a multirun; add -m"),
    ],
)
def test_flags_that_make_no_sense_are_named(words, text):
    with pytest.raises(ConfigError, match=text):
        taken_out(words)
