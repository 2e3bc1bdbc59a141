#!/usr/bin/env python3
"""Training speed of ResNets, SE-ResNet-50 and Xception, all layers, on the CPU: ours, torchvision's and timm's.

Each contestant is a process of its own that waits for its turn; a figure is the median over the rounds. All train
on the same batch again and again (random pixels, 224×224×3), by SGD with momentum, so that the networks alone are
compared. PyTorch needs an environment of its own, with torch, torchvision, timm and numpy:

    python benchmarks/train_networks.py --torch-python torchenv/bin/python
"""

import argparse
import sys
from collections.abc import Callable

import numpy as np
from alternation import compare, serve, show

NETWORKS = {"resnet34": "torchvision", "resnet50": "torchvision", "se_resnet50": "timm", "xception": "timm"}
TIMM_NAMES = {"se_resnet50": "seresnet50", "xception": "legacy_xception"}
SIDE = 224
CLASSES = 1000
LEARNING_RATE = 0.01
MOMENTUM = 0.9
CONTESTANTS = {
    "ours": "ours float32",
    "ours bfloat16": "ours bfloat16",
    "torch": "torch float32",
    "torch channels last": "torch float32 channels_last",
    "torch bfloat16": "torch bfloat16 channels_last",
}


def random_batch(batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (batch, height, width, 3), float32 from 0 to 1, and labels (batch,)."""
    random = np.random.default_rng(0)
    return random.random((batch_size, SIDE, SIDE, 3), np.float32), random.integers(0, CLASSES, batch_size)


def ours(network: str, batch_size: int, steps: int, options: list[str]) -> Callable[[], None]:
    """cnntrain's network and loop."""
    from cnntrain.runtime import backend

    backend.load()
    backend.start_run(seed=0, precision="mixed_bfloat16" if "bfloat16" in options else "float32")
    import keras
    import tensorflow as tf

    from cnntrain.models import MODELS
    from cnntrain.training.loop import Objective, TrainingLoop

    images, labels = random_batch(batch_size)
    targets = {"class": keras.utils.to_categorical(labels, CLASSES)}
    batches = tf.data.Dataset.from_tensors((images, targets, {})).repeat()
    model = MODELS[network](name=network).build((SIDE, SIDE, 3), CLASSES)
    loop = TrainingLoop(model, keras.optimizers.SGD(LEARNING_RATE, MOMENTUM), Objective({"class": 1.0}))

    def train() -> None:
        for _ in loop.run_epoch(batches, steps):
            pass

    return train


def torch(network: str, batch_size: int, steps: int, options: list[str]) -> Callable[[], None]:
    """torchvision's or timm's network, without compilation."""
    import torch

    if NETWORKS[network] == "torchvision":
        import torchvision

        model = torchvision.models.get_model(network)
    else:
        import timm

        model = timm.create_model(TIMM_NAMES[network], num_classes=CLASSES)
    pixels, labels = random_batch(batch_size)
    images, targets = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()), torch.from_numpy(labels)
    if "channels_last" in options:
        model, images = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM)

    def train() -> None:
        for _ in range(steps):
            with torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in options):
                loss = torch.nn.functional.cross_entropy(model(images).float(), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return train


def main() -> None:
    """Runs all contestants and prints a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", help="a Python that has torch and timm; without it PyTorch is left out")
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=tuple(NETWORKS))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4, help="of training, in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        kind, *words = options.work.split()
        train = {"ours": ours, "torch": torch}[kind](options.networks[0], options.batch, options.steps, words)
        return serve(lambda: train() or options.batch * options.steps)
    names = [name for name in CONTESTANTS if options.torch_python or not name.startswith("torch")]
    for network in options.networks:
        numbers = ["--networks", network, "--batch", str(options.batch), "--steps", str(options.steps)]
        commands = {
            name: [
                options.torch_python if name.startswith("torch") else sys.executable,
                *(__file__, "--work", CONTESTANTS[name], *numbers),
            ]
            for name in names
        }
        print(f"{network}, batch {options.batch}", flush=True)
        show(compare(commands, rounds=options.rounds), against="torch" if options.torch_python else "ours")


if __name__ == "__main__":
    main()
