import keras
import numpy as np

from cnntrain.models.layers import GroupedConvolution, LocalResponseNormalization, Subsampling, TableConvolution
from cnntrain.models.lenet5_1998 import C3_TABLE


def test_local_response_normalization_is_the_chapters_formula_in_any_precision():
    maps = np.random.default_rng(0).normal(size=(2, 3, 3, 8)).astype("float32") * 50
    padded = np.pad(maps**2, [(0, 0)] * 3 + [(2, 2)])
    neighbors = sum(padded[..., i : i + 8] for i in range(5))
    expected = maps / (1 + 2e-5 * neighbors) ** 0.75
    np.testing.assert_allclose(LocalResponseNormalization()(maps), expected, rtol=1e-5)
    rounded = LocalResponseNormalization(dtype="bfloat16")(maps)
    np.testing.assert_allclose(np.array(rounded, "float32"), expected, rtol=2e-2)


def test_subsampling_adds_up_four_pixels():
    layer = Subsampling()
    maps = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    np.testing.assert_allclose(layer(maps)[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])
    layer.coefficient.assign([2.0])
    layer.bias.assign([1.0])
    np.testing.assert_allclose(layer(maps)[0, 0, 0, 0], 2 * (0 + 1 + 4 + 5) + 1)


def test_a_table_convolution_looks_only_at_the_maps_of_its_table():
    layer = TableConvolution(C3_TABLE)
    maps = np.random.default_rng(0).normal(size=(1, 14, 14, 6)).astype("float32")
    before = np.array(layer(maps))
    maps[..., 4] += 1
    changed = np.abs(np.array(layer(maps)) - before).max(axis=(0, 1, 2)) > 1e-6
    assert changed.tolist() == [4 in inputs for inputs in C3_TABLE]


def test_grouped_convolution_computes_what_keras_does():
    maps = np.random.default_rng(0).normal(size=(2, 9, 9, 8)).astype("float32")
    theirs = keras.layers.Conv2D(12, 3, strides=2, padding="same", groups=4)
    ours = GroupedConvolution(12, 3, strides=2, padding="same", groups=4)
    expected = theirs(maps)
    ours.build(maps.shape)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(maps), expected, atol=1e-5)
