"""The loop does what Keras's own training does, and what Keras leaves to a careful user."""

import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnntrain.evaluation.loop import EvaluationLoop, Pace
from cnntrain.optimization.optimizers import OPTIMIZERS, Adam, AdamW, Sgd, loss_scaled
from cnntrain.runtime.backend import start_run
from cnntrain.training.loop import Objective, TrainingLoop, averaged_weights

IMAGES = np.random.default_rng(0).normal(size=(24, 6, 6, 1)).astype(np.float32)
LABELS = np.eye(3, dtype=np.float32)[np.arange(24) % 3]


def small_model():
    """A small network with batch normalization and a penalty, always with the same weights."""
    start_run(seed=1, precision="float32")
    images = keras.Input((6, 6, 1))
    regularizer = keras.regularizers.L2(0.01)
    # a bias before BatchNormalization has no gradient but rounding errors, which Adam makes large
    x = keras.layers.Conv2D(4, 3, use_bias=False, kernel_regularizer=regularizer)(images)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    return keras.Model(images, keras.layers.Dense(3, activation="softmax", dtype="float32")(x))


def batches(weights=None, size=8):
    """The data as the pipeline gives it."""
    extra = {} if weights is None else {"class": weights}
    return tf.data.Dataset.from_tensor_slices((IMAGES, {"class": LABELS}, extra)).batch(size)


def trained(model, optimizer, *, epochs=2, weights=None, smoothing=0.0):
    """The loop after so many epochs."""
    loop = TrainingLoop(model, optimizer, Objective({"class": 1.0}, smoothing))
    for _ in range(epochs):
        for _ in loop.run_epoch(batches(weights), 3):
            pass
    return loop


