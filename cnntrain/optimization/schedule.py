"""A schedule is a mapping of named phases: how long each one is, and how the learning rate changes in it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from cnntrain.settings import Count, Fraction, NonNegative, Positive, WholeNumber

if TYPE_CHECKING:
    from keras.optimizers.schedules import LearningRateSchedule

    from cnntrain.optimization.optimizers import Optimizer

LearningRateCurve = Literal["constant", "inverse_time", "step", "exponential", "cosine", "one_cycle"]
LAST_STAGES = r"last_(?:(\d+)_)?stages?"


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One stretch of training.

    `epochs` null: enough to reach both `minimum_epochs` and `minimum_steps`, so that a small data set,
    whose epochs are short, gets more epochs.

    `learning_rate_schedule` is the curve that optimizer.learning_rate follows; it restarts in each phase:

    constant: no change; inverse_time: 1 / (1 + decay_rate · epochs / decay_epochs);
    step: · decay_rate after every `decay_epochs`; exponential: the same, smoothly;
    cosine: a half cosine down to `final_fraction` of it; one_cycle: a linear rise from 1/25 over the first
    30% of the phase, then a half cosine down to `final_fraction`.

    `warmup_epochs`: before that, a linear rise from near 0 over this many epochs (not with one_cycle).
    `early_stopping_patience`: the phase ends after this many epochs without a gain in validation accuracy
    of more than `early_stopping_min_delta`; null: never.

    `trainable`: which layers are trained; the others are frozen. `all`; `head`, the layers above the features;
    `last_stage`, `last_2_stages`, … (a stage is the layers between two halvings of the resolution, as in the
    papers' tables); patterns of layer names, such as block14_*; or a list of these. `cnntrain models NAME` lists the
    names.
    `batchnorm`: whether BatchNormalization in trained layers keeps adapting (`train`) or stays `frozen`, both its
    statistics and its own weights; in frozen layers it is always frozen. `recalibrate`: it adapts, and before each
    validation its statistics are recomputed on up to 100 training batches, because moving averages would lag.
    `batchnorm_momentum`: the momentum of those moving averages; null: the layers' own.
    `layer_decay`: each stage below the head is trained at this fraction of the learning rate of the stage above
    it; 1: the same rate for all.
    `solver`: `gradient` trains with the optimizer. `logistic_regression`, for `trainable: head`, takes the images as
    in validation, without augmentation, and solves for the classifier in one epoch, with the L2 penalty that
    gives the lowest validation loss (without validation images: over five folds). The next phase starts from it.
    `image_size`: [height, width] of this phase's training images; null: model.image_size, at which all phases are
    validated. Starting with a phase on small images saves time.
    `cache_views`: the frozen part sees this many augmented views of each training image, once each, instead of a
    new view every epoch; null: a new view every epoch (without augmentation there is only one).
    """

    epochs: Count | None = None
    minimum_epochs: Count = 10
    minimum_steps: WholeNumber = 0
    learning_rate_schedule: LearningRateCurve = "constant"
    warmup_epochs: NonNegative = 0.0
    decay_rate: Positive = 0.1
    decay_epochs: Positive = 10.0
    final_fraction: Fraction = 0.0
    early_stopping_patience: Count | None = None
    early_stopping_min_delta: NonNegative = 0.0
    trainable: str | tuple[str, ...] = "all"
    batchnorm: Literal["train", "frozen", "recalibrate"] = "train"
    batchnorm_momentum: Fraction | None = None
    layer_decay: Fraction = 1.0
    solver: Literal["gradient", "logistic_regression"] = "gradient"
    image_size: tuple[Count, Count] | None = None
    cache_views: Count | None = None

    def __post_init__(self) -> None:
        if self.learning_rate_schedule == "one_cycle" and self.warmup_epochs:
            raise ValueError("warmup_epochs: one_cycle has a rise of its own; expected 0")
        if not self.trainable:
            raise ValueError("trainable: expected all, head, or names of layers; received an empty list")
        if self.layer_decay == 0:
            raise ValueError("layer_decay: expected more than 0; to freeze layers, leave them out of trainable")
        if self.cache_views and self.image_size:
            raise ValueError("cache_views: what frozen layers give is kept at model.image_size only; set it to null")
        if self.cache_views and self.trainable in ("all", ("all",)):
            raise ValueError("cache_views: keeps what frozen layers give; trainable=all freezes none; set it to null")

        if self.solver == "logistic_regression":
            self.check_solved()

    def check_solved(self) -> None:
        """Raises ValueError for training settings that don't apply if the head is solved."""
        if self.trainable not in ("head", ("head",)):
            raise ValueError(f"solver: logistic_regression needs trainable=head; received trainable={self.trainable}")
        if self.epochs not in (None, 1):
            raise ValueError(f"epochs: logistic_regression takes one; expected 1 or null; received {self.epochs}")
        if self.cache_views:
            raise ValueError("cache_views: logistic_regression sees images without augmentation; expected null")
        if self.image_size:
            raise ValueError("image_size: logistic_regression sees images as they are validated; expected null")

    def length(self, steps_per_epoch: int, *, limit: int | None) -> int:
        """The number of epochs, at most `limit`."""
        if self.solver == "logistic_regression":
            return 1
        epochs = self.epochs or max(self.minimum_epochs, math.ceil(self.minimum_steps / steps_per_epoch))
        return min(epochs, limit) if limit else epochs


