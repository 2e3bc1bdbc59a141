#!/usr/bin/env python3
"""Training speed of LeNet-5 on Fashion-MNIST: our loop, Keras's fit, and PyTorch, in alternation.

Each contestant is a process of its own that waits for its turn, so that all see the same machine in the same
minutes; a figure is the median over the rounds. Fit is called as the chapter's notebook calls it, with tf.data's
autotuning on (as people have it) and off. PyTorch needs an environment of its own, with torch and numpy:

    python benchmarks/train_lenet5.py --torch-python torchenv/bin/python

Fashion-MNIST must be prepared for TensorFlow Datasets.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from alternation import compare, serve, show

IMAGES = 24_000
LEARNING_RATE = 5e-4
CONTESTANTS = {
    "fit, autotuning": "fit float32 autotune",
    "fit": "fit float32",
    "fit bfloat16": "fit bfloat16",
    "ours": "ours float32",
    "ours bfloat16": "ours bfloat16",
    "torch eager": "torch float32 eager",
    "torch compiled": "torch float32 compiled",
    "torch compiled bfloat16": "torch bfloat16 compiled",
}


def ours(images: np.ndarray, labels: np.ndarray, batch_size: int, options: list[str]) -> Callable[[], None]:
    """cnntrain's pipeline and loop."""
    from cnntrain.runtime import backend

    backend.load()
    backend.start_run(seed=0, precision="mixed_bfloat16" if "bfloat16" in options else "float32")
    import keras

    from cnntrain.data.examples import Examples, Names, Table
    from cnntrain.data.images import ArrayImages
    from cnntrain.data.pipeline import Batches, NetworkInput
    from cnntrain.models import MODELS
    from cnntrain.training.loop import Objective, TrainingLoop

    count = len(images)
    names = tuple(str(n) for n in range(10))
    table = Table(
        images=ArrayImages(images[..., np.newaxis]), labels=labels, ids=np.arange(count), names=Names(),
        class_names=names, parts={"train": (0, count)},
    )  # fmt: skip
    expected = NetworkInput(image_size=(28, 28), channels=1, resize="stretch", antialias=False, preprocess="unit")
    batches = Batches(Examples(table, np.arange(count)), expected, batch_size=batch_size, shuffle=True)
    model = MODELS["lenet5"](name="lenet5").build(expected.shape, 10)
    loop = TrainingLoop(model, keras.optimizers.Adam(LEARNING_RATE), Objective({"class": 1.0}))
    epochs = iter(range(1000))

    def train() -> None:
        for _ in loop.run_epoch(batches.epoch(next(epochs)), batches.steps):
            pass

    return train


def fit(images: np.ndarray, labels: np.ndarray, batch_size: int, options: list[str]) -> Callable[[], None]:
    """The chapter's notebook: float64 arrays divided by 255, compile, fit."""
    import keras
    import tensorflow as tf
    from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

    if "bfloat16" in options:
        keras.config.set_dtype_policy("mixed_bfloat16")
    if "autotune" not in options:
        with_autotuning = ArrayDataAdapter.get_tf_dataset

        def without_autotuning(self: ArrayDataAdapter) -> tf.data.Dataset:
            switched_off = tf.data.Options()
            switched_off.autotune.enabled = False
            return with_autotuning(self).with_options(switched_off)

        ArrayDataAdapter.get_tf_dataset = without_autotuning
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 5, padding="same", activation="relu"),
            layers.AveragePooling2D(2),
            layers.Conv2D(48, 5, activation="relu"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(84, activation="relu"),
            layers.Dense(10, activation="softmax", dtype="float32"),
        ]
    )
    model.compile(keras.optimizers.Adam(LEARNING_RATE), "sparse_categorical_crossentropy", metrics=["accuracy"])
    scaled = images[..., np.newaxis] / 255.0

    def train() -> None:
        model.fit(scaled, labels, batch_size=batch_size, epochs=1, verbose=0)

    return train


def torch(images: np.ndarray, labels: np.ndarray, batch_size: int, options: list[str]) -> Callable[[], None]:
    """The same network and batches in PyTorch, data in memory as float32."""
    import torch
    from torch import nn

    model = nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(32, 48, 5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(1200, 256), nn.ReLU(), nn.Linear(256, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    run = torch.compile(model) if "compiled" in options else model
    pixels = torch.from_numpy(images[:, np.newaxis].astype(np.float32) / 255)
    targets = torch.from_numpy(labels)

    def train() -> None:
        for rows in torch.randperm(len(pixels)).split(batch_size):
            with torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in options):
                loss = nn.functional.cross_entropy(run(pixels[rows]).float(), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return train


def save_images(folder: str) -> str:
    """The first training images of Fashion-MNIST, where every contestant can read them."""
    from cnntrain.data.sources.tfds import Tfds
    from cnntrain.runtime import backend

    backend.load()
    labeled = Tfds(name="fashion_mnist", validation=0.0, test=0.0).load()
    table = labeled.train.table
    path = str(Path(folder) / "images.npz")
    np.savez(path, images=table.images.pixels[:IMAGES, ..., 0], labels=table.labels[:IMAGES])
    return path


def main() -> None:
    """Runs all contestants and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", help="a Python that has torch; without it PyTorch is left out")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128, 512])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        data = np.load(options.data)
        kind, *words = options.work.split()
        build = {"ours": ours, "fit": fit, "torch": torch}[kind]
        train = build(data["images"], data["labels"], options.batches[0], words)
        return serve(lambda: train() or IMAGES)
    names = [name for name in CONTESTANTS if options.torch_python or not name.startswith("torch")]
    with tempfile.TemporaryDirectory() as folder:
        path = save_images(folder)
        for batch_size in options.batches:
            commands = {
                name: [
                    options.torch_python if name.startswith("torch") else sys.executable,
                    *(__file__, "--work", CONTESTANTS[name], "--batches", str(batch_size), "--data", path),
                ]
                for name in names
            }
            print(f"batch {batch_size}", flush=True)
            show(compare(commands, rounds=options.rounds), against="fit")


if __name__ == "__main__":
    main()
