"""What a network costs to run."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def multiply_adds(layer: "keras.layers.Layer") -> int:
    """The multiply-adds of a convolution or dense layer for one image; 0 for any other layer.

    Each kernel weight is used once at each output position, whatever the groups and strides.
    """
    kernels = [weight for weight in layer.weights if weight.name.endswith("kernel")]
    if not kernels:
        return 0
    places = math.prod(layer.output.shape[1:-1])
    return places * sum(math.prod(kernel.shape) for kernel in kernels)
