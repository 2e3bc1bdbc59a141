"""What a run says: numbers in words, epochs in lines, and what it could not measure."""

import json
import subprocess
import sys

import pytest

from cnntrain.runtime.terminal import Terminal
from cnntrain.runtime.wording import counted


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("epoch",), "0 epochs"),
        (1, ("epoch",), "1 epoch"),
        (2000, ("epoch",), "2,000 epochs"),
        (1, ("box", "boxes"), "1 box"),
        (2, ("box", "boxes"), "2 boxes"),
    ],
)
def test_one_is_singular(number, words, said):
    assert counted(number, *words) == said


def test_a_run_of_one_epoch_and_one_file_left_out_says_so(cnntrain, photos, tmp_path):
    (photos / "dark" / "broken.jpg").write_bytes(b"no image")
    code, output = cnntrain(
        "experiment=smoke", "data=folder", f"data.path={photos}", "limits.epochs_per_phase=1", "report=false",
        f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert code == 0
    assert "all 1 epoch of " in output
    assert "warning: 1 file left out: " in output
    assert "all: 1 epoch, training " in output


@pytest.mark.parametrize(
    ("every", "epochs", "shown"),
    [(False, 20, list(range(1, 21))), (False, 25, [1, 7, 10, 20, 25]), (True, 25, list(range(1, 26)))],
)
def test_long_phases_show_improvements_and_every_tenth_epoch_and_the_log_all(tmp_path, capsys, every, epochs, shown):
    terminal = Terminal(tmp_path / "log.txt", every_epoch=every)
    for number in range(1, epochs + 1):
        row = {"phase": "all", "epoch": number, "loss": 1.0, "learning_rate": 0.1, "images_per_second": 9, "seconds": 1}
        terminal.epoch(row, epochs=epochs, best=number == 7)
    said = [int(line.split("/")[0].split()[1]) for line in capsys.readouterr().out.splitlines()]
    assert said == shown
    assert len((tmp_path / "log.txt").read_text().splitlines()) == epochs


def test_a_test_that_was_cut_short_is_marked_everywhere(cnntrain, tmp_path):
    run = tmp_path / "run"
    code, output = cnntrain("experiment=smoke", "limits.steps=2", "batch_size=16", f"hydra.run.dir={run}")
    assert code == 0
    assert "limits.steps=2 cut the test short: 32 of 449 images" in output
    assert json.loads((run / "metrics.json").read_text())["cut_short"] == {"examples": 32, "of": 449}
    assert "Cut short by limits.steps=2: 32 of 449 test images." in (run / "report.html").read_text()


def test_a_whole_test_is_not_marked(cnntrain, tmp_path):
    run = tmp_path / "run"
    words = "limits.steps=null", "limits.epochs_per_phase=1", "batch_size=512", f"hydra.run.dir={run}"
    code, output = cnntrain("experiment=smoke", *words)
    assert (code, "cut the test short" in output) == (0, False)
    assert "cut_short" not in json.loads((run / "metrics.json").read_text())
    assert "Cut short" not in (run / "report.html").read_text()


def test_an_occupied_folder_is_refused_before_tensorflow_loads(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 0")
    code = "import sys, cnntrain.cli.main as c; code = c.main(sys.argv[1:]); print(code, 'tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, f"hydra.run.dir={tmp_path}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["2", "False"]
    assert "holds a run already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
