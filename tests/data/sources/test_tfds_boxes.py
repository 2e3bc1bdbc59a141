"""Sets of TensorFlow Datasets that have boxes: one of an image, or one of each of its objects."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from cnntrain.data.sources.tfds import Tfds
from cnntrain.errors import DataError

COUNT = 6
BOX = (0.1, 0.2, 0.5, 0.8)  # top, left, bottom, right
AS_OURS = [0.3, 0.5, 0.4, 0.6]


class OneBox(tfds.core.GeneratorBasedBuilder):
    """An image, its class, and one box."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"bbox": tfds.features.BBoxFeature(), "image": tfds.features.Image(shape=(None, None, 3)),
                    "label": tfds.features.ClassLabel(names=["a", "b"])}  # fmt: skip
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(COUNT):
            image = np.full((8, 10, 3), number, np.uint8)
            top, left, bottom, right = BOX
            box = tfds.features.BBox(ymin=top, xmin=left, ymax=bottom, xmax=right)
            yield number, {"image": image, "label": number % 2, "bbox": box}


class Objects(OneBox):
    """An image and its objects: a small b, then a large a; the third image has none."""

    def _info(self):
        inner = {"bbox": tfds.features.BBoxFeature(), "label": tfds.features.ClassLabel(names=["a", "b"]),
                 "pose": tfds.features.ClassLabel(names=["x"])}  # fmt: skip
        features = {"image": tfds.features.Image(shape=(None, None, 3)), "objects": tfds.features.Sequence(inner)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _generate_examples(self):
        small = tfds.features.BBox(ymin=0.0, xmin=0.0, ymax=0.5, xmax=0.25)
        large = tfds.features.BBox(*BOX)
        for number in range(COUNT):
            both = [{"bbox": small, "label": 1, "pose": 0}, {"bbox": large, "label": 0, "pose": 0}]
            yield number, {"image": np.full((8, 10, 3), number, np.uint8), "objects": both if number != 2 else []}


@pytest.fixture
def prepared(tmp_path):
    """Both sets, prepared in a folder."""
    for builder in (OneBox, Objects):
        builder(data_dir=tmp_path).download_and_prepare()
    return tmp_path


def values(table):
    """The first pixel of each image, by which images are told apart."""
    return [int(table.images.read(row)[0, 0, 0]) for row in range(len(table.labels))]


@pytest.mark.parametrize("limit", [1024, 1e-4], ids=["in memory", "as a record file"])
def test_the_box_of_an_image_comes_with_it(prepared, limit):
    table = Tfds(name="one_box", data_dir=prepared, memory_limit_mb=limit).table()
    assert sorted(values(table)) == list(range(COUNT))
    assert table.labels.tolist() == [value % 2 for value in values(table)]
    np.testing.assert_allclose(table.boxes, [AS_OURS] * COUNT, atol=1e-6)


@pytest.mark.parametrize("limit", [1024, 1e-4], ids=["in memory", "as a record file"])
def test_of_several_objects_the_largest_or_the_first_counts(prepared, limit):
    settings = {"name": "objects", "data_dir": prepared, "memory_limit_mb": limit}
    largest, first = Tfds(**settings).table(), Tfds(**settings, objects="first").table()
    assert sorted(values(largest)) == [0, 1, 3, 4, 5]
    assert largest.parts == {"train": (0, COUNT - 1)}
    assert (set(largest.labels), set(first.labels)) == ({0}, {1})
    np.testing.assert_allclose(largest.boxes, [AS_OURS] * (COUNT - 1), atol=1e-6)
    np.testing.assert_allclose(first.boxes, [[0.25, 0.125, 0.5, 0.25]] * (COUNT - 1), atol=1e-6)


def test_several_objects_can_be_refused(prepared):
    with pytest.raises(DataError, match="data.name=objects: 5 images of train have several objects"):
        Tfds(name="objects", data_dir=prepared, objects="refuse").table()


def test_a_set_without_boxes_has_none(monkeypatch):
    monkeypatch.setattr(tfds.core.DatasetBuilder, "is_prepared", lambda self: True)
    with tfds.testing.mock_data(num_examples=4):
        assert Tfds(name="tf_flowers", validation=0.0, test=0.0).table().boxes is None
