"""Folders as people have them: what is no class, and classes that nothing can be learned of."""

import pytest

from cnntrain.data import Folder
from cnntrain.errors import DataError
from tests.conftest import write_photos


def test_a_class_in_validation_only_stops_a_run_and_touches_nothing(cnntrain, tmp_path):
    write_photos(tmp_path / "photos" / "train", {"a": 4, "b": 4, "c": 4})
    write_photos(tmp_path / "photos" / "val", {"b": 2, "c": 2, "d": 2})
    run = tmp_path / "run"
    code, output = cnntrain("data=folder", f"data.path={tmp_path / 'photos'}", f"hydra.run.dir={run}")
    assert code == 3
    assert "validation has images of d, and train has none" in output
    assert "add training images of these classes" in output
    assert not run.exists()


def test_a_flat_validation_folder_is_not_taken_for_a_class_in_silence(tmp_path):
    write_photos(tmp_path / "train", {"n01": 4, "n02": 4})
    write_photos(tmp_path / "val", {"images": 4})
    labelled = Folder(path=tmp_path, test=0).load()
    with pytest.raises(DataError, match=r"validation has images of images, and train has none[\s\S]*data=csv"):
        labelled.refuse_untrained_classes()


def test_a_class_without_images_anywhere_else_is_no_mistake(tmp_path):
    write_photos(tmp_path / "train", {"a": 4, "b": 4, "c": 4})
    write_photos(tmp_path / "val", {"a": 2, "b": 2})
    Folder(path=tmp_path, test=0).load().refuse_untrained_classes()


@pytest.mark.parametrize("name", ["__MACOSX", ".ipynb_checkpoints", "@eaDir", "$RECYCLE.BIN", "lost+found"])
@pytest.mark.parametrize("place", ["", "a"])
def test_what_systems_and_tools_leave_behind_is_passed_over(tmp_path, name, place):
    write_photos(tmp_path, {"a": 4, "b": 4})
    (tmp_path / place / name).mkdir()
    (tmp_path / place / name / "1.jpg").write_bytes(b"no image")
    for file in ("._0.jpg", "Thumbs.db", ".DS_Store"):
        (tmp_path / "a" / file).write_bytes(b"no image")
    table = Folder(path=tmp_path).table()
    assert (table.class_names, len(table.labels), table.quarantined) == (("a", "b"), 8, ())


def test_inspect_shows_the_rest_where_a_class_has_no_image_that_can_be_used(cnntrain, tmp_path):
    root = write_photos(tmp_path / "photos", {"a": 6, "b": 6})
    (root / "empty").mkdir()
    (root / "bad").mkdir()
    for number in range(3):
        (root / "bad" / f"{number}.jpg").write_bytes(b"no image")
    code, output = cnntrain("inspect", "data=folder", f"data.path={root}", "--out", tmp_path / "page.html")
    assert code == 3
    assert "4 classes" in output and "the network gets" in output
    assert "error: train has no image of bad, empty" in output
    assert "error: 3 of 15 files can't be used, more than data.max_bad_fraction=0.1" in output
    assert "bad/0.jpg: not an image of a known format" in output
    assert (tmp_path / "page.html").is_file()
    code, output = cnntrain("data=folder", f"data.path={root}", "data.max_bad_fraction=0.5")
    assert (code, "no image in bad, empty; these can't be used:\n  bad/0.jpg" in output) == (3, True)
