"""The typed experiment, and how Hydra's configuration becomes one."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Interval

from cnntrain.data.augmentation.settings import Augmentation
from cnntrain.data.sources import SOURCES
from cnntrain.data.sources.base import Source
from cnntrain.did_you_mean import unknown, unknown_key
from cnntrain.errors import ConfigError, DataError
from cnntrain.models import MODELS, Architecture
from cnntrain.optimization.optimizers import OPTIMIZERS, Optimizer
from cnntrain.optimization.schedule import FeatureCache, Schedule
from cnntrain.settings import Count, Fraction, NonNegative, Positive, WholeNumber, convert, fields_of, read
from cnntrain.trackers import Tracking

Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]
BoxLoss = Literal["mse", "huber", "iou", "giou", "ciou"]

# groups whose options are classes of their own: the key that names the class, and the classes
CHOICES: dict[str, tuple[str, Mapping[str, type]]] = {
    "model": ("name", MODELS),
    "data": ("source", SOURCES),
    "optimizer": ("name", OPTIMIZERS),
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits for a quick trial; null is no limit.

    `steps`: batches of an epoch, and of an evaluation, at most. `epochs_per_phase`: epochs of a phase, at most.
    `minutes`: of the whole run. Training ends early enough for the best network to be tested in time.
    """

    steps: Count | None = None
    epochs_per_phase: Count | None = None
    minutes: Positive | None = None


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """When checkpoints for `cnntrain resume` are written, besides at the end of each phase.

    `min_seconds`: at the end of each epoch, unless the last one is younger; a phase of short epochs is not held up
    by writing then, and a killed run repeats no more than that. `every_minutes`: how often within an epoch; null: not
    at all. `keep`: how many of the last ones are kept.
    """

    min_seconds: NonNegative = 10.0
    every_minutes: Positive | None = 5.0
    keep: Count = 2


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """What on_nan=rollback does: back to the last checkpoint, with the learning rate times `learning_rate_factor`.

    `times`: how often in a run, before it ends all the same.
    """

    times: Count = 3
    learning_rate_factor: Annotated[float, Interval(gt=0, le=1)] = 0.5


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """All that decides a run.

    `seed` fixes the initial weights, the order of examples and every random augmentation.
    `precision`: the layers compute in it; weights and the classifier stay in float32. `auto`: mixed_bfloat16 if the
    device has instructions for it, else float32.
    `label_smoothing`: the share of each target that is spread over all classes.
    `class_weights`: `balanced`, or a weight for classes by name; null weighs all examples alike.
    `loss_weights`: the weight of each output's loss, by the output's name; those not named keep their usual weight.
    `box_loss`: what the output `box` is trained with; see BoxHead.
    `parallel_calls`: threads that prepare images; null is one a core. Changes no result.
    `devices`: one process trains on each. `auto`: all GPUs, or else the CPU; `cpu`: one process on the CPU, whatever
    there is; a number: so many GPUs, or so many processes that share the cores. `batch_size` is that of an update on
    all of them together.
    `batchnorm_sync`: BatchNormalization in training takes its statistics from the images of all devices, so that their
    number does not change what is learned.
    `compile`: whether XLA compiles training steps. `auto`: on a single GPU; on CPUs it is slower.
    `report`: whether the run ends by writing its page, report.html.
    `epoch_lines`: which epochs have a line on the terminal; log.txt has all. `some`: of a phase of more than 20, those
    that are better than all before, and every tenth.
    `tracker`: other programs that keep what the run gives.
    `on_nan`: what is done about a loss or weights that are not finite: the run ends, or goes back (see Rollback).
    `on_collapse`: what is done when the first epoch of a later phase leaves validation accuracy far below the best so
    far (ten points, and more than chance explains): the run ends (`stop`), says so and goes on (`warn`), or takes the
    best weights back and ends that phase (`back`).
    """

    model: Architecture
    data: Source
    optimizer: Optimizer
    augmentation: Augmentation = field(default_factory=Augmentation)
    schedule: Schedule
    seed: WholeNumber = 0
    batch_size: Count = 32
    precision: Precision = "float32"
    label_smoothing: Fraction = 0.0
    class_weights: Literal["balanced"] | Mapping[str, NonNegative] | None = None
    loss_weights: Mapping[str, NonNegative] | None = None
    box_loss: BoxLoss = "mse"
    parallel_calls: Count | None = None
    devices: Literal["auto", "cpu"] | Count = "auto"
    batchnorm_sync: bool = True
    compile: Literal["auto", "xla", "off"] = "auto"
    report: bool = True
    epoch_lines: Literal["all", "some"] = "some"
    tracker: Tracking = field(default_factory=Tracking)
    limits: Limits = field(default_factory=Limits)
    feature_cache: FeatureCache = field(default_factory=FeatureCache)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    on_nan: Literal["stop", "rollback"] = "stop"
    on_collapse: Literal["stop", "warn", "back"] = "back"
    rollback: Rollback = field(default_factory=Rollback)

    @property
    def output_weights(self) -> dict[str, float]:
        """What the loss of each output counts for, by the output's name."""
        return {**self.model.loss_weights, **(self.loss_weights or {})}


