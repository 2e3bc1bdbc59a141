"""The resize policies in ops that every runtime has, for images whose size is only known at run time.

TensorFlow's own resize ops are missing in other runtimes, or differ there. Here an image is resized by gathering
rows and columns, or with antialiasing by multiplying with two matrices, both computed from its size; the results
match those of cnntrain.data.resize, within rounding. Sizes are scalar float32 tensors, since keras.ops can't pass on
an unknown size.
"""

from dataclasses import dataclass

import numpy as np
from keras import KerasTensor, ops

from cnntrain.data.input_spec import NetworkInput
from cnntrain.data.resize import LAST_ROW_INSIDE


@dataclass(frozen=True)
class Line:
    """The part of one axis of an image that is used: `count` pixels starting at `first`.

    `center` (size,) is the position of each output pixel, counted from `first`; `reach` is the radius of its filter.
    `inside` (size,) is 0 for output pixels outside the image, if there are any.
    """

    first: KerasTensor | float
    count: KerasTensor
    center: KerasTensor
    reach: KerasTensor | float = 1.0
    inside: KerasTensor | None = None


def to_size(images: KerasTensor, expected: NetworkInput) -> KerasTensor:
    """uint8 (batch, height, width, channels) of any size in, float32 of the network's size out."""
    height, width = extent(images, 1), extent(images, 2)
    square = expected.resize == "crop"
    counts = (ops.minimum(height, width),) * 2 if square else (height, width)
    lines = [
        line(whole, count, position, expected)
        for position, (whole, count) in enumerate(zip((height, width), counts, strict=True))
    ]
    if expected.antialias and expected.resize in ("stretch", "crop"):
        return averaged(images, *lines)
    for axis, one in enumerate(lines, start=1):
        images = interpolated(images, axis, one)
    return images


def extent(images: KerasTensor, axis: int) -> KerasTensor:
    """The length of an axis."""
    return ops.sum(ops.cast(ops.ones_like(ray(images, axis)), "float32"))


def ray(images: KerasTensor, axis: int) -> KerasTensor:
    """The pixels along an axis through the first pixel, (length,)."""
    first = [0, 0, 0, 0]
    return images[tuple(slice(None) if number == axis else index for number, index in enumerate(first))]


def line(whole: KerasTensor, count: KerasTensor, position: int, expected: NetworkInput) -> Line:
    """The part that the policy uses of the rows (position 0) or columns (position 1)."""
    size = expected.image_size[position]
    steps = np.arange(size, dtype="float32")
    if expected.resize == "crop_or_pad":
        cut = ops.maximum(ops.floor((whole - size) / 2), 0.0)
        padding = ops.maximum(ops.floor((size - whole) / 2), 0.0)
        center = ops.add(cut - padding, steps)
        inside = ops.logical_and(ops.greater_equal(center, 0.0), ops.less(center, whole))
        return Line(0.0, whole, within(center, whole), inside=ops.cast(inside, "float32"))
    if expected.crop_box is not None:
        box = np.minimum(np.array(expected.crop_box, np.float32), np.float32(LAST_ROW_INSIDE))
        low, high = box[position], box[position + 2]
        if size == 1:
            return Line(0.0, whole, (whole - 1) * ((low + high) / 2) * np.ones(1, "float32"))
        center = (whole - 1) * low + quotient((whole - 1) * (high - low), size - 1, whole) * steps
        return Line(0.0, whole, within(center, whole))
    scale = quotient(count, size, whole)
    center = scale * (steps + 0.5) - 0.5
    first = ops.floor((whole - count) / 2)
    if expected.antialias:
        return Line(first, count, center, reach=ops.maximum(scale, 1.0))
    return Line(first, count, within(center, count))


def quotient(number: KerasTensor, constant: int, whole: KerasTensor) -> KerasTensor:
    """A number divided by a constant, rounded as in TensorFlow's ops.

    Converters would turn it into a product with the constant's reciprocal, which rounds differently. So the
    divisor is disguised: an axis has at least one pixel.
    """
    return number / (ops.minimum(whole, 1.0) * constant)


def within(center: KerasTensor, count: KerasTensor) -> KerasTensor:
    """Positions clipped to the range of `count` pixels."""
    return ops.minimum(ops.maximum(center, 0.0), count - 1)


def interpolated(images: KerasTensor, axis: int, one: Line) -> KerasTensor:
    """float32 images with one axis interpolated between its pixels."""
    shape = [-1 if number == axis else 1 for number in range(4)]
    low = ops.floor(one.center)
    high = ops.minimum(low + 1, one.count - 1)
    before, after = (
        ops.cast(ops.take(images, ops.cast(index + one.first, "int32"), axis=axis), "float32") for index in (low, high)
    )
    images = before + (after - before) * ops.reshape(one.center - low, shape)
    return images if one.inside is None else images * ops.reshape(one.inside, shape)


def averaged(images: KerasTensor, rows: Line, columns: Line) -> KerasTensor:
    """float32 images whose pixels are weighted means of all the pixels that they cover."""
    images = ops.transpose(ops.cast(images, "float32"), (0, 3, 1, 2))  # (batch, channels, height, width)
    images = ops.matmul(weights(rows, ray(images, 2)), images)
    images = ops.matmul(images, ops.transpose(weights(columns, ray(images, 3))))
    return ops.transpose(images, (0, 2, 3, 1))


def weights(one: Line, along: KerasTensor) -> KerasTensor:
    """The weight of each pixel along an axis (whole,) for each output pixel: (size, whole), rows add up to 1."""
    pixel = ops.cumsum(ops.ones_like(along)) - 1 - one.first
    distance = ops.abs(ops.expand_dims(pixel, 0) - ops.expand_dims(one.center, 1)) / one.reach
    inside = ops.logical_and(ops.greater_equal(pixel, 0.0), ops.less(pixel, one.count))
    triangle = ops.maximum(1 - distance, 0.0) * ops.cast(inside, "float32")
    return triangle / ops.sum(triangle, axis=1, keepdims=True)
