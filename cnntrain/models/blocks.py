"""Stacks of Keras layers shared by several architectures, with systematic layer names."""

from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers

from cnntrain.models.layers import GroupedConvolution

Padding = Literal["same", "valid", "symmetric"]


def convolution(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    *,
    name: str,
    strides: int = 1,
    padding: Padding = "same",
    groups: int = 1,
    activation: str = "relu",
) -> keras.KerasTensor:
    """A convolution with bias, then ReLU: the building block of networks older than batch normalization."""
    return kind_of_convolution(groups)(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        groups=groups,
        activation=activation,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def kind_of_convolution(groups: int) -> type[layers.Conv2D]:
    """Keras's layer, or ours for groups."""
    return layers.Conv2D if groups == 1 else GroupedConvolution


@dataclass(frozen=True, kw_only=True)
class NormalizedConvolution:
    """A convolution without bias, then batch normalization, then ReLU; called with a tensor and a size.

    `padding` symmetric pads both sides equally, as PyTorch does, whereas Keras's `same` does not pad the near side at
    stride 2. The two differ only there.
    """

    padding: Padding = "same"
    momentum: float = 0.9
    epsilon: float = 1e-5

    def __call__(
        self,
        x: keras.KerasTensor,
        filters: int,
        kernel_size: int | tuple[int, int],
        *,
        name: str,
        strides: int = 1,
        padding: Padding | None = None,
        groups: int = 1,
        activation: bool = True,
    ) -> keras.KerasTensor:
        padding = padding or self.padding
        if padding == "symmetric":
            x, padding = pad_symmetrically(x, kernel_size, strides, name=name)
        x = kind_of_convolution(groups)(
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            groups=groups,
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{name}_conv",
        )(x)
        x = self.normalize(x, name=name)
        return layers.ReLU(name=f"{name}_relu")(x) if activation else x

    def normalize(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """Batch normalization alone."""
        return layers.BatchNormalization(
            momentum=self.momentum, epsilon=self.epsilon, name=f"{name}_batchnorm"
        )(x)

    def max_pool(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """3×3 max pooling at stride 2; its input is never negative, so zeros never win."""
        padding = self.padding
        if padding == "symmetric":
            x, padding = pad_symmetrically(x, 3, 2, name=name)
        return layers.MaxPooling2D(3, strides=2, padding=padding, name=name)(x)


def pad_symmetrically(
    x: keras.KerasTensor, kernel_size: int | tuple[int, int], strides: int, *, name: str
) -> tuple[keras.KerasTensor, Literal["same", "valid"]]:
    """The maps padded with half a kernel of zeros on every side, and the padding that the next layer then needs."""
    if strides == 1 or kernel_size == 1 or not isinstance(kernel_size, int):
        return x, "same"  # which is symmetric here
    return layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x), "valid"


def squeeze_and_excite(
    x: keras.KerasTensor, reduction: int, *, name: str, first_bias: float = 0.0
) -> keras.KerasTensor:
    """Scales each map by a factor from 0 to 1, computed from the averages of all maps.

    (batch, height, width, maps) in and out. 2 · maps² / reduction weights, and maps / reduction + maps
    biases. `first_bias` is the initial value of the sigmoids' biases: at 0 a block first halves all its maps, at 2 it
    passes 88% through.

    Source: Hu et al., "Squeeze-and-Excitation Networks", 2017, section 3.
    """
    maps = x.shape[-1]
    factors = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_average")(x)  # 1×1×maps
    factors = layers.Dense(maps // reduction, activation="relu", name=f"{name}_squeeze")(factors)
    start = keras.initializers.Constant(first_bias)
    factors = layers.Dense(maps, activation="sigmoid", bias_initializer=start, name=f"{name}_excite")(factors)
    return layers.Multiply(name=f"{name}_scale")([x, factors])


def residual_unit(
    x: keras.KerasTensor,
    filters: int,
    *,
    strides: int,
    convolve: NormalizedConvolution,
    reduction: int | None,
    name: str,
) -> keras.KerasTensor:
    """Two 3×3 convolutions, added to the input: (batch, height, width, maps) in,
    (batch, height / strides, width / strides, filters) out.

    Source: He et al., "Deep Residual Learning for Image Recognition", 2015, figure 5, left.
    """
    y = convolve(x, filters, 3, strides=strides, name=f"{name}_1")
    y = convolve(y, filters, 3, activation=False, name=f"{name}_2")
    return add_shortcut(x, y, strides=strides, convolve=convolve, reduction=reduction, name=name)


def bottleneck_unit(
    x: keras.KerasTensor,
    filters: int,
    *,
    strides: int,
    convolve: NormalizedConvolution,
    reduction: int | None,
    name: str,
) -> keras.KerasTensor:
    """1×1, 3×3 and 1×1 convolutions, added to the input: (batch, height, width, maps) in,
    (batch, height / strides, width / strides, 4 · filters) out.

    The stride is in the 3×3 convolution, as in today's implementations; the paper has it in the first 1×1, which skips
    three quarters of its input.

    Source: He et al. 2015, figure 5, right.
    """
    y = convolve(x, filters, 1, name=f"{name}_1")
    y = convolve(y, filters, 3, strides=strides, name=f"{name}_2")
    y = convolve(y, 4 * filters, 1, activation=False, name=f"{name}_3")
    return add_shortcut(x, y, strides=strides, convolve=convolve, reduction=reduction, name=name)


def add_shortcut(
    x: keras.KerasTensor,
    y: keras.KerasTensor,
    *,
    strides: int,
    convolve: NormalizedConvolution,
    reduction: int | None,
    name: str,
    kernel_size: int = 1,
) -> keras.KerasTensor:
    """ReLU of a unit's input `x` plus its convolutions' output `y`, with an SE block on `y` if it has a `reduction`.

    Where the shapes differ, the input goes through a convolution of `kernel_size` at the unit's stride.
    """
    filters = y.shape[-1]
    if reduction:
        y = squeeze_and_excite(y, reduction, name=f"{name}_se")
    if strides > 1 or x.shape[-1] != filters:
        x = convolve(x, filters, kernel_size, strides=strides, activation=False, name=f"{name}_shortcut")
    x = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=f"{name}_relu")(x)
