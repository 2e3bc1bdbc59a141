"""The feature cache: the output of a phase's frozen layers for each image is computed once, and kept."""

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from cnntrain.data.pipeline import Batches
from cnntrain.models.transfer import in_precision
from cnntrain.optimization.schedule import FeatureCache
from cnntrain.runtime import ranks, supervised
from cnntrain.runtime.files import cache_folder, take_room, whole_folder
from cnntrain.runtime.terminal import Terminal

MIB = 2**20
BATCHES_AHEAD = 4
Allocate = Callable[[str, tuple[int, ...], str], np.ndarray]


class FeatureBatches:
    """Batches (features, targets, weights) from the cache, in the same order as the images in `Batches`, and with the
    same share of a rank; each rank has all features in its cache.

    `arrays` by name: `features` (n, …), and `targets/NAME`, `weights/NAME` as in Batches, (n, …) each.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], *, like: Batches, dtype: str):
        self.arrays = arrays
        self.like = like
        self.dtype = dtype

    def epoch(self, number: int = 0, *, first_batch: int = 0) -> tf.data.Dataset:
        """The batches of one epoch, from `first_batch` on."""
        options = tf.data.Options()
        options.autotune.enabled = False
        options.deterministic = True
        order = self.like.order(number)[: len(self.arrays["features"])]
        size, share = self.like.batch_size, self.like.share
        names = list(self.arrays)

        def gather(step: np.ndarray) -> list[np.ndarray]:
            rows = order[step * size : (step + 1) * size]
            count, of = len(rows), len(rows)
            if share:
                first, past = share.rows(len(rows))
                count = past - first
                first = min(first, of - 1)
                rows = rows[first : max(past, first + 1)]
            return [*(self.arrays[name][rows] for name in names), np.float32(count), np.float32(of)]

        def batch(step: tf.Tensor) -> tuple:
            kinds = [*(self.arrays[name].dtype for name in names), np.float32, np.float32]
            *pieces, count, of = tf.numpy_function(gather, [step], kinds, stateful=False)
            found = dict(zip(names, pieces, strict=True))
            for name, piece in found.items():
                piece.set_shape((None, *self.arrays[name].shape[1:]))
            given = tf.cast(found["features"], self.dtype), below(found, "targets/"), below(found, "weights/")
            return (*given, tf.ensure_shape(count, ()), tf.ensure_shape(of, ())) if share else given

        steps = -(-len(order) // size)
        dataset = tf.data.Dataset.range(first_batch, steps).with_options(options)
        return dataset.map(batch).prefetch(BATCHES_AHEAD)


def below(arrays: Mapping[str, tf.Tensor], prefix: str) -> dict[str, tf.Tensor]:
    """The entries under a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


class Views:
    """Batches for which the frozen part runs only on the first `count` views of each image, used in rotation.

    A view is computed when it is first needed: the one that epoch `first` would have seen, then the next.
    """

    def __init__(self, frozen: "FrozenLayers", batches: Batches, *, first: int, count: int):
        self.frozen = frozen
        self.batches = batches
        self.first = first
        self.count = count
        self.kept: dict[int, FeatureBatches] = {}

    def epoch(self, number: int = 0, *, first_batch: int = 0) -> tf.data.Dataset:
        """The batches of one epoch, from `first_batch` on."""
        view = (number - self.first) % self.count
        if view not in self.kept:
            seen = self.first + view if self.batches.varies else 0
            label = f"view {view + 1} of {self.count}" if self.count > 1 else "training images"
            self.kept[view] = self.frozen.keep(self.batches, epoch=seen, steps=self.batches.steps, label=label)
        return self.kept[view].epoch(number, first_batch=first_batch)


