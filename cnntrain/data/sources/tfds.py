"""Any image classification data set in TensorFlow Datasets."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from cnntrain.data.examples import Names, Table
from cnntrain.data.sources.base import Source
from cnntrain.data.sources.drawn_boxes import Objects
from cnntrain.data.sources.tfds_features import find_features
from cnntrain.data.sources.tfds_reading import Reading, decoded_if_small, read_parts
from cnntrain.data.splits import SLICE
from cnntrain.did_you_mean import unknown
from cnntrain.errors import ConfigError, DataError
from cnntrain.settings import FilePath, Positive, Text

MEBIBYTE = 2**20


@dataclass(frozen=True, kw_only=True)
class Tfds(Source):
    """The data set called `name`, prepared in `data_dir` (null: TFDS's own folder) or downloaded if needed.

    Images of one size are decoded once and kept, if all fit into `memory_limit_mb`; others stay encoded in
    memory up to that limit. A larger data set is written once to a record file in the cache folder, for random
    access. Slices follow the order in which TFDS stores the data set.

    If an image has several objects, each with a class and a box, the `largest` or the `first` is used, or they are
    refused; images without any are left out.
    """

    source: str = "tfds"
    name: Text
    data_dir: FilePath | None = None
    memory_limit_mb: Positive = 1024
    objects: Objects = "largest"

    def title(self) -> str:
        """A short description of the data."""
        return f"TFDS {self.name}"

    def check(self) -> None:
        """Raises an error if the data set is neither prepared nor available from the network."""
        builder = open_builder(self.name, self.data_dir)
        host = None if builder.is_prepared() else unreachable_host(builder)
        if host:
            raise DataError(
                f"data.name={self.name}: the set is not prepared in {builder.data_path},"
                f" and {host} can't be reached to download it.\n{remedy(builder)}"
            )

    def table(self) -> Table:
        """The parts that the splits name; raises DataError if the data set isn't available."""
        builder = open_builder(self.name, self.data_dir)
        features = find_features(builder)
        prepare(builder)
        limit = int(self.memory_limit_mb * MEBIBYTE)
        parts = part_names(self, list(builder.info.splits))
        content = read_parts(Reading(builder, features, self.objects), parts, limit=limit)
        return Table(
            images=decoded_if_small(content.images, builder.info.features[features.image].shape, limit=limit),
            labels=content.labels,
            ids=np.arange(len(content.labels)),
            names=Names(f"{self.name}/"),
            class_names=features.class_names(builder.info.features),
            parts=content.spans,
            boxes=content.boxes if features.box else None,
        )


def open_builder(name: str, data_dir: Path | None) -> Any:
    """TFDS's builder, without loading TensorFlow or using the network; raises ConfigError for an unknown name."""
    import tensorflow_datasets as tfds

    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS warns about folders that just aren't prepared yet
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError:
        names = tfds.list_builders(with_community_datasets=False)
        raise ConfigError(
            unknown(f"data.name: TensorFlow Datasets has no set {name!r}", name, names)
        ) from None
    except (ValueError, AssertionError) as error:
        raise ConfigError(f"data.name: TensorFlow Datasets refuses {name!r}: {error}") from error


def prepare(builder: Any) -> None:
    """Downloads and prepares the data set if necessary; raises DataError if that fails."""
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
    """How to get a data set that is missing."""
    return (
        f"On a machine with a network, run the same command once, or\n"
        f"    python -c \"import tensorflow_datasets as t; t.builder('{builder.name}').download_and_prepare()\"\n"
        f"and copy {builder.data_path} to the same place here (data.data_dir names another folder);\n"
        f"or train without a download: data=digits, data=folder data.path=…, data=idx data.path=…"
    )


def unreachable_host(builder: Any) -> str | None:
    """The host of the data set's files if it does not respond within seconds, through the proxy if one is set."""
    from urllib.error import HTTPError

    from cnntrain.runtime.download import FAILURES, open_address

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
    """The parts to read: all those that the splits name, and `validation` and `test` if they exist."""
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
