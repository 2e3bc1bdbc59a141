"""Every source gives the same kind of table."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from cnntrain.data.images import ArrayImages, EncodedImages, RecordImages
from cnntrain.data.sources import tfds_reading
from cnntrain.data.sources.digits import Digits
from cnntrain.data.sources.folder import Folder
from cnntrain.data.sources.idx import Idx
from cnntrain.data.sources.tfds import Tfds
from cnntrain.errors import ConfigError, DataError
from tests.conftest import write_photos


def write_idx(path: Path, array: np.ndarray, *, zipped: bool = False) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if zipped else content)


@pytest.fixture
def prepared(monkeypatch):
    """TFDS's mock data, which does not say that it is prepared."""
    monkeypatch.setattr(tfds.core.DatasetBuilder, "is_prepared", lambda self: True)
    with tfds.testing.mock_data(num_examples=20):
        yield


def test_digits_spread_sixteen_levels_over_all_of_a_byte():
    table = Digits().table()
    pixels = table.images.pixels
    assert pixels.shape == (1797, 8, 8, 1)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert np.unique(pixels).size == 17


def test_a_folder_has_a_class_for_each_folder_in_it(photos):
    labeled = Folder(path=photos).load()
    assert labeled.class_names == ("dark", "light")
    assert len(labeled.train) + len(labeled.validation) + len(labeled.test) == 24
    assert labeled.image_shape == (None, None, 3)


def test_a_folder_with_parts_is_divided_as_they_are(tmp_path):
    for part, count in (("train", 6), ("val", 2), ("Test", 3)):
        write_photos(tmp_path / part, {"a": count, "b": count})
    labeled = Folder(path=tmp_path).load()
    assert [len(labeled.split(name)) for name in ("train", "validation", "test")] == [12, 4, 6]


def test_ids_of_a_folder_stay_when_other_files_come(photos):
    before = Folder(path=photos).table()
    (photos / "dark" / "00_new.png").write_bytes((photos / "dark" / "1.png").read_bytes())
    after = Folder(path=photos).table()
    assert set(before.ids) < set(after.ids)
    assert before.fingerprint() != after.fingerprint()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda root: None, "does not exist; expected a folder with one folder per class"),
        (lambda root: root.write_text("x"), "is a file"),
        (lambda root: root.mkdir(), "expected at least two folders, one a class; found none"),
        (lambda root: write_photos(root, {"only": 2}), "expected at least two folders"),
        (lambda root: (write_photos(root, {"a": 2}), (root / "empty").mkdir()), "no image in empty"),
    ],
)
def test_a_folder_that_can_not_be_trained_on_says_why(tmp_path, make, text):
    make(tmp_path / "root")
    with pytest.raises(DataError, match=text):
        Folder(path=tmp_path / "root").load()


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files_give_both_parts(tmp_path, zipped):
    images = np.arange(10 * 4 * 4).reshape(10, 4, 4) % 256
    suffix = ".gz" if zipped else ""
    for prefix in ("train", "t10k"):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte{suffix}", images, zipped=zipped)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte{suffix}", np.arange(10) % 2, zipped=zipped)
    labeled = Idx(path=tmp_path, validation=0.2).load()
    assert [len(labeled.split(name)) for name in ("train", "validation", "test")] == [8, 2, 10]
    assert (labeled.test.table.images.pixels[10:, ..., 0] == images).all()


def test_damaged_idx_files_are_named(tmp_path):
    with pytest.raises(DataError, match="expected a file train-images-idx3-ubyte"):
        Idx(path=tmp_path).load()
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(3))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"\x00\x00\x08\x03" + b"\x00\x00\x00\x09" * 3)
    with pytest.raises(DataError, match=r"expected \[9, 9, 9\] values after the header; received 0"):
        Idx(path=tmp_path).load()
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"hello")
    with pytest.raises(DataError, match="expected an idx file of 3 dimensions"):
        Idx(path=tmp_path).load()


def test_a_small_set_of_one_size_is_decoded_once(prepared):
    table = Tfds(name="mnist", test="test", validation=0.1).table()
    assert isinstance(table.images, ArrayImages)
    assert table.images.pixels.shape == (40, 28, 28, 1)
    assert table.parts == {"train": (0, 20), "test": (20, 40)}


def test_photos_of_a_set_stay_encoded_in_memory(prepared):
    labeled = Tfds(name="tf_flowers", train="train[25%:]", validation="train[10%:25%]", test="train[:10%]").load()
    assert isinstance(labeled.train.table.images, EncodedImages)
    assert [len(labeled.split(name)) for name in ("train", "validation", "test")] == [15, 3, 2]
    assert labeled.class_names == ("dandelion", "daisy", "tulips", "sunflowers", "roses")


def test_a_set_above_the_limit_is_converted_once_with_the_same_pixels(prepared, monkeypatch, tmp_path):
    monkeypatch.setenv("CNNTRAIN_CACHE", str(tmp_path))
    in_memory = Tfds(name="tf_flowers").table()
    on_disk = Tfds(name="tf_flowers", memory_limit_mb=0.01).table()
    assert isinstance(on_disk.images, RecordImages)
    assert (on_disk.labels == in_memory.labels).all()
    for row in (7, 0, 19):
        assert (on_disk.images.read(row).numpy() == in_memory.images.read(row).numpy()).all()
    monkeypatch.setattr(tfds_reading, "write_record", None)
    assert Tfds(name="tf_flowers", memory_limit_mb=0.01).table().fingerprint() == on_disk.fingerprint()
    assert json.loads(next(tmp_path.rglob("*.json")).read_text())["parts"] == {"train": [0, 20]}


def test_a_set_that_is_not_there_and_out_of_reach_is_answered_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    with pytest.raises(DataError, match="can't be reached to download it(.|\n)*download_and_prepare"):
        Tfds(name="mnist", data_dir=tmp_path).check()


def test_an_unknown_set_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="no set 'mnits': did you mean mnist"):
        Tfds(name="mnits").table()


def test_a_set_without_class_labels_is_refused(prepared):
    with pytest.raises(DataError, match="expected images with class labels"):
        Tfds(name="ag_news_subset").table()


@pytest.mark.parametrize("error", [OSError("no route"), AssertionError("put the file into manual_dir")])
def test_a_set_that_can_not_be_prepared_says_why_and_what_to_do(monkeypatch, tmp_path, error):
    def fail(self):
        raise error

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(DataError, match=f"preparing the set failed: {error}(.|\n)*On a machine with a network"):
        Tfds(name="mnist", data_dir=tmp_path).table()
