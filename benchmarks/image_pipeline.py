#!/usr/bin/env python3
"""Images a second from JPEG files to training batches, in alternation: ours and what people use instead.

1,000 JPEGs of 500×375, cut from sample pictures that scikit-learn and scikit-image ship, become batches of 32:
random square crop, flip, 224×224, preprocessed (-1 to 1). torchvision, OpenCV and the libjpeg-turbo limit run in an
environment of their own (torch, torchvision, opencv-python-headless, simplejpeg, scikit-image); ours needs
`pip install '.[benchmarks]'`:

    python benchmarks/image_pipeline.py --other-python other/bin/python
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from alternation import compare, serve, show

IMAGES = 1000
BATCH = 32
SIZE = 224
THREADS = 2


def make_corpus(folder: Path) -> None:
    """The JPEGs, in two class folders."""
    from PIL import Image
    from skimage import data
    from sklearn.datasets import load_sample_images

    pictures = [*load_sample_images().images, data.astronaut(), data.coffee(), data.cat()]
    random = np.random.default_rng(0)
    for number in range(IMAGES):
        picture = Image.fromarray(pictures[number % len(pictures)])
        scale = random.uniform(0.6, 1.0)
        width = min(int(picture.width * scale), int(picture.height * scale * 4 / 3))
        height = width * 3 // 4
        left, top = random.integers(0, picture.width - width + 1), random.integers(0, picture.height - height + 1)
        cut = picture.crop((left, top, left + width, top + height)).resize((500, 375), Image.Resampling.LANCZOS)
        path = folder / f"class{number % 2}" / f"{number:04}.jpg"
        path.parent.mkdir(exist_ok=True)
        cut.save(path, quality=90)


def files(folder: Path) -> list[Path]:
    """All JPEGs of the corpus."""
    return sorted(folder.rglob("*.jpg"))


def drain(batches: object) -> int:
    """Goes through all batches; the number of images."""
    count = 0
    for images, *_ in batches:  # type: ignore[attr-defined]
        count += len(images)
    return count


def ours(folder: Path, options: list[str]) -> Callable[[], int]:
    """cnntrain's pipeline, as `data=folder augmentation=square_crop_flip model.resize=crop` builds it."""
    from cnntrain.runtime import backend

    backend.load()
    from cnntrain.data.augmentation.settings import Augmentation
    from cnntrain.data.pipeline import Batches, NetworkInput
    from cnntrain.data.sources.folder import Folder

    expected = NetworkInput(image_size=(SIZE, SIZE), channels=3, resize="crop", antialias=False, preprocess="tf")
    augmentation = Augmentation(random_crop=True, horizontal_flip=0.5)
    train = Folder(path=folder, validation=0.0, test=0.0).load().train
    if "cached" in options:
        from cnntrain.data.decoded_cache import decoded_once

        train = decoded_once(train, expected, augmentation)
    decoding = "fast" if "fast" in options else "accurate"
    settings = {"shuffle": True, "augmentation": augmentation, "decoding": decoding}
    batches = Batches(train, expected, batch_size=BATCH, **settings)
    epochs = itertools.count()
    return lambda: drain(batches.epoch(next(epochs)))


def notebook(folder: Path, options: list[str]) -> Callable[[], int]:
    """The chapter's own functions: decode, random_crop, flip, resize, preprocess_input, one map without parallelism."""
    import keras
    import tensorflow as tf

    def preprocess(path: tf.Tensor) -> tuple[tf.Tensor]:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        side = tf.reduce_min(tf.shape(image)[:2])
        image = tf.image.random_flip_left_right(tf.image.random_crop(image, [side, side, 3]))
        return (keras.applications.xception.preprocess_input(tf.image.resize(image, [SIZE, SIZE])),)

    dataset = tf.data.Dataset.from_tensor_slices([str(path) for path in files(folder)]).shuffle(IMAGES)
    return partial(drain, dataset.map(preprocess).batch(BATCH).prefetch(1))


def keras_directory(folder: Path, options: list[str]) -> Callable[[], int]:
    """keras.utils.image_dataset_from_directory: no random crop, no flip."""
    import keras

    dataset = keras.utils.image_dataset_from_directory(
        folder, image_size=(SIZE, SIZE), batch_size=BATCH, crop_to_aspect_ratio=True, verbose=False
    )
    return partial(drain, dataset)