def parse(values: Mapping[str, Any]) -> Experiment:
    """The experiment that plain values describe; raises one ConfigError with all that is wrong."""
    annotations = fields_of(Experiment)
    problems = [
        unknown_key(str(name), value, annotations, guesses=every_key())
        for name, value in values.items()
        if name not in annotations
    ]
    converted: dict[str, Any] = {}
    for name, annotation in annotations.items():
        if name not in values:
            if name in ("model", "data", "optimizer", "schedule"):
                problems.append(f"{name}: is missing; choose an option, such as {name}={DEFAULT_OPTIONS[name]}")
            continue
        if name in CHOICES:
            converted[name], found = read_choice(name, values[name])
        else:
            converted[name], found = convert(annotation, values[name], name)
        problems += found
    if problems:
        raise ConfigError(*problems)
    experiment = Experiment(**converted)
    conflicts = [*unknown_outputs(experiment), *unfit_for_boxes(experiment)]
    if conflicts:
        raise ConfigError(*conflicts)
    return experiment


def unknown_outputs(experiment: Experiment) -> Iterator[str]:
    """A text for each weighted loss whose output the model does not have."""
    names = experiment.model.loss_weights
    for name in experiment.loss_weights or ():
        if name == "box" and name not in names:
            yield "loss_weights.box: the model has no such output; set model.localization=true"
        elif name not in names:
            yield unknown(f"loss_weights.{name}: the model has no such output", name, names)


def unfit_for_boxes(experiment: Experiment) -> Iterator[str]:
    """A text for each setting that boxes can't go along with."""
    if not experiment.model.localization:
        return
    for name in ("mixup_alpha", "cutmix_alpha", "aug_mix_severity"):
        if getattr(experiment.augmentation, name):
            yield (
                f"augmentation.{name}: mixes an image with others, or with itself moved, so that no single box is"
                " right; set it to 0, or model.localization=false"
            )
    if experiment.data.decoding != "accurate":
        yield "data.decoding: images with boxes are read accurately only; set it to accurate"
    if experiment.data.cache_decoded:
        yield "data.cache_decoded: keeps no boxes; set it to false, or model.localization=false"


def parse_recorded(values: Mapping[str, Any], *, where: object) -> Experiment:
    """The experiment of a run's config.yaml; raises DataError, since nobody wrote that by hand."""
    try:
        return parse(values)
    except ConfigError as error:
        raise DataError(f"{where}: was written by another version of cnntrain:\n{error}") from error


DEFAULT_OPTIONS = {"model": "lenet5", "data": "digits", "optimizer": "adam", "schedule": "from_scratch"}


def read_choice(group: str, values: object) -> tuple[Any, list[str]]:
    """A group's dataclass, chosen by the key that names it."""
    key, classes = CHOICES[group]
    name = values.get(key) if isinstance(values, Mapping) else None
    if not isinstance(values, Mapping) or name is None:
        return None, [f"{group}.{key}: is missing; expected one of {', '.join(classes)}"]
    if name not in classes:
        return None, [unknown(f"{group}.{key}: no such name {name!r}", str(name), classes)]
    chosen = classes[str(name)]
    built, problems = read(chosen, leave_open(values, chosen) if group == "optimizer" else values, group)
    return built, [elsewhere(problem, group, str(name)) for problem in problems]


def leave_open(values: Mapping[str, Any], optimizer: type) -> dict[str, Any]:
    """An optimizer's values with null for those that only its phases give: no default may win over them."""
    phases = values.get("phases")
    given = phases.values() if isinstance(phases, Mapping) else ()
    keys = {key for phase in given if isinstance(phase, Mapping) for key in phase}
    return {key: None for key in fields_of(optimizer) if key in keys} | dict(values)


def elsewhere(problem: str, group: str, name: str) -> str:
    """The text for an unknown key, with the options that do have it where there are some."""
    found = re.match(rf"{group}\.(\w+): no such key", problem)
    key, classes = CHOICES[group]
    owners = [owner for owner, cls in classes.items() if found and found[1] in fields_of(cls)]
    if found is None or not owners:
        return problem
    return f"{found[0]} with {group}.{key}={name}: {', '.join(owners)} have it"


def every_key() -> list[str]:
    """The top-level keys, and those of the groups under their full name."""
    keys = list(fields_of(Experiment))
    for group, (_, classes) in CHOICES.items():
        for cls in classes.values():
            keys += [f"{group}.{name}" for name in fields_of(cls)]
    return list(dict.fromkeys(keys))

