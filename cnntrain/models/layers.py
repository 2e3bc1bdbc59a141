"""Layers that Keras lacks, and the classifier at the end of nearly every architecture.

Each layer is registered, so that a saved model loads in Keras's safe mode once this module is imported.
"""

from typing import Any

import keras
import tensorflow as tf

register = keras.saving.register_keras_serializable(package="cnntrain")


def classifier(features: keras.KerasTensor, class_count: int, *, name: str = "class") -> keras.KerasTensor:
    """A dense softmax layer: features (batch, units) in, probabilities (batch, class_count) out.

    Always float32: a softmax in bfloat16 has only two to three digits.
    """
    return keras.layers.Dense(class_count, activation="softmax", dtype="float32", name=name)(features)


def box(features: keras.KerasTensor) -> keras.KerasTensor:
    """Four linear units: features (batch, units) in, a box (batch, 4) out, initially in the middle.

    Always float32: in bfloat16 a position is only accurate to 1/256 of the image.
    """
    middle = keras.initializers.Constant(0.5)
    return keras.layers.Dense(4, bias_initializer=middle, dtype="float32", name="box")(features)


@register
class LocalResponseNormalization(keras.layers.Layer):
    """Divides each activation by the activity of the neighboring maps at the same position.

    x / (bias + alpha · sum of x² over the maps up to `depth_radius` away) ** beta; shapes are unchanged.
    The defaults are the chapter's. Some papers divide the sum by the number of maps, n: their alpha of 1e-4 at n = 5
    is 2e-5 here.

    Source: Krizhevsky et al. 2012, section 3.3.
    """

    def __init__(
        self,
        *,
        depth_radius: int = 2,
        alpha: float = 2e-5,
        beta: float = 0.75,
        bias: float = 1.0,
        **layer_options: Any,  # name, dtype and trainable, which Keras passes when it loads a model
    ):
        super().__init__(**layer_options)
        self.depth_radius = depth_radius
        self.alpha = alpha
        self.beta = beta
        self.bias = bias

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        normalized = tf.nn.local_response_normalization(
            tf.cast(inputs, "float32"),  # there is no bfloat16 kernel on the CPU
            depth_radius=self.depth_radius,
            bias=self.bias,
            alpha=self.alpha,
            beta=self.beta,
        )
        return tf.cast(normalized, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "depth_radius": self.depth_radius,
            "alpha": self.alpha,
            "beta": self.beta,
            "bias": self.bias,
        }


@register
class GroupedConvolution(keras.layers.Conv2D):
    """Conv2D that computes groups one by one if there is no GPU; weights and results are the same as Conv2D's.

    Keras compiles grouped convolutions with XLA, whose CPU code takes 30 s for a training step on
    8×56×56×256 in 64 groups. One by one, it takes 0.06 s.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if tf.config.list_logical_devices("GPU"):
            return super().convolution_op(inputs, kernel)
        groups = zip(tf.split(inputs, self.groups, -1), tf.split(kernel, self.groups, -1), strict=True)
        outputs = [
            keras.ops.conv(maps, weights, strides=self.strides, padding=self.padding)
            for maps, weights in groups
        ]
        return tf.concat(outputs, -1)


@register
def scaled_tanh(inputs: keras.KerasTensor) -> keras.KerasTensor:
    """1.7159 tanh(2x/3), which maps ±1 to ±1 (LeCun et al. 1998, appendix A)."""
    return 1.7159 * keras.ops.tanh(inputs * (2 / 3))


@register
class Subsampling(keras.layers.Layer):
    """Sums each 2×2 window, multiplied by a trainable coefficient per map, plus a trainable bias per map.

    (batch, height, width, maps) in, (batch, height // 2, width // 2, maps) out. Initially it is the mean of the
    window: a coefficient of 1/4 and no bias.

    Source: LeCun et al. 1998, section II.B.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        maps = (input_shape[-1],)
        self.coefficient = self.add_weight(name="coefficient", shape=maps, initializer=constant(0.25))
        self.bias = self.add_weight(name="bias", shape=maps, initializer="zeros")

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        sums = 4 * keras.ops.average_pool(inputs, 2, strides=2)
        return self.coefficient * sums + self.bias


@register
class TableConvolution(keras.layers.Layer):
    """A convolution in which each output map sees only the input maps listed for it in a table.

    `table` holds one list of input maps for each output map; (batch, height, width, input maps) in,
    (batch, height - 4, width - 4, len(table)) out at a 5×5 kernel. Only the connections that the table
    names have weights: 1,516 parameters for LeNet-5's C3, where a full convolution has 2,416.

    Source: LeCun et al. 1998, table I.
    """

    def __init__(self, table: list[list[int]], *, kernel_size: int = 5, **layer_options: Any):
        super().__init__(**layer_options)
        self.table = table
        self.kernel_size = kernel_size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        size, connections = self.kernel_size, sum(len(inputs) for inputs in self.table)
        fan_in = size**2 * connections / len(self.table)
        self.kernel = self.add_weight(
            name="kernel", shape=(size, size, connections), initializer=uniform_by_fan_in(fan_in)
        )
        self.bias = self.add_weight(name="bias", shape=(len(self.table),), initializer="zeros")

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        input_maps, output_maps = inputs.shape[-1], len(self.table)
        places = [source * output_maps + i for i, sources in enumerate(self.table) for source in sources]
        scatter = keras.ops.one_hot(places, input_maps * output_maps, dtype=self.kernel.dtype)
        full = keras.ops.matmul(self.kernel, scatter)  # (size, size, input maps · output maps)
        full = keras.ops.reshape(full, (self.kernel_size, self.kernel_size, input_maps, output_maps))
        full = keras.ops.cast(full, inputs.dtype)
        return keras.ops.conv(inputs, full) + self.bias

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"table": self.table, "kernel_size": self.kernel_size}


@register
class CodeDistances(keras.layers.Layer):
    """Squared Euclidean distances to a fixed ±1 code for each class.

    (batch, units) in, (batch, class_count) out. `codes`, (class_count, units), is a weight that is saved
    but never trained, so that a loaded model keeps the codes that it was trained with.

    Source: LeCun et al. 1998, section II.B, equation 7.
    """

    def __init__(self, codes: list[list[int]], **layer_options: Any):
        super().__init__(**layer_options)
        self.given_codes = codes

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (len(self.given_codes), input_shape[-1])
        self.codes = self.add_weight(
            name="codes", shape=shape, initializer=self.initial_codes, trainable=False
        )

    def initial_codes(self, shape: tuple[int, ...], dtype: str) -> keras.KerasTensor:
        return keras.ops.convert_to_tensor(self.given_codes, dtype=dtype)

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        difference = keras.ops.expand_dims(inputs, 1) - self.codes  # (batch, class_count, units)
        return keras.ops.sum(keras.ops.square(difference), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"codes": self.given_codes}


def constant(value: float) -> keras.initializers.Initializer:
    """An initializer that sets all values to the same constant."""
    return keras.initializers.Constant(value)


def uniform_by_fan_in(fan_in: float) -> keras.initializers.Initializer:
    """Uniform in ±2.4 / fan-in, LeCun's initialization for layers with scaled tanh (1998, appendix A)."""
    return keras.initializers.RandomUniform(-2.4 / fan_in, 2.4 / fan_in)
