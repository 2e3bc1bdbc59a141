"""Every benchmark runs from its own instructions."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SCRIPTS = sorted(path.name for path in BENCHMARKS.glob("*.py") if path.name != "alternation.py")  # they share it

# the smallest settings of those that need no other environment, data or run
SMALLEST = {
    "augmentation_gallery.py": ("--out", "{folder}/gallery.jpg"),
    "frozen_features.py": ("--images", "8", "--epochs", "1", "--rounds", "1", "--cases", "head"),
    "image_pipeline.py": ("--rounds", "1", "--only", "ours"),
    "losses_of_boxes.py": ("--epochs", "1", "--seeds", "1"),
    "train_networks.py": ("--networks", "resnet34", "--batch", "2", "--steps", "1", "--rounds", "1"),
    "kill_and_resume.py": ("--runs", "1", "--kills", "1", "--folder", "{folder}/runs"),
    "memory_of_streaming.py": ("20",),
    "saving.py": ("--times", "1", "--networks", "1"),
}


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The script, run to its end in a process of its own."""
    return subprocess.run([sys.executable, BENCHMARKS / script, *words], capture_output=True, text=True)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_says_how_it_is_used(script):
    done = run(script, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {script}")


@pytest.mark.slow
@pytest.mark.parametrize("script", SMALLEST)
def test_a_benchmark_runs_with_its_smallest_setting(script, tmp_path):
    done = run(script, *(word.format(folder=tmp_path) for word in SMALLEST[script]))
    assert done.returncode == 0, done.stderr
    assert done.stdout or (tmp_path / "gallery.jpg").stat().st_size
