#!/usr/bin/env python3
"""Training speed on a GPU, all layers: ours, with and without XLA, beside torchvision's or timm's network compiled.

Each contestant is a process of its own that waits for its turn; a figure is the median over the rounds. With `--from
memory` all train on the same batch again and again, so that the networks alone are compared; with `--from jpegs` each
reads the same JPEG files by its own input pipeline, with random resized crops and flips. Without a GPU it runs on the
CPU; take tiny sizes then. PyTorch needs an environment of its own, with torch, torchvision, timm and numpy:

    python benchmarks/gpus.py --torch-python torchenv/bin/python
    python benchmarks/gpus.py --networks EfficientNetB0 --precisions float32 --side 64 --batch 4 --steps 2 --rounds 1
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from alternation import compare, serve, show

NETWORKS = {"ResNet50": "resnet50", "Xception": "legacy_xception", "EfficientNetB0": "efficientnet_b0"}
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
CLASSES, JPEG_SIDE = 1000, (375, 500)


def write_jpegs(folder: Path, count: int) -> None:
    """Smooth random pictures as JPEG files, in a folder for each of ten classes."""
    from PIL import Image

    random = np.random.default_rng(0)
    for number in range(count):
        (folder / str(number % 10)).mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
        small.resize(JPEG_SIDE[::-1]).save(folder / str(number % 10) / f"{number}.jpg", quality=90)


def ours(options: argparse.Namespace, precision: str, xla: bool) -> Callable[[], int]:
    """cnntrain's loop on Keras's network."""
    from cnntrain.runtime import backend

    backend.load()
    backend.start_run(seed=0, precision=PRECISIONS[precision])
    import keras
    import tensorflow as tf

    from cnntrain.models import MODELS
    from cnntrain.optimization.optimizers import loss_scaled
    from cnntrain.training.loop import Objective, TrainingLoop

    model = MODELS["application"](name="application", backbone=options.networks[0], image_size=(options.side,) * 2)
    network = model.build((options.side, options.side, 3), CLASSES if options.source == "memory" else 10)
    optimizer = loss_scaled(keras.optimizers.SGD(0.01, 0.9), PRECISIONS[precision])
    loop = TrainingLoop(network, optimizer, Objective({"class": 1.0}), compiled=xla)
    if options.source == "memory":
        images, labels = random_batch(options)
        targets = {"class": keras.utils.to_categorical(labels, CLASSES)}
        batches = tf.data.Dataset.from_tensors((images, targets, {})).repeat()
    else:
        batches = own_pipeline(options, model.preprocess_mode).repeat()
    endless = iter(batches)

    def train() -> int:
        loop.sums.reset()
        loop.run_steps(endless, tf.constant(options.steps), tf.constant(loop.sums.totals))[0].numpy()
        return options.batch * options.steps

    return train


def own_pipeline(options: argparse.Namespace, preprocess: str):
    """cnntrain's batches of the JPEG files."""
    from cnntrain.data.augmentation.settings import Augmentation
    from cnntrain.data.input_spec import NetworkInput
    from cnntrain.data.pipeline import Batches
    from cnntrain.data.sources.folder import Folder

    labeled = Folder(source="folder", path=Path(options.jpegs), validation=0.0, test=0.0).load()
    expected = NetworkInput(
        image_size=(options.side,) * 2, channels=3, resize="stretch", antialias=False, preprocess=preprocess
    )
    augmentation = Augmentation(random_resized_crop=True, horizontal_flip=0.5)
    return Batches(
        labeled.train, expected, batch_size=options.batch, shuffle=True, augmentation=augmentation
    ).epoch()


def torch(options: argparse.Namespace, precision: str, _: bool) -> Callable[[], int]:
    """PyTorch's network, compiled, channels last."""
    import timm
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    classes = CLASSES if options.source == "memory" else 10
    model = timm.create_model(NETWORKS[options.networks[0]], num_classes=classes)
    model = torch.compile(model.to(device, memory_format=torch.channels_last))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9)
    scaler = torch.amp.GradScaler(device, enabled=precision == "float16" and device == "cuda")
    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    batches = torch_batches(options, device)

    def train() -> int:
        for _ in range(options.steps):
            images, targets = next(batches)
            with torch.autocast(device, kind, enabled=precision != "float32"):
                loss = torch.nn.functional.cross_entropy(model(images).float(), targets)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        if device == "cuda":
            torch.cuda.synchronize()
        return options.batch * options.steps

    return train


def torch_batches(options: argparse.Namespace, device: str):
    """Endless batches of images, channels last, and labels."""
    import torch

    if options.source == "memory":
        pixels, labels = random_batch(options)
        images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).to(device, memory_format=torch.channels_last)
        targets = torch.from_numpy(labels).to(device)
        while True:
            yield images, targets
    from torchvision import datasets, transforms

    steps = [transforms.RandomResizedCrop(options.side), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    files = datasets.ImageFolder(options.jpegs, transforms.Compose(steps))
    loader = torch.utils.data.DataLoader(
        files, options.batch, shuffle=True, num_workers=options.workers, drop_last=True,
        persistent_workers=options.workers > 0, pin_memory=device == "cuda",
    )  # fmt: skip
    while True:
        for images, targets in loader:
            yield images.to(device, memory_format=torch.channels_last, non_blocking=True), targets.to(device)


def random_batch(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Images (batch, height, width, 3), float32 from 0 to 1, and labels (batch,)."""
    random = np.random.default_rng(0)
    pixels = random.random((options.batch, options.side, options.side, 3), np.float32)
    return pixels, random.integers(0, CLASSES, options.batch)


def main() -> None:
    """Runs all contestants and prints a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", help="a Python that has torch and timm; without it PyTorch is left out")
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=tuple(NETWORKS))
    parser.add_argument("--precisions", nargs="+", choices=tuple(PRECISIONS), default=tuple(PRECISIONS))
    parser.add_argument("--from", dest="source", choices=("memory", "jpegs"), default="memory")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20, help="of training, in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=8, help="processes that read images for PyTorch")
    parser.add_argument("--jpegs", help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        kind, precision, *flags = options.work.split()
        return serve({"ours": ours, "torch": torch}[kind](options, precision, "xla" in flags))
    with tempfile.TemporaryDirectory() as folder:
        if options.source == "jpegs":
            write_jpegs(Path(folder), 4 * options.batch)
        for network in options.networks:
            print(f"{network}, {options.side}×{options.side}, batch {options.batch}, from {options.source}", flush=True)
            show(compare(commands_of(options, network, folder), rounds=options.rounds), against="ours float32")


def commands_of(options: argparse.Namespace, network: str, jpegs: str) -> dict[str, list[str]]:
    """The command of each contestant, by its name."""
    common = [
        "--networks", network, "--from", options.source, "--side", str(options.side), "--batch", str(options.batch),
        "--steps", str(options.steps), "--workers", str(options.workers), "--jpegs", jpegs,
    ]  # fmt: skip
    kinds = {f"ours {precision}": f"ours {precision}" for precision in options.precisions}
    kinds |= {f"ours {precision}, XLA": f"ours {precision} xla" for precision in options.precisions}
    if options.torch_python:
        kinds |= {f"torch {precision}, compiled": f"torch {precision}" for precision in options.precisions}
    return {
        name: [options.torch_python if work.startswith("torch") else sys.executable, __file__, "--work", work, *common]
        for name, work in kinds.items()
    }


if __name__ == "__main__":
    main()
