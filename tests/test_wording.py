"""How numbers are put into words."""

import pytest

from cnntrain.wording import counted


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
