"""Runs many batches per graph call, and adds up loss, accuracy and box overlap inside the graph."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from cnntrain.evaluation.metrics import GOOD_IOUS
from cnntrain.models.box_head import BoxHead, intersection_over_union
from cnntrain.runtime import ranks, supervised

SECONDS_PER_CALL = 1.0
LARGEST_GROWTH = 8
TotalsAndWait = tuple[tf.Tensor, tf.Tensor]


def named(outputs: tf.Tensor | Mapping[str, tf.Tensor]) -> Mapping[str, tf.Tensor]:
    """A model's outputs by name: a model with one output returns it bare."""
    return outputs if isinstance(outputs, Mapping) else {"class": outputs}


class Part(NamedTuple):
    """Which rows of its batch a rank has: float32.

    `counts` (rows,): 1, or 0 for a row that doesn't count; 1 if all do. `rows`: how many count. `of`: the number of
    rows of the whole batch.
    """

    counts: tf.Tensor
    rows: tf.Tensor
    of: tf.Tensor

    @classmethod
    def of_batch(cls, images: tf.Tensor, share: Sequence[tf.Tensor]) -> "Part":
        """That of a batch, given what Batches adds to it with a share."""
        count = tf.cast(tf.shape(images)[0], tf.float32)
        if not share:
            return cls(tf.constant(1.0), count, count)
        rows, of = share
        return cls(tf.cast(tf.range(count) < rows, tf.float32), rows, of)

    def mean(self, values: tf.Tensor) -> tf.Tensor:
        """What this rank adds to the whole batch's mean of values (rows,)."""
        return tf.reduce_sum(values * self.counts) / self.of


class Pace:
    """How many steps to run per call, so that a call takes about a second, and how long calls waited for batches.

    Python handles signals, and the display is updated, only between calls.
    """

    def __init__(self) -> None:
        self.steps = 1
        self.calls = 0
        self.waited = 0.0  # seconds, over all calls

    def next(self, remaining: int) -> int:
        """The number of steps in the next call, the same on all ranks."""
        return int(ranks.agreed_number(min(self.steps, remaining)))

    def record(self, steps: int, seconds: float) -> None:
        """Learns from a call; the first one, which builds the graph, is ignored."""
        self.calls += 1
        if self.calls > 1:
            wanted = int(SECONDS_PER_CALL * steps / max(seconds, 1e-6))
            self.steps = max(1, min(wanted, self.steps * LARGEST_GROWTH))


class Sums:
    """Loss and accuracy over many batches, passed to and returned from every graph call.

    They are added up in float64, one batch after another, so that it does not matter how batches are divided into
    calls. With a `box_head`, box overlap is included. Keras's metrics are variables, and updating them in every step
    costs a small network a twelfth of its speed.
    """

    def __init__(self, box_head: BoxHead | None = None) -> None:
        self.box_head = box_head
        self.reset()

    def reset(self) -> None:
        """Starts over."""
        # sums of loss, correct predictions and images; and of boxes, IoUs, and correct with an IoU of 0.5 and 0.75
        self.totals = np.zeros(3 if self.box_head is None else 5 + len(GOOD_IOUS))

    @property
    def loss(self) -> float:
        """The mean loss per image."""
        return float(self.totals[0] / self.totals[2])

    @property
    def accuracy(self) -> float:
        """The share of images whose most probable class is that of their target."""
        return float(self.totals[1] / self.totals[2])

    def metrics(self) -> dict[str, float]:
        """All metrics by name; box metrics are means over the images that have a box, 0 if none has."""
        found = {"loss": self.loss, "accuracy": self.accuracy}
        if self.box_head is not None:
            names = ("mean_iou", *GOOD_IOUS)
            found |= dict(zip(names, (self.totals[4:] / max(self.totals[3], 1)).tolist(), strict=True))
        return found

    def of_batch(
        self,
        loss: tf.Tensor,
        outputs: Mapping[str, tf.Tensor],
        targets: Mapping[str, tf.Tensor],
        weights: Mapping[str, tf.Tensor],
        part: "Part",
    ) -> tf.Tensor:
        """The float64 values that this rank's part of a batch adds to the totals; `loss` is what it adds to the batch's
        mean loss."""
        hits = tf.equal(tf.argmax(targets["class"], axis=1), tf.argmax(outputs["class"], axis=1))
        counts, rows, of = (tf.cast(values, tf.float64) for values in part)
        sums = [tf.cast(loss, tf.float64) * of, tf.reduce_sum(tf.cast(hits, tf.float64) * counts), rows]
        if self.box_head is not None:
            ious = intersection_over_union(self.box_head.predict(outputs["box"]), targets["box"])
            good = [hits & (ious >= least) for least in GOOD_IOUS.values()]
            there = tf.cast(weights["box"], tf.float64) * counts
            sums += [tf.reduce_sum(tf.cast(values, tf.float64) * there) for values in (tf.ones_like(ious), ious, *good)]
        return tf.stack(sums)