def torchvision(folder: Path, options: list[str]) -> Callable[[], int]:
    """torchvision with two workers, decoding by PIL or by its own decoder."""
    import torch
    from torchvision import datasets, io
    from torchvision.transforms import v2

    class SquareCrop(v2.Transform):
        """The largest square, anywhere."""

        def __call__(self, image: torch.Tensor) -> torch.Tensor:
            height, width = v2.functional.get_size(image)
            side = min(height, width)
            top, left = torch.randint(height - side + 1, ()).item(), torch.randint(width - side + 1, ()).item()
            return v2.functional.crop(image, top, left, side, side)

    steps = [
        SquareCrop(),
        v2.RandomHorizontalFlip(),
        v2.Resize((SIZE, SIZE), antialias=False),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.5] * 3, [0.5] * 3),
    ]
    own = {"loader": partial(io.decode_image, mode="RGB")} if "own" in options else {}
    dataset = datasets.ImageFolder(str(folder), v2.Compose(steps), **own)
    loader = torch.utils.data.DataLoader(
        dataset, BATCH, shuffle=True, num_workers=THREADS, persistent_workers=True, multiprocessing_context="fork"
    )
    return partial(drain, loader)


def opencv(folder: Path, options: list[str]) -> Callable[[], int]:
    """OpenCV in two Python threads, decoding by itself or by libjpeg-turbo."""
    import cv2
    import simplejpeg

    cv2.setNumThreads(1)
    paths = files(folder)
    random = np.random.default_rng(0)

    def load(path: Path) -> np.ndarray:
        content = path.read_bytes()
        if "turbo" in options:
            image = simplejpeg.decode_jpeg(content, fastdct=True)
        else:
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = random.integers(height - side + 1), random.integers(width - side + 1)
        image = image[top : top + side, left : left + side]
        image = cv2.resize(image, (SIZE, SIZE))
        return image[:, ::-1] if random.random() < 0.5 else image

    def batches(pool: ThreadPoolExecutor) -> Iterator[tuple[np.ndarray]]:
        images = pool.map(load, [paths[n] for n in random.permutation(len(paths))])
        while batch := list(itertools.islice(images, BATCH)):
            yield (np.stack(batch).astype(np.float32) / 127.5 - 1,)

    pool = ThreadPoolExecutor(THREADS)
    return lambda: drain(batches(pool))


def decode_only(folder: Path, options: list[str]) -> Callable[[], int]:
    """The limit: libjpeg-turbo decodes the files in two threads, and nothing else."""
    import simplejpeg

    contents = [path.read_bytes() for path in files(folder)]
    pool = ThreadPoolExecutor(THREADS)
    decode = partial(simplejpeg.decode_jpeg, fastdct="fast" in options, fastupsample="fast" in options)
    return lambda: sum(1 for _ in pool.map(decode, contents))


def tensorflow_decode(folder: Path, options: list[str]) -> Callable[[], int]:
    """TensorFlow decodes the files in parallel calls, and nothing else."""
    import tensorflow as tf

    def decode(path: tf.Tensor) -> tf.Tensor:
        return tf.io.decode_jpeg(tf.io.read_file(path), channels=3)

    dataset = tf.data.Dataset.from_tensor_slices([str(path) for path in files(folder)])
    switched_off = tf.data.Options()
    switched_off.autotune.enabled = False
    dataset = dataset.map(decode, num_parallel_calls=THREADS).prefetch(8).with_options(switched_off)
    return lambda: sum(1 for _ in dataset)


OTHERS = {
    "torchvision (PIL)": (torchvision, []),
    "torchvision (own decoder)": (torchvision, ["own"]),
    "OpenCV threads": (opencv, []),
    "libjpeg-turbo and OpenCV": (opencv, ["turbo"]),
    "libjpeg-turbo decoding only": (decode_only, []),
    "the same, fast": (decode_only, ["fast"]),
}
CONTESTANTS = {
    "ours": (ours, []),
    "ours, decoding=fast": (ours, ["fast"]),
    "ours, cache_decoded": (ours, ["cached"]),
    "notebook": (notebook, []),
    "image_dataset_from_directory": (keras_directory, []),
    "TensorFlow decoding only": (tensorflow_decode, []),
    **OTHERS,
}


def main() -> None:
    """Makes the corpus, runs all contestants, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other-python", help="a Python that has the others' packages; without it they are left out")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, help="only these")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        build, words = CONTESTANTS[options.work]
        return serve(build(options.corpus, words))
    names = [name for name in options.only or CONTESTANTS if name not in OTHERS or options.other_python]
    with tempfile.TemporaryDirectory() as folder:
        make_corpus(Path(folder))
        commands = {
            name: [
                options.other_python if name in OTHERS else sys.executable,
                *(__file__, "--work", name, "--corpus", folder),
            ]
            for name in names
        }
        show(compare(commands, rounds=options.rounds), against=names[0])


if __name__ == "__main__":
    main()
