"""`cnntrain launch`: ranks are started, watched and ended together."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from cnntrain.cli import launch
from cnntrain.cli.launch import Nodes
from cnntrain.runtime.machine import usable_cores

BEAT = """\
    import json, os, pathlib, signal, sys, time
    rank, status = int(os.environ["CNNTRAIN_RANK"]), pathlib.Path(os.environ["CNNTRAIN_STATUS"])
    def beat(calls, folder=""):
        said = {"beat": time.time(), "calls": calls, "run_folder": folder}
        (status / f"rank-{rank}.json").write_text(json.dumps(said))
"""


@pytest.fixture
def ranks(tmp_path, monkeypatch):
    """Has a program of the test's own take the place of cnntrain; it gets the words as arguments."""

    def program(text):
        path = tmp_path / "rank.py"
        path.write_text(textwrap.dedent(BEAT) + textwrap.dedent(text))
        monkeypatch.setattr(launch, "PROGRAM", [sys.executable, str(path)])
        monkeypatch.setattr(launch, "SHORT_GRACE_SECONDS", 0.5)
        monkeypatch.setattr(launch, "TOGETHER_SECONDS", 0.1)

    return program


def test_each_rank_is_told_its_place_and_gets_its_cores(ranks, tmp_path):
    ranks(f"""
        names = ("RANK", "WORLD", "LOCAL_RANK", "LOCAL_WORLD", "RENDEZVOUS", "TOKEN")
        place = {{name: os.environ["CNNTRAIN_" + name] for name in names}}
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        pathlib.Path({str(tmp_path)!r}, f"place-{{rank}}").write_text(json.dumps([place, cores, sys.argv[1:]]))
    """)
    assert launch.run(["model=lenet5"], Nodes(2, 2, 1, "host:1234")) == 0
    (first, cores, words), (second, other_cores, _) = (
        json.loads((tmp_path / f"place-{rank}").read_text()) for rank in (2, 3)
    )
    assert (first["RANK"], first["WORLD"], first["LOCAL_RANK"], first["RENDEZVOUS"]) == ("2", "4", "0", "host:1234")
    assert (second["RANK"], second["LOCAL_RANK"], second["LOCAL_WORLD"]) == ("3", "1", "2")
    assert words == ["model=lenet5"]
    if len(usable_cores()) > 1:
        assert not set(cores) & set(other_cores)
        assert {*cores, *other_cores} == usable_cores()


def test_the_first_rank_that_fails_ends_the_others_and_its_message_and_code_are_given(ranks, capfd):
    ranks("""
        if rank == 1:
            print("no such disk", file=sys.stderr)
            sys.exit(3)
        time.sleep(60)
    """)
    start = time.monotonic()
    assert launch.run([], Nodes(2)) == 3
    assert time.monotonic() - start < 30
    said = capfd.readouterr().err
    assert "rank 1 ended with exit code 3, and so all 2 ranks end" in said
    assert "no such disk" in said


def test_what_all_ranks_say_alike_is_said_once(ranks, capfd):
    ranks("""
        print("model=x: no such option", file=sys.stderr)
        sys.exit(2)
    """)
    assert launch.run([], Nodes(2)) == 2
    assert capfd.readouterr().err.count("no such option") == 1


def test_a_killed_rank_is_named(ranks, capfd):
    ranks("""
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
    """)
    assert launch.run([], Nodes(2)) == 137
    assert "rank 1 was killed by SIGKILL" in capfd.readouterr().err