def next_timed(iterator: tf.data.Iterator) -> tuple[tuple, tf.Tensor]:
    """The next batch, and the float64 seconds spent waiting for it: inside a graph, whose loop continues once a step is
    done. Meanwhile, a GPU may still be busy with that step."""
    start = tf.timestamp()
    with tf.control_dependencies([start]):
        batch = next(iterator)
    with tf.control_dependencies(tf.nest.flatten(batch)):
        return batch, tf.timestamp() - start


def run_paced(
    run_steps: Callable[[tf.data.Iterator, tf.Tensor, tf.Tensor], TotalsAndWait],
    batches: tf.data.Dataset,
    steps: int,
    sums: Sums,
    pace: Pace,
    *,
    done: int = 0,
) -> Iterator[int]:
    """Runs the graph for a number of steps, about a second per call; yields the number done so far."""
    start = time.perf_counter()
    iterator = iter(batches)
    pace.waited += time.perf_counter() - start
    while done < steps:
        count = pace.next(steps - done)
        start = time.perf_counter()
        totals, waited = run_steps(iterator, tf.constant(count), tf.constant(sums.totals))
        sums.totals = totals.numpy()
        pace.waited += float(waited)
        pace.record(count, time.perf_counter() - start)
        done += count
        supervised.called()
        yield done


class EvaluationLoop:
    """Loss, accuracy and box overlap over batches, without changing the model.

    The loss is the plain cross-entropy of the class output, without smoothing, class weights, boxes or penalties, so
    that runs that differ in those can be compared. `frozen`: as in TrainingLoop.
    """

    def __init__(self, model: keras.Model, *, frozen: keras.Model | None = None, box_head: BoxHead | None = None):
        self.model = model
        self.frozen = frozen
        self.sums = Sums(box_head)
        self.pace = Pace()

    def run(
        self, batches: tf.data.Dataset, steps: int, *, between_calls: Callable[[], None] = lambda: None
    ) -> dict[str, float]:
        """The metrics over a number of batches, by name; `between_calls` is called about once a second."""
        self.sums.reset()
        for _ in run_paced(self.run_steps, batches, steps, self.sums, self.pace):
            between_calls()
        return self.sums.metrics()

    @tf.function
    def run_steps(self, iterator: tf.data.Iterator, steps: tf.Tensor, totals: tf.Tensor) -> TotalsAndWait:
        """Runs a number of batches in one graph call; returns the new totals, and the seconds spent waiting."""
        waited = tf.constant(0.0, tf.float64)
        for _ in tf.range(steps):
            batch, seconds = next_timed(iterator)
            totals += ranks.together(self.step, batch)
            waited += seconds
        return totals, waited

    def step(
        self, images: tf.Tensor, targets: Mapping[str, tf.Tensor], weights: Mapping[str, tf.Tensor], *share: tf.Tensor
    ) -> tf.Tensor:
        """The float64 sums of one batch, over all ranks."""
        part = Part.of_batch(images, share)
        if self.frozen is not None:
            images = self.frozen(images, training=False)
        outputs = named(self.model(images, training=False))
        loss = part.mean(keras.losses.categorical_crossentropy(targets["class"], outputs["class"]))
        (sums,) = ranks.total([self.sums.of_batch(loss, outputs, targets, weights, part)])
        return sums
