"""Learning rates follow their formulas; a phase is as long as it says."""

import math

import keras
import numpy as np
import pytest

from cnntrain.optimization.optimizers import Sgd
from cnntrain.optimization.schedule import Phase, Schedule, learning_rate_curve

STEPS = 10  # an epoch


def rates(phase, optimizer=None, *, epochs=4):
    """The learning rate of every step of a phase."""
    curve = learning_rate_curve(phase, optimizer or Sgd(learning_rate=0.5), steps_per_epoch=STEPS, epochs=epochs)
    return np.array([float(curve(step)) for step in range(epochs * STEPS)])


STEP = np.arange(40)


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (Phase(), np.full(40, 0.5)),
        (Phase(learning_rate_schedule="inverse_time", decay_rate=2, decay_epochs=1), 0.5 / (1 + 2 * STEP / 10)),
        (Phase(learning_rate_schedule="step", decay_rate=0.1, decay_epochs=2), 0.5 * 0.1 ** (STEP // 20)),
        (Phase(learning_rate_schedule="exponential", decay_rate=0.1, decay_epochs=2), 0.5 * 0.1 ** (STEP / 20)),
        (
            Phase(learning_rate_schedule="cosine", final_fraction=0.1),
            0.5 * (0.1 + 0.9 * (1 + np.cos(math.pi * STEP / 40)) / 2),
        ),
        (
            Phase(warmup_epochs=1, learning_rate_schedule="cosine"),
            np.where(STEP < 10, 0.5 * (STEP + 1) / 10, 0.25 * (1 + np.cos(math.pi * (STEP - 10) / 30))),
        ),
    ],
)
def test_learning_rates_follow_their_formulas(phase, expected):
    np.testing.assert_allclose(rates(phase), expected, rtol=1e-5, atol=1e-7)


def test_one_cycle_rises_for_three_tenths_and_falls_to_its_end():
    values = rates(Phase(learning_rate_schedule="one_cycle"))
    assert values.argmax() == 12
    np.testing.assert_allclose([values[0], values[12]], [0.5 / 25, 0.5], rtol=1e-5)
    assert (np.diff(values[:13]) > 0).all() and (np.diff(values[12:]) < 0).all()
    assert values[-1] < 0.005


def test_decay_is_the_chapters_formula():
    values = rates(Phase(), Sgd(learning_rate=0.2, decay=0.01))
    np.testing.assert_allclose(values, 0.2 / (1 + 0.01 * STEP), rtol=1e-6)


def test_accumulated_batches_count_as_one_step_of_the_decay():
    values = rates(Phase(), Sgd(learning_rate=0.2, decay=0.01, gradient_accumulation_steps=4))
    np.testing.assert_allclose(values, 0.2 / (1 + 0.01 * (STEP // 4)), rtol=1e-6)


def test_a_curve_survives_serialization():
    curve = learning_rate_curve(
        Phase(learning_rate_schedule="cosine", warmup_epochs=1), Sgd(decay=0.1), steps_per_epoch=5, epochs=3
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(curve))
    assert [float(again(step)) for step in range(15)] == [float(curve(step)) for step in range(15)]


@pytest.mark.parametrize(
    ("phase", "limit", "expected"),
    [
        (Phase(epochs=7), None, 7),
        (Phase(epochs=7, minimum_steps=10_000), None, 7),
        (Phase(minimum_epochs=3, minimum_steps=0), None, 3),
        (Phase(minimum_epochs=3, minimum_steps=101), None, 11),
        (Phase(epochs=7), 2, 2),
    ],
)
def test_a_phase_is_as_long_as_it_says(phase, limit, expected):
    assert phase.length(STEPS, limit=limit) == expected


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="one_cycle has a rise of its own"):
        Phase(learning_rate_schedule="one_cycle", warmup_epochs=1)
    with pytest.raises(ValueError, match="expected at least one phase"):
        Schedule(phases={})
