"""Peak memory of a streamed pass over a folder of JPEGs: does it grow with their number?

    python benchmarks/memory_of_streaming.py [COUNT…]

For each count (default 1,000 and 16,000) a folder of JPEGs of 96×96 pixels is made, and a process of its own
checks them, then takes all shuffled, augmented batches of one epoch. What is printed is that whole process's
peak, beside one that only imports TensorFlow. The second start, whose check is remembered, is measured too.

Measured twice on two cores with TensorFlow 2.21, which alone takes 637 and 638 MiB: 664 to 670 MiB for 1,000
images, 668 to 673 for 4,000, 677 to 681 for 16,000. What grows, about a KiB an image, are names and ids.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SIDE = 96
BATCH_SIZE = 32


def write_folder(root: Path, count: int) -> None:
    """So many different JPEGs in ten classes."""
    from PIL import Image

    random = np.random.default_rng(0)
    for number in range(count):
        noise = random.integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8)
        path = root / str(number % 10) / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=90)


def stream(root: Path) -> None:
    """One epoch of training batches."""
    from cnntrain.data.augmentation.settings import Augmentation
    from cnntrain.data.pipeline import Batches, NetworkInput
    from cnntrain.data.sources.folder import Folder

    labeled = Folder(path=root, validation=0, test=0).load()
    network_input = NetworkInput(
        image_size=(64, 64), channels=3, resize="crop", antialias=False, preprocess="unit"
    )
    augmentation = Augmentation(random_crop=True, horizontal_flip=0.5)
    batches = Batches(
        labeled.train, network_input, batch_size=BATCH_SIZE, shuffle=True, augmentation=augmentation
    )
    images = sum(len(images) for images, *_ in batches.epoch())
    if images != len(labeled.train):
        raise SystemExit(f"expected {len(labeled.train)} images; received {images}")


def peak_mebibytes(*arguments: str, cache: str) -> float:
    """The peak of a process that runs this file with these arguments."""
    environment = {**os.environ, "CNNTRAIN_CACHE": cache, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, "--child", *arguments]
    answer = subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    return int(answer.stdout.split()[-1]) / 1024


def child(*folders: str) -> None:
    """Does the work of one process, and prints its peak in KiB."""
    import resource

    import tensorflow as tf

    tf.config.list_logical_devices()
    for folder in folders:
        stream(Path(folder))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main(counts: list[int]) -> None:
    """Prints a line for each count."""
    with tempfile.TemporaryDirectory() as temporary:
        print(f"TensorFlow alone: {peak_mebibytes(cache=temporary):,.0f} MiB")
        for count in counts:
            root = Path(temporary, str(count))
            write_folder(root, count)
            first, second = (peak_mebibytes(str(root), cache=f"{temporary}/cache") for _ in range(2))
            print(f"{count:>7,} images: {first:,.0f} MiB at the first start, {second:,.0f} MiB at the second")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("counts", nargs="*", type=int, default=[1_000, 16_000], metavar="COUNT", help="images")
        main(parser.parse_args().counts)
