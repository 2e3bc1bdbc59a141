"""What `inspect` finds: counts, bad files, duplicates across splits, and data on which training is pointless."""

import shutil

import numpy as np
import pytest
from PIL import Image

from cnntrain.data.sources.folder import Folder
from cnntrain.inspection.doctor import difference_hashes, examine, similar_hashes
from tests.conftest import write_photos


def texts(root, **settings):
    return "\n".join(diagnosis.text for diagnosis in examine(Folder(path=root, **settings).load()))


def smooth_picture(seed, side=64):
    """A picture of soft colors that differs from those of other seeds."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture
def parted(tmp_path):
    """A folder with training and test parts of two classes, all pictures different."""
    for seed, place in enumerate((part, name, n) for part in ("train", "test") for name in "ab" for n in range(4)):
        path = tmp_path / place[0] / place[1] / f"{place[2]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        smooth_picture(seed).save(path)
    return tmp_path


def test_nothing_is_found_where_nothing_is_wrong(parted):
    assert texts(parted, validation=0.0) == ""


def test_the_same_image_in_two_splits_is_found(parted):
    shutil.copy(parted / "train" / "a" / "0.png", parted / "test" / "a" / "copy.png")
    assert "once the same image is in two splits: train: train/a/0.png and test: test/a/copy.png" in texts(
        parted, validation=0.0
    )


def test_the_same_image_in_two_classes_is_found(parted):
    shutil.copy(parted / "train" / "a" / "0.png", parted / "train" / "b" / "copy.png")
    assert "the same image is in two classes" in texts(parted, validation=0.0)


def test_a_nearly_equal_image_in_two_splits_is_found(parted):
    Image.open(parted / "train" / "a" / "0.png").save(parted / "test" / "a" / "again.jpg", quality=70)
    assert "nearly the same image is in two splits" in texts(parted, validation=0.0)


def test_classes_of_very_different_size_are_named(tmp_path):
    root = write_photos(tmp_path / "x", {"many": 40, "few": 2})
    assert "many has 40 training images, few 2; class_weights=balanced" in texts(root, validation=0.0, test=0.0)


def test_bad_files_are_named(photos):
    (photos / "dark" / "0.jpg").write_bytes(b"no image")
    assert "1 file can't be used: dark/0.jpg: " in texts(photos)


def test_a_class_that_training_lacks_makes_it_pointless(parted, cnntrain):
    shutil.move(parted / "train" / "b", parted / "test" / "c")
    code, said = cnntrain("inspect", "data=folder", f"data.path={parted}", "data.validation=0")
    assert code == 3
    assert "error: train has no image of b, c" in said


def test_hashes_that_differ_in_few_bits_are_paired():
    hashes = np.array([0, 0b111, 0b1111, 2**63 + 2**20], np.uint64)
    assert similar_hashes(hashes) == {(0, 1), (1, 2), (0, 3)}


def test_a_hash_says_where_it_grows_lighter():
    rising = np.tile(np.arange(9, dtype=np.uint8), (1, 8, 1))
    assert difference_hashes(np.concatenate([rising, rising[..., ::-1]])).tolist() == [2**64 - 1, 0]


@pytest.mark.parametrize("suffix", ["png", "html"])
def test_pictures_are_drawn_to_a_file(photos, cnntrain, tmp_path, suffix):
    shutil.move(photos / "light", photos / "<b>light<b>")
    out = tmp_path / f"page.{suffix}"
    code, said = cnntrain(
        "inspect", "data=folder", f"data.path={photos}", "augmentation=square_crop_flip", "--out", out
    )
    assert code == 0, said
    assert "dark" in said and "12" in said
    content = out.read_bytes()
    assert content.startswith(b"\x89PNG" if suffix == "png" else b"<!doctype html>")
    assert b"<b>light" not in content


def test_another_suffix_is_refused(cnntrain):
    code, said = cnntrain("inspect", "--out", "page.doc")
    assert (code, "expected a file that ends in .png or .html" in said) == (2, True)


def test_mistakes_are_answered_as_by_train(cnntrain):
    assert cnntrain("inspect", "modle=lenet5")[0] == 2
    assert "expected one configuration" in cnntrain("inspect", "-m", "seed=1,2")[1]
    assert cnntrain("bench", "--foo")[0] == 2


def test_bench_names_the_bottleneck(cnntrain):
    code, said = cnntrain("bench", "data=digits", "batch_size=64")
    assert code == 0, said
    assert all(stage in said for stage in ("read and decode", "crop and resize", "augment and preprocess"))
    assert "the bottleneck is the network" in said