@dataclass(frozen=True, kw_only=True)
class FeatureCache:
    """Where the output of frozen layers is cached, so that it is computed once for each image.

    `where`: memory; disk, below $CNNTRAIN_CACHE, where later runs with the same weights, images and settings find
    it again; or off. `dtype`: the data type of the cache. `limit_mb`: the size limit in MiB; anything that would take
    more is computed in every epoch.
    `precision`: the precision of the frozen layers; null: the run's own.
    """

    where: Literal["memory", "disk", "off"] = "memory"
    dtype: Literal["float32", "float16"] = "float32"
    limit_mb: Count = 4096
    precision: Literal["float32", "mixed_bfloat16"] | None = None


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The phases, in the order they run."""

    phases: Mapping[str, Phase]

    def __post_init__(self) -> None:
        if not self.phases:
            raise ValueError("phases: expected at least one phase; received none")

    def lengths(self, steps_per_epoch: int, *, limit: int | None) -> dict[str, int]:
        """The number of epochs of each phase, at most `limit`."""
        return {name: phase.length(steps_per_epoch, limit=limit) for name, phase in self.phases.items()}


def learning_rate_curve(
    phase: Phase, optimizer: "Optimizer", *, steps_per_epoch: int, epochs: int
) -> "LearningRateSchedule":
    """The learning rate of a phase in the form Keras wants: a function of the optimizer's batch count.

    `optimizer` is the phase's own, with every value filled in (see Optimizer.for_phase).
    """
    from keras.optimizers import schedules

    from cnntrain.optimization.learning_rate import Curve

    peak = cast(float, optimizer.learning_rate)
    warmup_steps = round(phase.warmup_epochs * steps_per_epoch)
    total_steps = max(1, steps_per_epoch * epochs - warmup_steps)
    decay_steps = phase.decay_epochs * steps_per_epoch
    rise_steps = max(1, round(0.3 * total_steps))
    curves = {
        "constant": lambda: None,
        "inverse_time": lambda: schedules.InverseTimeDecay(peak, decay_steps, phase.decay_rate),
        "step": lambda: schedules.ExponentialDecay(peak, decay_steps, phase.decay_rate, staircase=True),
        "exponential": lambda: schedules.ExponentialDecay(peak, decay_steps, phase.decay_rate),
        "cosine": lambda: schedules.CosineDecay(peak, total_steps, alpha=phase.final_fraction),
        "one_cycle": lambda: schedules.CosineDecay(
            peak / 25,
            max(1, total_steps - rise_steps),
            alpha=phase.final_fraction,
            warmup_target=peak,
            warmup_steps=rise_steps,
        ),
    }
    return Curve(
        peak,
        after_warmup=curves[phase.learning_rate_schedule](),
        warmup_steps=warmup_steps,
        decay=optimizer.decay or 0.0,
        batches_per_update=optimizer.batches_per_update,
    )
