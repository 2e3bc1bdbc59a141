#!/usr/bin/env python3
"""Epochs with a frozen backbone: as a notebook runs them, and ours, which runs frozen layers once on each image.

Four cases, each in alternation, round by round, medians:

- head: the head alone trains on images without augmentation; ours keeps its features.
- views: the head alone trains under random crops and flips; ours sees two views of each image (cache_views: 2).
- top: the two uppermost blocks train too, without augmentation; ours keeps what lies below them.
- precision: one pass of the frozen layers over the images, in float32 and in mixed_bfloat16.

The backbone is Keras's Xception with random weights, images are random JPEGs of 224×224. `ours, off` is cnntrain
without the cache: its weights are compared with those of the run that has it.

    python benchmarks/frozen_features.py --images 512 --epochs 5
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

SIDE = 224
CASES = ("head", "views", "top", "precision")
TOP_BLOCKS = "[head, block13_*, block14_*, conv2d_3, batch_normalization_3]"


def write_images(folder: Path, count: int) -> None:
    """So many JPEGs of smooth noise, in two classes."""
    from PIL import Image

    random = np.random.default_rng(0)
    for number in range(count):
        target = folder / f"class_{number % 2}"
        target.mkdir(exist_ok=True)
        small = random.integers(0, 256, (14, 14, 3), np.uint8)
        Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(target / f"{number:05}.jpg")


def notebook(folder: Path, epochs: int, *, augment: bool, top: bool) -> None:
    """Keras's fit on a tf.data pipeline, as the chapter writes it."""
    import keras
    import tensorflow as tf

    def prepared(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        if augment:
            side = tf.reduce_min(tf.shape(image)[:2])
            image = tf.image.random_flip_left_right(tf.image.random_crop(image, [side, side, 3]))
        image = tf.image.resize(image, [SIDE, SIDE])
        return keras.applications.xception.preprocess_input(image), label

    paths = sorted(folder.glob("*/*.jpg"))
    labels = [int(path.parent.name[-1]) for path in paths]
    images = tf.data.Dataset.from_tensor_slices(([str(path) for path in paths], labels))
    batches = images.shuffle(1000).map(prepared, num_parallel_calls=2).batch(32).prefetch(1)
    base = keras.applications.Xception(weights=None, include_top=False, input_shape=(SIDE, SIDE, 3))
    for layer in base.layers:
        layer.trainable = top and layer.name.startswith(("block13", "block14", "conv2d_3", "batch_normalization_3"))
    average = keras.layers.GlobalAveragePooling2D()(base.output)
    model = keras.Model(base.input, keras.layers.Dense(2, activation="softmax")(average))
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(batches, epochs=epochs, verbose=0)


def ours(folder: Path, epochs: int, run: Path, *words: str) -> None:
    """One phase of cnntrain on the same images, test and validation left out."""
    from cnntrain.cli.main import main

    code = main([
        "model=xception_transfer", "model.weights=null", "data=folder", f"data.path={folder}", "data.validation=0",
        "data.test=0", "optimizer=sgd", "optimizer.momentum=0.9", "~schedule.phases.all",
        f"schedule.phases.head.epochs={epochs}", *words, f"hydra.run.dir={run}",
    ])  # fmt: skip
    if code:
        raise SystemExit(code)


def seconds(work: object) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def difference(first: Path, second: Path) -> float:
    """The largest difference between the weights of two runs."""
    import keras

    models = [keras.models.load_model(run / "model.keras", compile=False) for run in (first, second)]
    pairs = zip(models[0].get_weights(), models[1].get_weights(), strict=True)
    return max(float(np.abs(one - other).max()) for one, other in pairs)


def case(name: str, folder: Path, runs: Path, options: argparse.Namespace) -> None:
    """Times one case, and prints its line."""
    augment, top = name == "views", name == "top"
    words = ["augmentation=square_crop_flip" if augment else "augmentation=none"]
    words += [f"schedule.phases.head.trainable={TOP_BLOCKS}"] if top else []
    kept = [*words, "schedule.phases.head.cache_views=2"] if augment else words
    times: dict[str, list[float]] = {"notebook": [], "ours": []}
    for number in range(options.rounds):
        times["notebook"].append(seconds(lambda: notebook(folder, options.epochs, augment=augment, top=top)))
        run = runs / f"{name}-{number}"
        times["ours"].append(seconds(lambda run=run: ours(folder, options.epochs, run, *kept)))
    medians = {who: statistics.median(values) for who, values in times.items()}
    text = f"{name}: notebook {medians['notebook']:.1f} s, ours {medians['ours']:.1f} s"
    print(f"{text}, {medians['notebook'] / medians['ours']:.2f} times as fast", flush=True)
    if not augment:
        off = seconds(lambda: ours(folder, options.epochs, runs / f"{name}-off", *words, "feature_cache.where=off"))
        largest = difference(runs / f"{name}-0", runs / f"{name}-off")
        print(f"  ours, off {off:.1f} s; largest difference of a weight with and without the cache {largest:.2g}")


def precision(options: argparse.Namespace) -> None:
    """Times the frozen layers alone, in both precisions, and prints a line."""
    import keras
    import tensorflow as tf

    from cnntrain.models.transfer import in_precision

    base = keras.applications.Xception(weights=None, include_top=False, pooling="avg", input_shape=(SIDE, SIDE, 3))
    images = tf.random.stateless_uniform((32, SIDE, SIDE, 3), seed=[0, 0])
    passes = {name: tf.function(in_precision(base, name)) for name in ("float32", "mixed_bfloat16")}
    times: dict[str, list[float]] = {name: [] for name in passes}
    for number in range(options.rounds + 1):
        for name, run in passes.items():
            taken = seconds(lambda run=run: [run(images, training=False) for _ in range(4)])
            times[name] += [taken] if number else []  # the first builds the graph
    rates = {name: 4 * 32 / statistics.median(values) for name, values in times.items()}
    text = ", ".join(f"{name} {rate:.1f} images/s" for name, rate in rates.items())
    print(f"precision: {text}, {rates['mixed_bfloat16'] / rates['float32']:.2f} times as fast", flush=True)


def main() -> None:
    """All cases, or those that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, runs = Path(temporary) / "images", Path(temporary) / "runs"
        folder.mkdir()
        write_images(folder, options.images)
        for name in options.cases:
            if name == "precision":
                precision(options)
            else:
                case(name, folder, runs, options)


if __name__ == "__main__":
    main()
