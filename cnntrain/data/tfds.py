"""Any image classification set of TensorFlow Datasets."""

import functools
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from cnntrain.data.base import Names, Source, Table
from cnntrain.data.splits import SLICE
from cnntrain.download import FAILURES, open_address
from cnntrain.errors import ConfigError, DataError
from cnntrain.files import cache_folder, whole_file, write_whole
from cnntrain.settings import Positive, unknown

if TYPE_CHECKING:
    from cnntrain.data.images import Images

READ_AT_ONCE = 512
MEBIBYTE = 2**20


@dataclass(frozen=True, kw_only=True)
class Tfds(Source):
    """The set called `name`, prepared in `data_dir` (null: TFDS's own folder) or downloaded if need be.

    Images of one size are decoded once and kept, if all fit into `memory_limit_mb`; others stay encoded in
    memory up to that limit; a larger set is written once to a record file in the cache folder, so that any
    image can be reached at any time. A slice is taken in the order in which TFDS stores the set.
    """

    source: str = "tfds"
    name: str
    data_dir: Path | None = None
    memory_limit_mb: Positive = 1024

    def title(self) -> str:
        """What the data are, in words."""
        return f"TFDS {self.name}"

    def check(self) -> None:
        """Raises where the set is neither prepared nor to be had from the network."""
        builder = open_builder(self.name, self.data_dir)
        host = None if builder.is_prepared() else unreachable_host(builder)
        if host:
            raise DataError(
                f"data.name={self.name}: the set is not prepared in {builder.data_path},"
                f" and {host} can't be reached to download it.\n{remedy(builder)}"
            )

    def table(self) -> Table:
        """The parts that the splits name; raises DataError where the set can't be had."""
        builder = open_builder(self.name, self.data_dir)
        image_key, label_key = supervised_keys(builder)
        feature = builder.info.features[image_key]
        class_names = tuple(builder.info.features[label_key].names)
        prepare(builder)
        limit = int(self.memory_limit_mb * MEBIBYTE)
        parts = part_names(self, list(builder.info.splits))
        images, labels, spans = read_parts(builder, parts, image_key, label_key, limit=limit)
        return Table(
            images=decoded_if_small(images, feature.shape, limit=limit),
            labels=labels,
            ids=np.arange(len(labels)),
            names=Names(f"{self.name}/"),
            class_names=class_names,
            parts=spans,
        )


def open_builder(name: str, data_dir: Path | None) -> Any:
    """TFDS's builder, without loading TensorFlow or reaching out; raises ConfigError for an unknown name."""
    import tensorflow_datasets as tfds

    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS warns of folders that are merely not prepared
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError:
        names = tfds.list_builders(with_community_datasets=False)
        raise ConfigError(
            unknown(f"data.name: TensorFlow Datasets has no set {name!r}", name, names)
        ) from None
    except (ValueError, AssertionError) as error:
        raise ConfigError(f"data.name: TensorFlow Datasets refuses {name!r}: {error}") from error


def supervised_keys(builder: Any) -> tuple[str, str]:
    """The names of the image and of the class label in the set's features."""
    import tensorflow_datasets as tfds

    features = dict(builder.info.features or {})
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    if not images or not labels:
        raise DataError(f"data.name={builder.name}: expected images with class labels; the set has {list(features)}")
    chosen = builder.info.supervised_keys or ()
    image = next((key for key in chosen if key in images), images[0])
    label = next((key for key in chosen if key in labels), labels[0])
    return image, label


def prepare(builder: Any) -> None:
    """Downloads and prepares the set if it is not there; raises DataError where that fails."""
    if builder.is_prepared():
        return
    from tensorflow_datasets.core.download import download_manager, extractor, util

    failures = (
        *(OSError, ValueError, RuntimeError, AssertionError, ImportError, NotImplementedError),
        *(download_manager.NonMatchingChecksumError, util.DownloadError),
        *(extractor.ExtractError, extractor.UnsafeArchiveError),
    )
    try:
        builder.download_and_prepare()
    except failures as error:
        raise DataError(f"data.name={builder.name}: preparing the set failed: {error}\n{remedy(builder)}") from error


def remedy(builder: Any) -> str:
    """How to get a set that is not here."""
    return (
        f"On a machine with a network, run the same command once, or\n"
        f"    python -c \"import tensorflow_datasets as t; t.builder('{builder.name}').download_and_prepare()\"\n"
        f"and copy {builder.data_path} to the same place here (data.data_dir names another folder);\n"
        f"or train without a download: data=digits, data=folder data.path=…, data=idx data.path=…"
    )


def unreachable_host(builder: Any) -> str | None:
    """The host of the set's files if it does not answer within seconds, through the proxy where one is set."""
    from urllib.error import HTTPError

    urls = [url for url in builder.url_infos if urlsplit(url).scheme in ("http", "https")]
    address = urlsplit(urls[0] if urls else "https://storage.googleapis.com")
    try:
        open_address(f"{address.scheme}://{address.netloc}/", method="HEAD").close()
    except HTTPError:
        return None
    except FAILURES:
        return address.netloc
    return None