def test_a_run_goes_on_after_a_failure_as_often_as_asked(ranks, capfd, tmp_path):
    run = tmp_path / "run"
    ranks(f"""
        run = pathlib.Path({str(run)!r})
        if sys.argv[1] != "resume":
            run.mkdir(exist_ok=True)
            (run / "config.yaml").touch()
            beat(1, str(run))
            time.sleep(0.5)
        if rank == 1 and sys.argv[1:] != ["resume", str(run)]:
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert launch.run(["model=lenet5"], Nodes(2), restarts=1) == 0
    assert f"restart 1 of 1: cnntrain resume {run}" in capfd.readouterr().err


def test_a_mistake_is_not_tried_again(ranks, capfd):
    ranks("sys.exit(2)")
    assert launch.run([], Nodes(2), restarts=5) == 2
    assert "restart" not in capfd.readouterr().err


def test_a_rank_that_hangs_is_named(ranks, capfd):
    ranks("""
        beat(7 if rank == 1 else 8)
        time.sleep(60)
    """)
    assert launch.run([], Nodes(2), timeout=1.0) == 1
    assert "no rank has made progress for 1 seconds (--timeout); furthest behind: rank 1" in capfd.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_passed_on_and_the_ranks_may_save(ranks, tmp_path, number, code):
    ranks(f"""
        def stop(number, _):
            time.sleep(0.3)
            pathlib.Path({str(tmp_path)!r}, f"saved-{{rank}}").touch()
            sys.exit(128 + number)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, stop)
        pathlib.Path({str(tmp_path)!r}, f"ready-{{rank}}").touch()
        time.sleep(60)
    """)

    def interrupt():
        while len(list(tmp_path.glob("ready-*"))) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt).start()
    assert launch.run([], Nodes(2)) == code
    assert len(list(tmp_path.glob("saved-*"))) == 2


def test_output_of_other_ranks_lies_in_the_runs_folder(ranks, tmp_path, capfd):
    ranks(f"""
        print("rank", rank, "was here")
        beat(1, {str(tmp_path)!r})
    """)
    assert launch.run([], Nodes(2)) == 0
    assert "rank 0 was here" in capfd.readouterr().out
    assert (tmp_path / "rank-1.log").read_text() == "rank 1 was here\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--nproc-per-node", "0", "--", "model=lenet5"], "--nproc-per-node: expected at least 1; received 0"),
        (["--nproc-per-node", "4000", "--"], r"may use \d+ cores; received 4000"),
        (["--nnodes", "2", "--nproc-per-node", "1", "--"], "--rdzv: several machines need HOST:PORT"),
        (["--nnodes", "2", "--node-rank", "2", "--rdzv", "a:1", "--nproc-per-node", "1", "--"],
         "--node-rank: expected 0 to 1; received 2"),
        (["--rdzv", "host", "--nproc-per-node", "1", "--"], "--rdzv: expected HOST:PORT; received host"),
        (["model=lenet5"], "expected -- before what is trained"),
    ],
)  # fmt: skip
def test_wrong_flags_are_named(cnntrain, words, text):
    code, said = cnntrain("launch", *words)
    assert code == 2
    assert re.search(text, said), said


def test_help_has_an_example_for_one_machine_for_two_and_for_slurm(cnntrain):
    code, said = cnntrain("launch", "--help")
    assert code == 0
    for text in ("--nproc-per-node 2 -- model=", "--node-rank 1 --rdzv", "srun --ntasks-per-node"):
        assert text in said


def test_more_devices_than_there_are_is_said_before_anything_starts(cnntrain):
    code, said = cnntrain("devices=4000")
    assert (code, "cores; received 4000" in said) == (2, True)


@pytest.mark.slow
@pytest.mark.skipif(len(usable_cores()) < 2, reason="needs two cores")
@pytest.mark.parametrize("victim", ["rank", "launcher"])
def test_sigterm_to_any_stops_all_after_the_same_step_and_the_run_goes_on(tmp_path, victim):
    run = tmp_path / "run"
    words = ["model=lenet5", "data=digits", "report=false", "schedule.phases.all.epochs=30", f"hydra.run.dir={run}"]
    launcher = subprocess.Popen([*launch.PROGRAM, "launch", "--nproc-per-node", "2", "--", *words])
    while not (run / "history.csv").exists():
        assert launcher.poll() is None
        time.sleep(0.1)
    children = subprocess.run(["pgrep", "-P", str(launcher.pid)], capture_output=True, text=True).stdout.split()  # noqa: S607
    os.kill(int(children[-1]) if victim == "rank" else launcher.pid, signal.SIGTERM)
    assert launcher.wait(timeout=60) == 143
    assert list((run / "checkpoints").glob("*.safetensors"))
    done = subprocess.run([*launch.PROGRAM, "launch", "--nproc-per-node", "2", "--", "resume", str(run)])
    assert (done.returncode, (run / "metrics.json").exists()) == (0, True)
