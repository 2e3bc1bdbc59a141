"""`model=auto`: which network and recipe suit some images, and the time that there is, by measurements."""

import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from cnntrain.data.examples import LabeledImages
from cnntrain.experiment import Experiment
from cnntrain.models.keras_weights import is_reachable, weights_file
from cnntrain.runtime.wording import counted

MINUTES = 60.0  # unless limits.minutes says otherwise
SMALL = 64  # images of at most so many pixels a side are small
ENOUGH = 100  # small images per class from which on a small network learns as well from scratch as by transfer
START_SECONDS = 40.0  # of loading, building and compiling
REFERENCE_GFLOPS = 201.0  # what `gflops` returned where Candidate's milliseconds were measured


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A network with its recipe: what chooses it on the command line, and what it costs.

    `training_ms` and `prediction_ms`: milliseconds per image on two CPU cores, by benchmarks/auto_speeds.py.
    `backbone`: the network whose ImageNet weights it needs. `accuracy`: of those weights on ImageNet, as Keras's
    documentation has it.
    """

    model: str
    values: tuple[str, ...] = ()
    schedule: str | None = None
    backbone: str | None = None
    image_size: tuple[int, int]
    accuracy: float = 0.0
    training_ms: float
    prediction_ms: float

    @property
    def words(self) -> list[str]:
        """What a command line says to choose it."""
        schedule = [f"schedule={self.schedule}"] if self.schedule else []
        backbone = [f"model.backbone={self.backbone}"] if self.backbone else []
        return [f"model={self.model}", *schedule, *backbone, *self.values]

    @property
    def title(self) -> str:
        """The network and the recipe, in words."""
        if self.backbone is None:
            return f"{self.model}, trained from scratch"
        return f"{self.backbone}, {'a linear probe' if self.schedule == 'probe' else 'fine-tuned'}"


def transfer(backbone: str, side: int, *, accuracy: float, training_ms: float, prediction_ms: float) -> Candidate:
    """The recipe of model=transfer on a backbone."""
    return Candidate(
        model="transfer", backbone=backbone, image_size=(side, side), accuracy=accuracy,
        training_ms=training_ms, prediction_ms=prediction_ms,
    )  # fmt: skip


PHOTOS = (
    transfer("EfficientNetV2S", 384, accuracy=0.839, training_ms=640, prediction_ms=115),
    transfer("EfficientNetV2B3", 300, accuracy=0.820, training_ms=160, prediction_ms=47),
    transfer("EfficientNetV2B0", 224, accuracy=0.787, training_ms=80, prediction_ms=12),
    transfer("MobileNetV2", 224, accuracy=0.713, training_ms=40, prediction_ms=9.2),
)
SMALL_TRANSFER = Candidate(
    model="transfer", backbone="MobileNetV2", values=("model.image_size=[96,96]",), image_size=(96, 96),
    accuracy=0.713, training_ms=6.4, prediction_ms=1.7,
)  # fmt: skip
FROM_SCRATCH = (
    Candidate(model="resnet9", image_size=(32, 32), training_ms=20, prediction_ms=3.5),
    Candidate(model="lenet5", image_size=(28, 28), training_ms=0.44, prediction_ms=0.12),
)


@dataclass(frozen=True)
class Facts:
    """What the choice depends on: image counts of the splits, the number of classes, and whether images are small."""

    train: int
    validation: int
    test: int
    classes: int
    image_size: tuple[int, int] | None

    @classmethod
    def of(cls, labeled: LabeledImages) -> "Facts":
        """Those of a data set."""
        height, width, _ = labeled.image_shape
        return cls(
            len(labeled.train), len(labeled.validation), len(labeled.test), len(labeled.class_names),
            (height, width) if height and width else None,
        )  # fmt: skip

    @property
    def small(self) -> bool:
        """Whether all images have one size, and few pixels."""
        return self.image_size is not None and max(self.image_size) <= SMALL

    @property
    def per_class(self) -> int:
        """Training images per class, in the mean."""
        return round(self.train / max(self.classes, 1))

    def text(self) -> str:
        """The facts in words."""
        size = "×".join(map(str, self.image_size)) + " pixels" if self.image_size else "of several sizes"
        images = counted(self.train, "training image")
        return f"{images} {size}, {counted(self.classes, 'class', 'classes')}, about {self.per_class:,} per class"


def candidates(facts: Facts) -> Iterator[Candidate]:
    """What suits these images, best first, whatever it costs."""
    if facts.small and facts.per_class < ENOUGH:
        yield SMALL_TRANSFER
    if facts.small:
        yield from FROM_SCRATCH
        return
    yield from PHOTOS
    for candidate in PHOTOS:
        yield probe_of(candidate)


def probe_of(candidate: Candidate) -> Candidate:
    """The same backbone without fine-tuning."""
    return replace(candidate, schedule="probe")


def expected_seconds(candidate: Candidate, experiment: Experiment, facts: Facts, *, slowness: float) -> float:
    """About how long the experiment, which is the candidate's, takes; `slowness` is relative to the reference."""
    steps = math.ceil(facts.train / experiment.batch_size)
    lengths = experiment.schedule.lengths(steps, limit=experiment.limits.epochs_per_phase)
    milliseconds = (facts.validation + facts.test) * candidate.prediction_ms
    for name, phase in experiment.schedule.phases.items():
        solved = phase.solver == "logistic_regression"
        training = candidate.prediction_ms if solved else candidate.training_ms
        milliseconds += lengths[name] * (facts.train * training + facts.validation * candidate.prediction_ms)
    return START_SECONDS + milliseconds / 1000 * slowness


def reachable(candidate: Candidate) -> bool:
    """Whether its weights are on this machine, or can be downloaded."""
    if candidate.backbone is None:
        return True
    return is_reachable(weights_file(candidate.backbone, (*candidate.image_size, 3), include_top=False))


def slowness() -> float:
    """How many times longer this machine takes than the reference."""
    return REFERENCE_GFLOPS / gflops()


def gflops(side: int = 2048) -> float:
    """Billions of float32 multiplications and additions per second, in products of square matrices."""
    import tensorflow as tf

    matrix = tf.random.stateless_normal((side, side), seed=(0, 0))
    product = tf.matmul(matrix, matrix).numpy()  # the first one starts threads, or a GPU
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        product = tf.matmul(matrix, matrix).numpy()
        seconds.append(time.perf_counter() - start)
    return 2 * side * side * len(product) / statistics.median(seconds) / 1e9
