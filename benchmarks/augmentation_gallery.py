"""python benchmarks/augmentation_gallery.py

Draws every shipped augmentation, conf/augmentation/*.yaml: one row each, the original and what training sees
of it in six epochs. The picture is written beside this file; the images come with scikit-learn.
"""

import argparse
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from sklearn.datasets import load_sample_image

from cnntrain.cli.overrides import conf_dir
from cnntrain.data.augmentation.settings import Augmentation
from cnntrain.data.examples import Examples, Names, Table
from cnntrain.runtime import backend
from cnntrain.settings import read

SIDE = 112
EPOCHS = 6
SEED = 5
SAMPLES = ("china.jpg", "flower.jpg")
HOUSE, FLOWER = 0, 1  # the one shows where pixels go, the other what becomes of colors


def shipped() -> dict[str, Augmentation]:
    """Every augmentation that changes something, by name."""
    found = {}
    for path in sorted((conf_dir() / "augmentation").glob("*.yaml")):
        augmentation, problems = read(Augmentation, yaml.safe_load(path.read_text()), "augmentation")
        if augmentation is None:
            raise SystemExit("\n".join(problems))
        if augmentation != Augmentation():
            found[path.stem] = augmentation
    return found


def sample_photos() -> Examples:
    """Two photos, 427×640, at a third of their size."""
    from cnntrain.data.images import ArrayImages

    photos = [Image.fromarray(load_sample_image(name)) for name in SAMPLES]
    pixels = np.stack([np.asarray(photo.resize((213, 142), Image.Resampling.LANCZOS)) for photo in photos])
    table = Table(
        images=ArrayImages(pixels),
        labels=np.arange(2),
        ids=np.arange(2),
        names=Names(paths=SAMPLES),
        class_names=SAMPLES,
        parts={"train": (0, 2)},
    )
    return Examples(table, np.arange(2))


def draws(photos: Examples, augmentation: Augmentation) -> list[np.ndarray]:
    """A photo as the network sees it, uint8 (side, side, 3): plain, then as training draws it, by epoch."""
    from cnntrain.data.pipeline import Batches, NetworkInput

    expected = NetworkInput(image_size=(SIDE, SIDE), channels=3, resize="crop", antialias=True, preprocess="unit")
    photo = FLOWER if augmentation.recolors and not augmentation.moves else HOUSE
    plain = Batches(photos, expected, batch_size=2)
    drawn = Batches(photos, expected, batch_size=2, seed=SEED, augmentation=augmentation)
    images = [next(iter(plain.epoch()))[0][photo]]
    images += [next(iter(drawn.epoch(number)))[0][photo] for number in range(EPOCHS)]
    return [np.round(image * 255).astype(np.uint8) for image in images]


def draw(rows: dict[str, list[np.ndarray]], path: Path) -> None:
    """Two rows side by side, each after its name; a JPEG."""
    from matplotlib.figure import Figure

    columns, images_a_row = 2, EPOCHS + 1
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(14, 0.86 * lines), layout="constrained")
    widths = [1.7, *[1] * images_a_row] * columns
    grid = figure.subplots(lines, len(widths), width_ratios=widths)
    for axes in grid.flat:
        axes.axis("off")
    for number, (name, images) in enumerate(rows.items()):
        column, line = divmod(number, lines)
        label, *cells = grid[line, column * (images_a_row + 1) :][: images_a_row + 1]
        label.text(1, 0.5, name, ha="right", va="center", fontsize=9)
        for axes, image in zip(cells, images, strict=True):
            axes.imshow(image)
        if line == 0:
            cells[0].set_title("original", fontsize=8)
    figure.savefig(path, dpi=100, pil_kwargs={"quality": 85, "optimize": True})


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(description="Draws every shipped augmentation into one picture.")
    default = Path(__file__).with_suffix(".jpg")
    parser.add_argument("--out", type=Path, default=default, help=f"default: {default.name} beside this file")
    path = parser.parse_args().out
    backend.load()
    photos = sample_photos()
    draw({name: draws(photos, augmentation) for name, augmentation in shipped().items()}, path)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
