"""What trains in a phase, and where the network is cut."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnntrain.errors import ConfigError
from cnntrain.optimization.optimizers import Adam, Sgd
from cnntrain.optimization.schedule import Phase
from cnntrain.training.freezing import cuts, depth_factors, freeze, stages
from cnntrain.training.loop import Objective, TrainingLoop

HEAD = ("hidden", "class")


def block(maps, number, filters):
    """A residual unit that halves the image's side."""
    left = keras.layers.Conv2D(filters, 3, strides=2, padding="same", name=f"block{number}_conv")(maps)
    left = keras.layers.BatchNormalization(name=f"block{number}_bn")(left)
    right = keras.layers.Conv2D(filters, 1, strides=2, name=f"block{number}_shortcut")(maps)
    return keras.layers.Activation("relu", name=f"block{number}_out")(keras.layers.add([left, right]))


@pytest.fixture
def network():
    """Two residual units with dropout between them, then dropout, and a head of two layers."""
    keras.utils.set_random_seed(0)
    images = keras.Input((16, 16, 3), name="image")
    maps = keras.layers.Dropout(0.5, name="drop_inside")(block(images, 1, 4))
    features = keras.layers.GlobalAveragePooling2D(name="average")(block(maps, 2, 8))
    features = keras.layers.Dropout(0.5, name="drop_outside")(features)
    features = keras.layers.Dense(6, activation="relu", name="hidden")(features)
    return keras.Model(images, keras.layers.Dense(3, activation="softmax", name="class")(features))


def train(network, phase, *, optimizer=None, steps=3):
    """Trains a phase's steps on random images; gives what is divided, and the weights before, by path."""
    divided = freeze(network, phase, phase_name="p", head=HEAD)
    before = {variable.path: variable.numpy().copy() for variable in network.variables}
    random = np.random.default_rng(0)
    batch = (
        random.random((8, 16, 16, 3), np.float32),
        {"class": np.eye(3, dtype=np.float32)[random.integers(0, 3, 8)]},
        {},
    )
    batches = tf.data.Dataset.from_tensors(batch).repeat()
    optimizer = optimizer or Sgd(learning_rate=0.1)
    loop = TrainingLoop(
        divided.trained, optimizer.build(optimizer.learning_rate), Objective({"class": 1.0}), frozen=divided.frozen
    )
    list(loop.run_epoch(batches, steps))
    return divided, before


def moved(network, before):
    """The paths of the variables that training changed, but for the states of random numbers."""
    return {
        variable.path
        for variable in network.variables
        if "seed" not in variable.path and not np.array_equal(variable.numpy(), before[variable.path])
    }


def test_a_frozen_backbone_stays_the_same_to_the_bit_with_its_statistics(network):
    divided, before = train(network, Phase(trainable="head"))
    assert moved(network, before) == {"hidden/kernel", "hidden/bias", "class/kernel", "class/bias"}
    assert divided.trainable_names == ("hidden", "class")
    assert divided.frozen.output.shape == (None, 8)  # as high as possible: the averages, below the head's dropout


def test_after_the_switch_everything_trains(network):
    train(network, Phase(trainable="head"))
    divided, before = train(network, Phase())
    assert divided.frozen is None
    assert moved(network, before) == {variable.path for variable in network.variables if "seed" not in variable.path}


def test_dropout_below_the_cut_rests_and_that_above_works(network):
    divided, _ = train(network, Phase(trainable="head"), steps=1)
    images = np.ones((4, 16, 16, 3), np.float32)
    first, again = (divided.frozen(images, training=False).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, again)
    names = {layer.name for layer in divided.trained.layers}
    assert "drop_outside" in names and "drop_inside" not in names


@pytest.mark.parametrize("words", ["head", ["head", "block2_*"], "last_stage", "block1_conv"])
def test_both_parts_together_are_the_network(network, words):
    divided = freeze(network, Phase(trainable=words), phase_name="p", head=HEAD)
    images = np.random.default_rng(1).random((2, 16, 16, 3), np.float32)
    below = images if divided.frozen is None else divided.frozen(images)
    np.testing.assert_allclose(divided.trained(below), network(images), atol=1e-7)


def test_frozen_batch_normalization_stands_still_while_convolutions_train(network):
    _, before = train(network, Phase(batchnorm="frozen"))
    assert not {path for path in moved(network, before) if "_bn" in path}
    assert {"block1_conv/kernel", "block2_conv/kernel", "class/kernel"} <= moved(network, before)