class FrozenLayers:
    """The frozen part of a network in one phase: runs it, and caches its output within the settings' limits.

    `between_batches` is called after each batch, and may raise.
    """

    def __init__(
        self,
        network: keras.Model,
        settings: FeatureCache,
        terminal: Terminal,
        *,
        between_batches: Callable[[], None] = lambda: None,
    ):
        self.network = in_precision(network, settings.precision) if settings.precision else network
        self.settings = settings
        self.terminal = terminal
        self.between_batches = between_batches
        self.room_mib = float(settings.limit_mb)
        self.images_per_second: float | None = None
        self.seconds = 0.0  # spent running the frozen layers
        self.features = tf.function(lambda images: self.network(images, training=False), reduce_retracing=True)

    def reserve(self, what: str, images: int) -> bool:
        """Whether the features of this many images fit into the rest of the limit; reports it either way."""
        shape = self.network.output.shape[1:]
        mib = images * math.prod(shape) * np.dtype(self.settings.dtype).itemsize / MIB
        size = f"{'×'.join(map(str, shape))} for {images:,} {what}, {mib:,.1f} MiB in {self.settings.dtype}"
        if mib > self.room_mib:
            self.terminal.line(
                f"  frozen layers run in every epoch: {size}, would be more than the {self.room_mib:,.0f} MiB"
                f" left of feature_cache.limit_mb={self.settings.limit_mb}"
            )
            return False
        self.room_mib -= mib
        self.terminal.line(f"  frozen layers run once, and what they give is kept: {size}, {self.settings.where}")
        return True

    def keep(self, batches: Batches, *, epoch: int, steps: int, label: str) -> FeatureBatches:
        """The features of all examples as seen in one epoch, or of those in its first `steps` batches."""
        start = time.perf_counter()
        if self.settings.where == "memory":
            arrays: dict[str, np.ndarray] = {}

            def allocate(name: str, shape: tuple[int, ...], kind: str) -> np.ndarray:
                return arrays.setdefault(name, np.empty(shape, kind))

            self._fill(allocate, batches, epoch, steps, label)
        else:
            arrays = self._on_disk(batches, epoch, steps, label)
        self.seconds += time.perf_counter() - start
        return FeatureBatches(arrays, like=batches, dtype=self.network.output.dtype)

    def _fill(self, allocate: Allocate, batches: Batches, epoch: int, steps: int, label: str) -> None:
        order, size = batches.order(epoch), batches.batch_size
        count = min(steps * size, len(order))
        arrays: dict[str, np.ndarray] = {}
        start = time.perf_counter()
        with self.terminal.bar(f"frozen layers, {label}", count) as advance:
            for step, (images, targets, weights, *share) in enumerate(batches.epoch(epoch).take(steps)):
                found = {"features": self.features(images)}
                found |= {f"targets/{name}": value for name, value in targets.items()}
                found |= {f"weights/{name}": value for name, value in weights.items()}
                if share:  # every rank ran its own rows, and gets those of the others
                    found = {name: ranks.gathered(value[: int(share[0])]) for name, value in found.items()}
                rows = order[step * size : (step + 1) * size]
                for name, value in found.items():
                    if name not in arrays:
                        kind = self.settings.dtype if name == "features" else "float32"
                        arrays[name] = allocate(name, (count, *value.shape[1:]), kind)
                    arrays[name][rows] = tf.cast(value, arrays[name].dtype).numpy()
                advance(len(rows))
                supervised.called()
                self.between_batches()
                if step == 0:  # it built the graph
                    start = time.perf_counter()
        if count > size:
            self.images_per_second = (count - size) / (time.perf_counter() - start)

    def _on_disk(self, batches: Batches, epoch: int, steps: int, label: str) -> dict[str, np.ndarray]:
        """The arrays as files, found or created: if the folder exists, it is complete."""
        folder = cache_folder() / "features" / self._key(batches, epoch, steps)
        if ranks.largest(int(not folder.is_dir())):  # all fill it, or none: filling needs them all
            with whole_folder(folder) as temporary:

                def allocate(name: str, shape: tuple[int, ...], kind: str) -> np.ndarray:
                    path = temporary / f"{name.replace('/', '-')}.npy"
                    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(kind), shape=shape)
                    take_room(path)
                    return array

                self._fill(allocate, batches, epoch, steps, label)
            forget_oldest(folder, self.settings.limit_mb * MIB)
        os.utime(folder)
        return {path.stem.replace("-", "/", 1): np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}

    def _key(self, batches: Batches, epoch: int, steps: int) -> str:
        """A hash of everything that determines the features: weights, layers, images, and preprocessing."""
        digest = hashlib.blake2b(digest_size=16)
        for weight in self.network.get_weights():
            digest.update(np.ascontiguousarray(weight).data)
        facts = [batches.fingerprint(epoch), steps, batches.batch_size, self.settings.dtype, self.network.to_json()]
        digest.update(json.dumps(facts).encode())
        return digest.hexdigest()


def forget_oldest(kept: Path, limit: int) -> None:
    """Removes the least recently used folders next to `kept`, until all of them take at most `limit` bytes.

    Folders that a process is writing are spared; unfinished ones are removed after a day.
    """
    day_ago = time.time() - 24 * 3600
    used = {folder: folder.stat().st_mtime for folder in kept.parent.iterdir()}
    removable = (folder for folder in used if folder.name[0] != "." or used[folder] < day_ago)
    folders = sorted(removable, key=used.__getitem__)
    sizes = {folder: sum(file.stat().st_size for file in folder.glob("*")) for folder in folders}
    for folder in folders:
        if sum(sizes.values()) <= limit or folder == kept:
            return
        shutil.rmtree(folder, ignore_errors=True)
        del sizes[folder]