def part_names(source: Source, known: list[str]) -> list[str]:
    """The parts to read: all that the splits name, and `validation` and `test` where they are to be found."""
    names: list[str] = []
    for split, asked in (("train", source.train), ("validation", source.validation), ("test", source.test)):
        if isinstance(asked, str):
            matches = [SLICE.fullmatch(term.strip()) for term in asked.split("+")]
            names += [match["part"] for match in matches if match]
        elif asked is None and split in known:
            names.append(split)
    for name in names:
        if known and name not in known:
            raise DataError(unknown(f"data: the set has no part {name!r}", name, known))
    return list(dict.fromkeys(names))


def read_parts(
    builder: Any, parts: list[str], image_key: str, label_key: str, *, limit: int
) -> tuple["Images", np.ndarray, dict[str, tuple[int, int]]]:
    """The encoded images of all parts, their labels (n,), and each part's (start, stop)."""
    from cnntrain.data.images import EncodedImages

    channels = builder.info.features[image_key].shape[-1] or 3
    record = record_path(builder, parts)
    if record.is_file():
        return open_record(record, channels)
    encoded: list[bytes] = []
    labels: list[np.ndarray] = []
    spans: dict[str, tuple[int, int]] = {}
    total = 0
    for part in parts:
        start = len(encoded)
        for images, numbers in encoded_batches(builder, part, image_key, label_key):
            encoded += images
            labels.append(numbers)
            total += sum(map(len, images))
            if total > limit:
                return write_record(builder, parts, image_key, label_key, record, channels)
        spans[part] = (start, len(encoded))
    return EncodedImages(np.array(encoded, object), channels=channels), np.concatenate(labels), spans


def encoded_batches(
    builder: Any, part: str, image_key: str, label_key: str
) -> Iterator[tuple[list[bytes], np.ndarray]]:
    """The encoded images and labels of a part, in the order in which they are stored."""
    import tensorflow_datasets as tfds

    config = tfds.ReadConfig(interleave_cycle_length=1)
    dataset = builder.as_dataset(
        split=part, shuffle_files=False, read_config=config, decoders={image_key: tfds.decode.SkipDecoding()}
    )
    dataset = dataset.map(lambda example: (example[image_key], example[label_key]))
    for images, labels in dataset.batch(READ_AT_ONCE).as_numpy_iterator():
        yield list(images), labels.astype(np.int64)


def record_path(builder: Any, parts: list[str]) -> Path:
    """The record file of these parts of the set."""
    key = hashlib.blake2b(repr((str(builder.data_path), parts)).encode(), digest_size=8).hexdigest()
    return cache_folder() / "records" / f"{builder.name}-{builder.version}-{key}.array_record"


def write_record(
    builder: Any, parts: list[str], image_key: str, label_key: str, path: Path, channels: int
) -> tuple["Images", np.ndarray, dict[str, tuple[int, int]]]:
    """Writes all parts to one record file, and their labels beside it."""
    from array_record.python.array_record_module import ArrayRecordWriter

    labels: list[int] = []
    lengths: list[int] = []
    spans: dict[str, tuple[int, int]] = {}
    with whole_file(path) as temporary:
        writer = ArrayRecordWriter(str(temporary), "group_size:1")
        for part in parts:
            start = len(labels)
            for images, numbers in encoded_batches(builder, part, image_key, label_key):
                for image in images:
                    writer.write(image)
                    lengths.append(len(image))
                labels += numbers.tolist()
            spans[part] = (start, len(labels))
        writer.close()
        index = {"labels": labels, "lengths": lengths, "parts": spans}
        write_whole(path.with_suffix(".json"), json.dumps(index).encode())
    return open_record(path, channels)


def open_record(path: Path, channels: int) -> tuple["Images", np.ndarray, dict[str, tuple[int, int]]]:
    """What `write_record` wrote."""
    from cnntrain.data.images import RecordImages

    index = json.loads(path.with_suffix(".json").read_text())
    spans = {name: (start, stop) for name, (start, stop) in index["parts"].items()}
    images = RecordImages(path, lengths=np.array(index["lengths"]), channels=channels)
    return images, np.array(index["labels"], np.int64), spans


def decoded_if_small(images: "Images", shape: tuple[int | None, ...], *, limit: int) -> "Images":
    """Encoded images of one size as an array, where it fits into the limit; else as they came.

    Sets of one fixed size are stored as PNG, so that decoding once or each time gives the same pixels.
    """
    from cnntrain.data.decode import read_image
    from cnntrain.data.images import ArrayImages, EncodedImages

    if not isinstance(images, EncodedImages) or None in shape:
        return images
    if len(images.encoded) * int(np.prod([side or 1 for side in shape])) > limit:
        return images
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(images.encoded)
    options = tf.data.Options()
    options.autotune.enabled = False
    read = functools.partial(read_image, channels=images.image_shape[2])
    dataset = dataset.map(read, num_parallel_calls=os.cpu_count())
    batches = dataset.batch(READ_AT_ONCE).with_options(options).as_numpy_iterator()
    return ArrayImages(np.concatenate(list(batches)))
