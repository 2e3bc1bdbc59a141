"""What is taken of a run's state stays as it was while training goes on, and comes back to the bit."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnntrain.checkpoints.checkpoint import newest
from cnntrain.checkpoints.progress import Progress
from cnntrain.checkpoints.run_state import StateKeeper, arrays_of
from cnntrain.errors import DataError
from cnntrain.experiment import Checkpoint
from cnntrain.optimization.optimizers import Adam, Lion, Sgd, loss_scaled
from cnntrain.runtime.run_dir import RunDir
from cnntrain.training.loop import Objective, TrainingLoop, averaged_weights
from tests.training.test_loop import batches, network_with_dropout

OPTIMIZERS = [
    Sgd(momentum=0.9),
    Adam(ema_momentum=0.9, amsgrad=True, gradient_accumulation_steps=2),
    Lion(weight_decay=0.1),
]


def loop_of(settings, precision="float32"):
    """A loop that has run for a few steps, and the batches that it goes on with."""
    model = network_with_dropout()
    loop = TrainingLoop(model, loss_scaled(settings.build(0.01), precision), Objective({"class": 1.0}))
    return loop, iter(batches(size=2).repeat())


def run(loop, iterator, steps):
    """So many steps more."""
    loop.sums.totals = loop.run_steps(iterator, tf.constant(steps), tf.constant(loop.sums.totals))[0].numpy()


@pytest.mark.parametrize("settings", OPTIMIZERS, ids=lambda settings: settings.name)
def test_arrays_that_were_taken_do_not_change_while_training_goes_on(settings):
    loop, iterator = loop_of(settings)
    run(loop, iterator, 3)
    variables = [*loop.model.variables, *loop.optimizer.variables]
    copies = [variable.numpy().copy() for variable in variables]
    taken = list(arrays_of("all", variables).values())
    run(loop, iterator, 4)
    with averaged_weights(loop.model, loop.optimizer):
        pass
    for variable in loop.model.variables[:2]:
        variable.assign(variable * 0)
    assert all(np.array_equal(one, other) for one, other in zip(copies, taken, strict=True))
    assert sum(not np.array_equal(copy, variable.numpy()) for copy, variable in zip(copies, variables, strict=True)) > 8


def test_what_is_put_back_goes_on_to_the_bit_with_the_scale_of_the_loss(tmp_path):
    loop, iterator = loop_of(OPTIMIZERS[1], "mixed_float16")
    run_dir = RunDir.create(tmp_path / "run", exact=True)
    keeper = StateKeeper(loop.model, run_dir, Checkpoint())
    run(loop, iterator, 3)
    keeper.save(Progress(phase="all", steps=3, seconds=0.1, best=(0.5, -0.25)), loop)
    run(loop, iterator, 4)
    keeper.checkpoints.close()
    other, others = loop_of(OPTIMIZERS[1], "mixed_float16")
    run(other, others, 3)  # its batches stand where the first one's did, its weights do not matter
    for variable in other.model.variables:
        variable.assign(variable * 0)
    keeper = StateKeeper(other.model, run_dir, Checkpoint())
    progress = keeper.put_back(newest(run_dir.checkpoints)[0])
    keeper.put_back_phase(other)
    assert progress == Progress(phase="all", steps=3, seconds=0.1, best=(0.5, -0.25))
    run(other, others, 4)
    ours, theirs = ([*each.model.variables, *each.optimizer.variables] for each in (loop, other))
    assert all(np.array_equal(one.numpy(), two.numpy()) for one, two in zip(ours, theirs, strict=True))
    assert loop.sums.totals.tolist() == other.sums.totals.tolist()


def test_the_best_network_is_written_with_the_next_checkpoint_and_training_goes_on_with_its_own_weights(tmp_path):
    loop, _ = loop_of(OPTIMIZERS[0])
    run_dir = RunDir.create(tmp_path / "run", exact=True)
    keeper = StateKeeper(loop.model, run_dir, Checkpoint(min_seconds=1e6))
    best = [array + 1 for array in loop.model.get_weights()]
    loop.model.set_weights(best)
    keeper.remember_best()
    now = [array + 1 for array in best]
    loop.model.set_weights(now)
    keeper.save_after_epoch(Progress(phase="all", epochs=1), loop, last=False)
    assert not run_dir.model.exists() and newest(run_dir.checkpoints)[0] is None
    keeper.save_after_epoch(Progress(phase="all", epochs=2), loop, last=True)
    keeper.checkpoints.close()
    assert all(map(np.array_equal, keras.models.load_model(run_dir.model).get_weights(), best))
    assert all(map(np.array_equal, loop.model.get_weights(), now))
    found = newest(run_dir.checkpoints)[0]
    assert found.best_model.read_bytes() == run_dir.model.read_bytes()
    keeper.remember_best()
    keeper.put_back(found)
    keeper.write_best()  # there is none: that of the checkpoint is in place
    assert found.best_model.read_bytes() == run_dir.model.read_bytes()


def test_a_checkpoint_of_another_network_is_refused_before_anything_is_changed(tmp_path):
    loop, _ = loop_of(OPTIMIZERS[0])
    run_dir = RunDir.create(tmp_path / "run", exact=True)
    keeper = StateKeeper(loop.model, run_dir, Checkpoint())
    keeper.save(Progress(), loop)
    keeper.checkpoints.close()
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(5, 3)])
    before = model.get_weights()
    with pytest.raises(DataError, match="is of another network or optimizer"):
        StateKeeper(model, run_dir, Checkpoint()).put_back(newest(run_dir.checkpoints)[0])
    assert all((one == other).all() for one, other in zip(before, model.get_weights(), strict=True))
