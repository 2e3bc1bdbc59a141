"""Real kills, a full disk, and a container's first process: minutes, so that it is not in the quick suite."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cnntrain.cli.main import main
from cnntrain.runtime.run_dir import RunDir
from tests.checkpoints.test_resume import assert_equal

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "kill_and_resume.py"
WORDS = [
    "report=false", "data=digits", "batch_size=16",
    "schedule.phases.all={epochs: 8, learning_rate_schedule: constant}",
]  # fmt: skip


def test_runs_that_are_killed_at_random_moments_end_as_one_that_was_left_alone():
    done = subprocess.run([sys.executable, SCRIPT, "--runs", "10", "--kills", "6"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = done.stdout.splitlines()[-1]
    assert summary.endswith("kills in 10 runs, 0 of which differ")
    assert int(summary.split()[0]) >= 50


def test_a_disk_that_fills_up_is_said_and_the_run_goes_on_when_there_is_room(cnntrain, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=13m", "none", disk], capture_output=True).returncode:  # noqa: S607
        pytest.skip("mounting is not permitted here")
    try:
        run = disk / "run"
        code, said = cnntrain(*WORDS, "checkpoint.every_minutes=1e-9", f"hydra.run.dir={run}")
        assert code == 4
        assert "can't be written: No space left on device" in said and f"go on with cnntrain resume {run}" in said
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)  # noqa: S607
        assert cnntrain("resume", run)[0] == 0
        assert main([*WORDS, f"hydra.run.dir={tmp_path / 'expected'}"]) == 0
        assert_equal(run, tmp_path / "expected")
    finally:
        subprocess.run(["umount", disk], check=True)  # noqa: S607


def test_the_first_process_of_a_container_stops_at_sigterm_with_its_state_saved(cnntrain, tmp_path):
    if not shutil.which("unshare") or subprocess.run(["unshare", "--pid", "--fork", "true"]).returncode:  # noqa: S607
        pytest.skip("a process with the number 1 can't be made here")
    run = tmp_path / "run"
    words = [sys.executable, "-m", "cnntrain", *WORDS, "schedule.phases.all.epochs=500", f"hydra.run.dir={run}"]
    outer = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", *words])  # noqa: S607
    while not (run / "history.csv").exists():
        time.sleep(0.1)
    inner = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text())
    os.kill(inner, signal.SIGTERM)
    assert outer.wait(60) == 143
    done = len((run / "history.csv").read_text().splitlines()) - 1
    assert cnntrain("resume", run, f"schedule.phases.all.epochs={done + 1}")[0] == 0
    assert json.loads(RunDir(run).record.read_text())["resumed"][0]["after"].startswith(f"{done} epoch")