def test_weights_and_measures_equal_those_of_keras_fit():
    ours = small_model()
    loop = trained(ours, keras.optimizers.Adam(0.01), smoothing=0.1)
    theirs = small_model()
    theirs.compile(
        keras.optimizers.Adam(0.01), keras.losses.CategoricalCrossentropy(label_smoothing=0.1), metrics=["accuracy"]
    )
    history = theirs.fit(IMAGES, LABELS, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert loop.sums.loss == pytest.approx(history["loss"][-1], rel=1e-4)
    assert loop.sums.accuracy == pytest.approx(history["accuracy"][-1])


def test_sample_weights_weigh_the_loss_as_keras_does():
    weights = np.linspace(0, 2, 24).astype(np.float32)
    ours = small_model()
    trained(ours, keras.optimizers.SGD(0.1), weights=weights)
    theirs = small_model()
    theirs.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy")
    theirs.fit(IMAGES, LABELS, sample_weight=weights, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_float16_steps_are_as_large_as_they_should_be():
    moved = []
    for precision in ("float32", "mixed_float16"):
        model = small_model()
        before = model.get_weights()[0]
        trained(model, loss_scaled(keras.optimizers.SGD(0.01), precision), epochs=1)
        moved.append(np.abs(model.get_weights()[0] - before).sum())
    assert moved[1] == pytest.approx(moved[0], rel=0.05)


def test_evaluation_leaves_the_model_alone_and_measures_as_keras_does():
    model = small_model()
    before = model.get_weights()
    measures = EvaluationLoop(model).run(batches(), 3)
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"])
    expected = model.evaluate(IMAGES, LABELS, batch_size=8, verbose=0)
    assert measures["accuracy"] == pytest.approx(expected[1])
    plain = keras.losses.categorical_crossentropy(LABELS, model(IMAGES)).numpy().mean()
    assert measures["loss"] == pytest.approx(plain, rel=1e-5)
    assert all((one == other).all() for one, other in zip(before, model.get_weights(), strict=True))


def test_averaged_weights_are_the_moving_average_inside_the_block_only():
    model = small_model()
    optimizer = Sgd(learning_rate=0.1, ema_momentum=0.5).build(0.1)
    loop = TrainingLoop(model, optimizer, Objective({"class": 1.0}))
    path = []
    for _ in range(3):
        next(loop.run_epoch(batches(), 1))
        path.append(model.trainable_variables[0].numpy())
    average = 0.25 * path[0] + 0.25 * path[1] + 0.5 * path[2]  # Keras starts from the first step's weights
    with averaged_weights(model, optimizer):
        inside = model.trainable_variables[0].numpy()
    np.testing.assert_allclose(inside, average, atol=1e-6)
    assert (model.trainable_variables[0].numpy() == path[-1]).all()


def test_accumulated_gradients_equal_a_larger_batch():
    def without_normalization():
        start_run(seed=2, precision="float32")
        return keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])

    ours = without_normalization()
    trained(ours, Sgd(learning_rate=0.1, gradient_accumulation_steps=3).build(0.1), epochs=1)
    whole = without_normalization()
    loop = TrainingLoop(whole, keras.optimizers.SGD(0.1), Objective({"class": 1.0}))
    next(loop.run_epoch(batches(size=24), 1))
    np.testing.assert_allclose(ours.get_weights()[0], whole.get_weights()[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(name):
    model = small_model()
    loop = TrainingLoop(model, OPTIMIZERS[name]().build(0.01), Objective({"class": 1.0}))
    losses = []
    for _ in range(8):
        list(loop.run_epoch(batches(), 3))
        losses.append(loop.sums.loss)
    assert losses[-1] < losses[0]


def test_weight_decay_spares_biases_and_normalization():
    model = small_model()
    for variable in model.trainable_variables:
        variable.assign(tf.ones_like(variable))
    optimizer = AdamW(weight_decay=0.1).build(0.5)
    optimizer.build(model.trainable_variables)
    optimizer.apply([tf.zeros_like(variable) for variable in model.trainable_variables], model.trainable_variables)
    kept = {variable.path.rsplit("/", 1)[1]: float(tf.reduce_mean(variable)) for variable in model.trainable_variables}
    assert kept == {"kernel": pytest.approx(0.95), "bias": 1.0, "gamma": 1.0, "beta": 1.0}


def test_clipping_bounds_the_step():
    model = small_model()
    before = np.concatenate([variable.numpy().ravel() for variable in model.trainable_variables])
    trained(model, Sgd(learning_rate=1.0, clip_norm=0.001).build(1.0), epochs=1)
    after = np.concatenate([variable.numpy().ravel() for variable in model.trainable_variables])
    assert np.linalg.norm(after - before) <= 0.003 * 1.001


def test_a_call_grows_to_about_a_second_of_steps():
    pace = Pace()
    asked = []
    for seconds_per_step in (5.0, 0.01, 0.01, 0.01, 0.01, 3.0, 3.0):
        asked.append(pace.next(10_000))
        pace.record(asked[-1], seconds_per_step * asked[-1])
    assert asked == [1, 1, 8, 64, 100, 100, 1]
    assert pace.next(0) == 0


def network_with_dropout():
    """The small network with a layer that draws random numbers."""
    model = small_model()
    dropped = keras.layers.Dropout(0.5)(model.layers[-2].output)
    return keras.Model(model.input, keras.layers.Dense(3, activation="softmax")(dropped))


def test_weights_and_sums_are_the_same_to_the_bit_however_steps_are_grouped_into_calls():
    found = []
    for calls in ([12], [1] * 12, [5, 1, 6]):
        model = network_with_dropout()
        optimizer = Adam(ema_momentum=0.9).build(0.01)
        loop = TrainingLoop(model, optimizer, Objective({"class": 1.0}))
        iterator, totals = iter(batches(size=2)), np.zeros(3)
        for steps in calls:
            totals = loop.run_steps(iterator, tf.constant(steps), tf.constant(totals))[0].numpy()
        found.append([variable.numpy().tobytes() for variable in [*model.variables, *optimizer.variables]] + [totals])
    assert all(np.array_equal(one, other) for first in found[1:] for one, other in zip(found[0], first, strict=True))


def test_an_epoch_that_is_entered_in_the_middle_goes_on_with_its_sums():
    whole, halves = (TrainingLoop(small_model(), keras.optimizers.SGD(0.1), Objective({"class": 1.0})) for _ in "12")
    list(whole.run_epoch(batches(), 3))
    for _ in halves.run_epoch(batches(), 1):
        pass
    assert list(halves.run_epoch(batches().skip(1), 3, done=1))[-1] == 3
    assert halves.sums.totals.tolist() == whole.sums.totals.tolist()


def test_conflicting_optimizer_settings_are_refused():
    with pytest.raises(ValueError, match="expected one of them"):
        Adam(clip_norm=1, clip_value=1)
    with pytest.raises(ValueError, match="gradient_accumulation_steps: expected at least 2"):
        Adam(gradient_accumulation_steps=1)


def test_l2_is_the_papers_weight_decay_and_spares_biases_and_normalization():
    settings = Sgd(learning_rate=0.1, momentum=0.9, l2=0.05)
    model = small_model()
    by_hand = small_model()
    loss_of = Objective({"class": 1.0})
    optimizer = settings.build(keras.optimizers.schedules.ExponentialDecay(0.1, 1, 1.0))
    loop = TrainingLoop(model, optimizer, Objective({"class": 1.0}, l2=settings.l2))
    for _ in loop.run_epoch(batches(), 3):
        pass
    velocities = [np.zeros(variable.shape) for variable in by_hand.trainable_variables]
    reported = []
    for images, targets, weights in batches():
        with tf.GradientTape() as tape:
            loss = loss_of(by_hand, {"class": by_hand(images, training=True)}, targets, weights)
        reported.append(float(loss))
        gradients = tape.gradient(loss, by_hand.trainable_variables)
        for i, (variable, gradient) in enumerate(zip(by_hand.trainable_variables, gradients, strict=True)):
            decay = 0.05 if variable.name == "kernel" else 0.0
            velocities[i] = 0.9 * velocities[i] - 0.1 * (gradient.numpy() + decay * variable.numpy())
            variable.assign_add(velocities[i])
    for one, other in zip(model.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert loop.sums.loss == pytest.approx(np.mean(reported), rel=1e-4)


def test_how_long_batches_were_waited_for_is_told_apart_from_steps():
    def late(*batch):
        slow = tf.numpy_function(lambda: time.sleep(0.05) or 1.0, [], tf.double)
        with tf.control_dependencies([slow]):
            return tf.nest.map_structure(tf.identity, batch)

    loop = TrainingLoop(small_model(), keras.optimizers.SGD(0.1), Objective({"class": 1.0}))
    for made, least in ((batches().map(late), 3 * 0.05), (batches(), 0.0)):
        start, before = time.perf_counter(), loop.pace.waited
        list(loop.run_epoch(made, 3))
        assert least < loop.pace.waited - before < time.perf_counter() - start