def test_patterns_choose_layers_and_the_cut_moves_below_them(network):
    divided, before = train(network, Phase(trainable=("head", "block2_*")))
    assert {path.split("/")[0] for path in moved(network, before)} == {
        "block2_conv", "block2_bn", "block2_shortcut", "hidden", "class",
    }  # fmt: skip
    assert divided.frozen.output.shape == (None, 8, 8, 4)
    assert divided.frozen.output.name == network.get_layer("block1_out").output.name  # below block 2's way in: dropout


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_name_or_all(network):
    with pytest.raises(
        ConfigError, match="schedule.phases.p.trainable: no layer is named 'block2_con': did you mean block2_conv"
    ):
        freeze(network, Phase(trainable="block2_con"), phase_name="p", head=HEAD)
    with pytest.raises(ConfigError, match="no layer is named 'zzz': valid: block1_bn, block1_conv,.*hidden"):
        freeze(network, Phase(trainable="zzz"), phase_name="p", head=HEAD)


def test_layers_without_weights_are_nothing_to_train(network):
    with pytest.raises(ConfigError, match="expected layers that have weights to train; received average"):
        freeze(network, Phase(trainable="average"), phase_name="p", head=HEAD)


def test_stages_are_what_lies_between_two_halvings(network):
    found = stages(network)
    assert {found[f"block1_{part}"] for part in ("conv", "bn", "shortcut", "out")} == {1}
    assert {found[f"block2_{part}"] for part in ("conv", "bn", "shortcut", "out")} == {2}
    assert found["average"] == found["class"] == 3
    last, both = (
        freeze(network, Phase(trainable=word), phase_name="p", head=HEAD) for word in ("last_stage", "last_2_stages")
    )
    assert set(last.trainable_names) == {"block2_conv", "block2_bn", "block2_shortcut"}
    assert len(both.trainable_names) == 6
    with pytest.raises(ConfigError, match="expected at most last_2_stages"):
        freeze(network, Phase(trainable="last_3_stages"), phase_name="p", head=HEAD)


@pytest.mark.parametrize(
    ("name", "side", "expected"),
    [
        ("Xception", 299, {"block1_conv1": 1, "block2_sepconv1": 2, "block5_sepconv1": 4, "block13_sepconv1": 5}),
        ("ResNet50", 224, {"conv1_conv": 1, "conv2_block1_1_conv": 2, "conv3_block1_1_conv": 3, "conv5_block3_out": 5}),
        ("EfficientNetB0", 224, {"stem_conv": 1, "block2a_dwconv": 2, "block6a_expand_conv": 4, "top_conv": 5}),
        ("VGG16", 224, {"block1_conv1": 0, "block2_conv1": 1, "block5_conv3": 4}),
    ],
)
def test_stages_of_published_networks_are_those_of_their_papers(name, side, expected):
    with keras.StatelessScope(initialize_variables=False):
        model = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(side, side, 3))
    found = stages(model)
    assert {layer: found[layer] for layer in expected} == expected


def test_cuts_are_where_one_tensor_is_all_that_is_alive(network):
    names = [network.operations[position].name for position in cuts(network)]
    assert "block1_conv" not in names and "block1_bn" not in names
    assert {"image", "block1_out", "drop_inside", "block2_out", "average", "class"} <= set(names)


@pytest.mark.parametrize("optimizer", [Sgd, Adam])
def test_layer_decay_slows_lower_stages_down(network, optimizer):
    phase = Phase(layer_decay=0.5)
    freeze(network, phase, phase_name="p", head=HEAD)
    by_path = depth_factors(network, phase.layer_decay)
    assert (
        by_path["class/kernel"] == 1 and by_path["block2_conv/kernel"] == 0.5 and by_path["block1_conv/kernel"] == 0.25
    )
    variables = network.trainable_variables
    before = [variable.numpy() for variable in variables]
    steps = []
    for factors in (None, [by_path[variable.path] for variable in variables]):
        built = optimizer(learning_rate=0.1).build(0.1, factors=factors)
        built.build(variables)
        built.apply([tf.ones_like(variable.value) for variable in variables], variables)
        steps.append([variable.numpy() - start for variable, start in zip(variables, before, strict=True)])
        for variable, start in zip(variables, before, strict=True):
            variable.assign(start)
    for variable, plain, slowed in zip(variables, *steps, strict=True):
        np.testing.assert_allclose(slowed, by_path[variable.path] * plain, rtol=1e-3)
