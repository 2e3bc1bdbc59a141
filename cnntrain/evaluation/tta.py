"""Test-time augmentation: predictions averaged over views of an image, its flips and crops."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cnntrain.errors import ConfigError

if TYPE_CHECKING:
    import keras

KINDS = ("flip", "flip_crops")
PART = 0.875  # the fraction of each side that a crop keeps


def check_tta(kind: str | None, *, boxes: bool) -> None:
    """Raises ConfigError for a network that predicts boxes: they would be elsewhere in each view."""
    if kind and boxes:
        raise ConfigError(f"--tta={kind}: averages probabilities only, and this run learned boxes too; leave it out")


def with_views(model: "keras.Model", kind: str | None) -> "keras.Model":
    """A network whose class probabilities are the mean over views of the images; the same network for None.

    `flip`: the image and its mirror image. `flip_crops`: also five crops of 0.875 of each side, from the corners
    and the center, resized to full size, and their mirror images: twelve views.
    """
    if kind is None:
        return model
    import keras

    from cnntrain.evaluation.loop import named

    images = keras.Input(model.inputs[0].shape[1:], name="image")
    views = [images, *(crops(images) if kind == "flip_crops" else ())]
    views += [keras.ops.flip(view, axis=2) for view in views]
    network = keras.Model(model.inputs[0], named(model.output)["class"])
    return keras.Model(images, keras.layers.Average(name="mean_over_views")([network(view) for view in views]))


def crops(images: "keras.KerasTensor") -> "Iterator[keras.KerasTensor]":
    """Crops of images (batch, height, width, channels) from the four corners and the center, at the images' size."""
    import keras

    height, width = images.shape[1:3]
    rows, columns = round(PART * height), round(PART * width)
    free_rows, free_columns = height - rows, width - columns
    corners = [(y, x) for y in (0, free_rows) for x in (0, free_columns)]
    for top, left in [*corners, (free_rows // 2, free_columns // 2)]:
        part = images[:, top : top + rows, left : left + columns]
        yield keras.ops.image.resize(part, (height, width), interpolation="bilinear", antialias=False)
