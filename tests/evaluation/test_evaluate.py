"""`cnntrain evaluate`: a run on its own data, or on others whose classes have the same names."""

import json

import numpy as np
import pytest

from tests.conftest import write_photos, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on photos of three classes."""
    root = tmp_path_factory.mktemp("evaluation")
    write_photos(root / "photos", {"bright": 6, "dark": 7, "middle": 5})
    words = ["model=lenet5", "model.image_size=[20,24]", "data=folder", f"data.path={root / 'photos'}"]
    return write_run(root / "run", *words, "data.background=black")


def evaluate(cnntrain, *words):
    """The measures of the one split that was asked for."""
    code, said = cnntrain("evaluate", *words, "--json")
    assert code == 0, said
    ((split, measures),) = json.loads(said.splitlines()[-1]).items()
    return split, measures


def test_other_data_are_matched_by_the_names_of_their_classes(cnntrain, run, tmp_path):
    photos = run.parent / "photos"
    (tmp_path / "renamed").mkdir()
    for name in ("middle", "bright"):  # a part of the classes, with other numbers
        (tmp_path / "renamed" / name).symlink_to(photos / name)
    own = evaluate(cnntrain, run, "--split", "all")[1]
    split, other = evaluate(cnntrain, run, "data=folder", f"data.path={tmp_path / 'renamed'}", "--split", "all")
    assert (split, own["examples"], other["examples"]) == ("all", 18, 11)
    assert other["confusion"][1] == [0, 0, 0]
    for name, row in (("bright", 0), ("middle", 2)):
        assert other["confusion"][row] == own["confusion"][row]
        assert other["classes"][name]["support"] == own["classes"][name]["support"]


def test_classes_that_the_network_does_not_know_are_listed(cnntrain, run, tmp_path):
    root = write_photos(tmp_path / "photos", {"bright": 2, "gray": 2, "violet": 2})
    code, said = cnntrain("evaluate", run, "data=folder", f"data.path={root}")
    assert code == 3
    assert "does not know the classes gray, violet; it was trained on bright, dark, middle" in said


def test_single_values_change_the_runs_own_data(cnntrain, run):
    code, said = cnntrain("evaluate", run, "data.test=0.5", "batch_size=4")
    assert (code, "these data were trained on, divided otherwise" in said, "9 images" in said) == (0, True, True)
    assert evaluate(cnntrain, run, "data.split_seed=5", "--split", "validation")[0] == "validation"
    assert "warning" not in cnntrain("evaluate", run, "batch_size=4")[1]


def test_data_of_other_sizes_and_channels_go_through_the_runs_preprocessing(cnntrain, tmp_path):
    root = write_photos(tmp_path / "photos", {"3": 4, "7": 4})
    run = write_run(tmp_path / "run", "model=lenet5")
    measures = evaluate(cnntrain, run, "data=folder", f"data.path={root}", "--split", "all")[1]
    assert np.array(measures["confusion"]).sum() == 8
    assert measures["classes"]["7"]["support"] == 4


def test_changed_data_are_noticed(cnntrain, tmp_path):
    root = write_photos(tmp_path / "photos", {"dark": 6, "light": 6})
    run = write_run(tmp_path / "run", "model=lenet5", "data=folder", f"data.path={root}")
    (root / "dark" / "0.jpg").unlink()
    code, said = cnntrain("evaluate", run)
    assert (code, "the data have changed since training" in said) == (0, True)


@pytest.mark.parametrize(
    ("words", "code", "texts"),
    [
        (["data=fashon_mnist"], 2, ["data=fashon_mnist: no such option: did you mean fashion_mnist?"]),
        (["model=lenet5", "seed=2"], 2, ["model: evaluation takes data=…", "seed: evaluation takes data=…"]),
        (["data.background=white"], 2, ["data.background: the network was trained on another"]),
        (["data.tst=0.5"], 2, ["data.tst: no such key"]),
        (["data=folder"], 2, ["data.path: is missing"]),
        (["data=folder", "data.path=/nowhere"], 3, ["data.path=/nowhere: does not exist"]),
        (["data.test=0"], 3, ["these data have no test images (data.test=0"]),
        (["test"], 2, ["test: expected key=value"]),
        (["--jsn"], 2, ["unrecognized arguments: --jsn"]),
    ],
)
def test_requests_that_make_no_sense_are_answered(cnntrain, run, words, code, texts):
    found, said = cnntrain("evaluate", run, *words)
    assert found == code, said
    assert all(text in said for text in texts), said
