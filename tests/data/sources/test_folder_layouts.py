"""Folders as people have them: what is no class, and classes that nothing can be learned of."""

import pytest

from cnntrain.data.sources.folder import Folder, class_in_name
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


def test_a_flat_validation_folder_is_not_read_by_guess(tmp_path):
    write_photos(tmp_path / "train", {"n01": 4, "n02": 4})
    write_photos(tmp_path / "val", {"images": 4})
    with pytest.raises(DataError, match=r"val: has images and no folder of a class that train has[\s\S]*data=csv"):
        Folder(path=tmp_path, test=0).load()
    (tmp_path / "val" / "images").rename(tmp_path / "flat")
    (tmp_path / "val").rmdir()
    (tmp_path / "flat").rename(tmp_path / "val")
    with pytest.raises(DataError, match="val: has images and no folder of a class that train has"):
        Folder(path=tmp_path, test=0).load()


def tiny_imagenet(root):
    """Its layout: train/CLASS/images/…, val/images/… flat beside val/val_annotations.txt."""
    for name in ("n01", "n02", "n03"):
        write_photos(root / "train" / name, {"images": 4})
    write_photos(root / "val", {"images": 6})
    lines = [f"{number}{'.png' if number % 2 else '.jpg'}\tn0{number % 3 + 1}\t0\t0\t9\t9\n" for number in range(6)]
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    return root


def test_tiny_imagenets_layout_is_read_to_its_classes(tmp_path):
    labeled = Folder(path=tiny_imagenet(tmp_path), test=0).load()
    assert labeled.class_names == ("n01", "n02", "n03")
    assert labeled.train.class_counts().tolist() == [4, 4, 4]
    assert labeled.validation.class_counts().tolist() == [2, 2, 2]
    table = labeled.train.table
    assert [table.names[row] for row in labeled.validation.rows][:2] == ["val/images/0.jpg", "val/images/3.png"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("0.jpg\tn01\n", "names no class of 1.png; add a line for each image"),
        ("9.jpg\tn01\n", "val_annotations.txt, line 1: expected the name of an image in .*; found '9.jpg"),
        ("0.jpg n01\n", "line 1: expected the name of an image"),
    ],
)
def test_annotations_that_do_not_fit_their_images_are_refused(tmp_path, lines, message):
    (tiny_imagenet(tmp_path) / "val" / "val_annotations.txt").write_text(lines)
    with pytest.raises(DataError, match=message):
        Folder(path=tmp_path, test=0).load()


def test_classes_that_begin_the_names_of_files_are_read_where_that_is_asked_for(tmp_path):
    write_photos(tmp_path, {"train": 6})
    for number, path in enumerate(sorted((tmp_path / "train").iterdir())):
        path.rename(path.with_name(f"{'cat' if number % 2 else 'dog'}.{number}{path.suffix}"))
    write_photos(tmp_path, {"test": 2})  # as Kaggle's, without a class
    for path in (tmp_path, tmp_path / "train"):
        with pytest.raises(DataError, match=r"found none; .*as in cat.0.jpg, data.label_from=file_name reads it"):
            Folder(path=path).load()
    labeled = Folder(path=tmp_path, label_from="file_name", validation=0, test=0).load()
    assert labeled.class_names == ("cat", "dog")
    assert labeled.train.class_counts().tolist() == [3, 3]
    assert [reason for _, reason in labeled.quarantined] == ["no class begins its name"] * 2


@pytest.mark.parametrize(
    ("name", "found"),
    [("cat.0.jpg", "cat"), ("cat_12.png", "cat"), ("maine coon (3).jpg", "maine coon"), ("b52-7.jpg", "b52"),
     ("7.jpg", None), ("cat.jpg", None)],
)  # fmt: skip
def test_the_class_in_a_name(name, found):
    assert class_in_name(name) == found


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
    assert len(table.notes) == 1
    assert table.notes[0].startswith("4 hidden or system files or folders were passed over: ")


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
