"""`cnntrain bench`: how fast each input stage and the network are, and which of them is the bottleneck."""

import functools
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.table import Table

from cnntrain.data.examples import Examples
from cnntrain.experiment import Experiment
from cnntrain.runtime import backend
from cnntrain.runtime.terminal import Terminal
from cnntrain.training.preparation import prepare

if TYPE_CHECKING:
    import tensorflow as tf

    from cnntrain.data.pipeline import Batches

MOST_IMAGES = 2000
ROUNDS = 3
STEP_SECONDS = 2.0


def bench(experiment: Experiment) -> None:
    """Times the configuration's input stages and its network's training steps, and prints a table."""
    experiment, labeled, network_input = prepare(experiment)
    from cnntrain.data.pipeline import Batches

    batches = Batches(
        Examples(labeled.train.table, labeled.train.rows[:MOST_IMAGES]),
        network_input,
        batch_size=experiment.batch_size,
        seed=experiment.seed,
        shuffle=True,
        augmentation=experiment.augmentation,
        decoding=experiment.data.decoding,
        localization=experiment.model.localization,
        parallel_calls=experiment.parallel_calls,
    )
    rates = stage_rates(batches)
    model = experiment.model.build(network_input.shape, len(labeled.class_names))
    network = training_rate(experiment, model, next(iter(batches.epoch())))
    terminal = Terminal()
    terminal.line(f"{experiment.data.title()}, {experiment.model.title}, {backend.device_name()}", style="bold")
    terminal.table(speed_table(rates, network))
    terminal.line(verdict(rates, network, experiment.model.title))


def stage_rates(batches: "Batches") -> dict[str, float]:
    """Images per second of the pipeline up to and including each stage."""
    count = len(batches.stages.rows)
    rates = {}
    for name, dataset in batches.prefixes().items():
        drain(dataset)  # traces the graph, and fills the file cache
        rates[name] = count / statistics.median(seconds(functools.partial(drain, dataset)) for _ in range(ROUNDS))
    return rates


def training_rate(experiment: Experiment, model: object, batch: tuple) -> float:
    """Images per second of training steps on one batch that is already in memory."""
    import tensorflow as tf

    from cnntrain.models.box_head import box_head
    from cnntrain.training.loop import Objective, TrainingLoop

    optimizer = experiment.optimizer.for_phase("all")
    objective = Objective(experiment.output_weights, box_head=box_head(experiment.model, loss=experiment.box_loss))
    loop = TrainingLoop(model, optimizer.build(optimizer.learning_rate), objective)
    step = tf.function(loop.step)
    step(*batch)
    taken = [seconds(lambda: step(*batch)) for _ in range(ROUNDS)]
    repeats = max(1, int(STEP_SECONDS / statistics.median(taken)))
    taken = [seconds(lambda: [step(*batch) for _ in range(repeats)]) for _ in range(ROUNDS)]
    return len(batch[0]) * repeats / statistics.median(taken)


def drain(dataset: "tf.data.Dataset") -> None:
    """Iterates over a dataset."""
    for _ in dataset:
        pass


def seconds(work: Callable[[], object]) -> float:
    """The time that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def speed_table(rates: dict[str, float], network: float) -> Table:
    """The rate up to each stage, and the rate that the stage alone would reach."""
    table = Table("stage", "up to here", "alone")
    for column in table.columns[1:]:
        column.justify = "right"
    before = 0.0
    for name, rate in rates.items():
        alone = 1 / max(1 / rate - before, 1e-9)
        table.add_row(name, f"{rate:,.0f} images/s", f"{alone:,.0f} images/s" if alone < 1e8 else "free")
        before = 1 / rate
    table.add_row("training steps", "", f"{network:,.0f} images/s", style="bold")
    return table


def verdict(rates: dict[str, float], network: float, title: str) -> str:
    """Which side waits for the other."""
    whole = list(rates.values())[-1]
    costs = {name: 1 / rate for name, rate in rates.items()}
    names = list(costs)
    alone = {name: costs[name] - (costs[names[n - 1]] if n else 0) for n, name in enumerate(names)}
    slowest = max(alone, key=lambda name: alone[name])
    if network < whole:
        return f"the bottleneck is the network: {title} trains {network:,.0f} images/s, the input gives {whole:,.0f}"
    return (
        f"the bottleneck is the input, there {slowest}: it gives {whole:,.0f} images/s,"
        f" {title} could train {network:,.0f}"
    )
