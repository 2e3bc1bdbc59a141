"""Optimizers: one frozen dataclass each, whose fields are Keras's arguments under their full names."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from cnntrain.did_you_mean import unknown
from cnntrain.settings import Count, Fraction, NonNegative, Positive, convert, fields_of

if TYPE_CHECKING:
    import keras

UNDECAYED = ("bias", "gamma", "beta")


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """The settings that all optimizers share.

    `decay`: the learning rate is divided by (1 + decay · step), as with `decay=` in the chapter.
    `weight_decay`: each update subtracts weight_decay · learning rate · w from a weight (Keras's is decoupled:
    with momentum 0.9 it is about ten times weaker than a paper's L2); biases and normalization are exempt.
    `l2`: the papers' weight decay: l2/2 · sum(w²) is added to the loss, so that a weight's gradient grows by
    l2 · w before momentum and clipping; biases and normalization are exempt, and the reported loss does not
    include it.
    `clip_norm`: the limit on the global norm of all gradients. `clip_value`: the limit on each element.
    `gradient_accumulation_steps`: the number of batches per update. `ema_momentum`: the weights that are
    evaluated and saved are an exponential moving average of the trained weights.
    `phases`: values for single phases, by phase name, for settings that are null here; a value that is set here wins.
    A phase without values uses those of `all`.
    """

    name: str
    learning_rate: Positive | None = 0.001
    decay: NonNegative | None = 0.0
    weight_decay: NonNegative | None = 0.0
    l2: NonNegative | None = 0.0
    clip_norm: Positive | None = None
    clip_value: Positive | None = None
    gradient_accumulation_steps: Count | None = None
    ema_momentum: Fraction | None = None
    phases: Mapping[str, Mapping[str, bool | int | float | None]] = field(default_factory=dict)

    keras_name: ClassVar[str]

    def __post_init__(self) -> None:
        if self.clip_norm is not None and self.clip_value is not None:
            raise ValueError("clip_norm and clip_value: expected one of them; received both")
        if self.gradient_accumulation_steps == 1:
            raise ValueError("gradient_accumulation_steps: expected at least 2, or null; received 1")
        for phase in self.phases:
            self.for_phase(phase)

    def for_phase(self, phase: str) -> Self:
        """The optimizer for one phase, with every value filled in: from here, from the phase, or the default.

        Raises ValueError if the phase sets values that this optimizer does not have.
        """
        cls: type = type(self)
        annotations = {name: kind for name, kind in fields_of(cls).items() if name not in ("name", "phases")}
        own = self.phases.get(phase, self.phases.get("all", {}))
        problems = [
            unknown(f"phases.{phase}.{key}: no such key", key, annotations) for key in own if key not in annotations
        ]
        values: dict[str, Any] = {}
        for item in dataclasses.fields(self):
            if item.name in annotations and getattr(self, item.name) is None:
                value = item.default if own.get(item.name) is None else own[item.name]
                values[item.name], found = convert(annotations[item.name], value, f"phases.{phase}.{item.name}")
                problems += found
        if problems:
            raise ValueError("\n".join(problems))
        return dataclasses.replace(self, phases={}, **values)

    @property
    def batches_per_update(self) -> int:
        """The number of batches per update."""
        return self.gradient_accumulation_steps or 1

    def arguments(self) -> dict[str, Any]:
        """The arguments that only this optimizer has."""
        return {}

    def build(
        self,
        learning_rate: "keras.optimizers.schedules.LearningRateSchedule | float",
        *,
        factors: Sequence[float] | None = None,
    ) -> "keras.optimizers.Optimizer":
        """Keras's optimizer, with the learning rate as a function of the step.

        `factors`: one for each variable's learning rate, in the order in which the optimizer is built on them
        (weight_decay still uses the common rate).
        """
        import keras

        kind = getattr(keras.optimizers, self.keras_name)
        if factors is not None:
            from cnntrain.optimization.learning_rate import with_factors

            kind = with_factors(kind, factors)
        optimizer = kind(
            learning_rate=learning_rate,
            weight_decay=self.weight_decay or None,
            global_clipnorm=self.clip_norm,
            clipvalue=self.clip_value,
            gradient_accumulation_steps=self.gradient_accumulation_steps,
            use_ema=self.ema_momentum is not None,
            ema_momentum=self.ema_momentum if self.ema_momentum is not None else 0.99,
            **self.arguments(),
        )
        if self.weight_decay:
            optimizer.exclude_from_weight_decay(var_names=list(UNDECAYED))
        return optimizer


@dataclass(frozen=True, kw_only=True)
class Sgd(Optimizer):
    """Stochastic gradient descent, with classical or Nesterov momentum."""

    name: str = "sgd"
    learning_rate: Positive | None = 0.01
    momentum: Fraction | None = 0.0
    nesterov: bool | None = False

    keras_name = "SGD"

    def arguments(self) -> dict[str, Any]:
        """Momentum."""
        return {"momentum": self.momentum, "nesterov": self.nesterov}


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015; `amsgrad` by Reddi et al., 2018."""

    name: str = "adam"
    beta_1: Fraction | None = 0.9
    beta_2: Fraction | None = 0.999
    epsilon: Positive | None = 1e-7
    amsgrad: bool | None = False

    keras_name = "Adam"

    def arguments(self) -> dict[str, Any]:
        """Moments."""
        return {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon, "amsgrad": self.amsgrad}


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019: Adam with weight decay turned on."""

    name: str = "adamw"
    weight_decay: NonNegative | None = 0.004

    keras_name = "AdamW"


@dataclass(frozen=True, kw_only=True)
class Nadam(Optimizer):
    """Dozat, "Incorporating Nesterov Momentum into Adam", 2016."""

    name: str = "nadam"
    beta_1: Fraction | None = 0.9
    beta_2: Fraction | None = 0.999
    epsilon: Positive | None = 1e-7

    keras_name = "Nadam"

    def arguments(self) -> dict[str, Any]:
        """Moments."""
        return {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}


@dataclass(frozen=True, kw_only=True)
class Lamb(Nadam):
    """You et al., "Large Batch Optimization for Deep Learning", 2019."""

    name: str = "lamb"

    keras_name = "Lamb"


@dataclass(frozen=True, kw_only=True)
class Adamax(Nadam):
    """Adam with the infinity norm: Kingma and Ba, 2015, section 7."""

    name: str = "adamax"

    keras_name = "Adamax"


@dataclass(frozen=True, kw_only=True)
class RMSprop(Optimizer):
    """Hinton, "Neural Networks for Machine Learning", lecture 6e, 2012."""

    name: str = "rmsprop"
    rho: Fraction | None = 0.9
    momentum: Fraction | None = 0.0
    epsilon: Positive | None = 1e-7
    centered: bool | None = False

    keras_name = "RMSprop"

    def arguments(self) -> dict[str, Any]:
        """Moments."""
        return {"rho": self.rho, "momentum": self.momentum, "epsilon": self.epsilon, "centered": self.centered}


@dataclass(frozen=True, kw_only=True)
class Adagrad(Optimizer):
    """Duchi et al., "Adaptive Subgradient Methods", 2011."""

    name: str = "adagrad"
    initial_accumulator_value: NonNegative | None = 0.1
    epsilon: Positive | None = 1e-7

    keras_name = "Adagrad"

    def arguments(self) -> dict[str, Any]:
        """The accumulator."""
        return {"initial_accumulator_value": self.initial_accumulator_value, "epsilon": self.epsilon}


@dataclass(frozen=True, kw_only=True)
class Lion(Optimizer):
    """Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023."""

    name: str = "lion"
    learning_rate: Positive | None = 0.0001
    beta_1: Fraction | None = 0.9
    beta_2: Fraction | None = 0.99

    keras_name = "Lion"

    def arguments(self) -> dict[str, Any]:
        """Moments."""
        return {"beta_1": self.beta_1, "beta_2": self.beta_2}


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": Sgd,
    "adam": Adam,
    "adamw": AdamW,
    "nadam": Nadam,
    "lamb": Lamb,
    "adamax": Adamax,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "lion": Lion,
}


def loss_scaled(optimizer: "keras.optimizers.Optimizer", precision: str) -> "keras.optimizers.Optimizer":
    """The optimizer with loss scaling if float16 needs it: small gradients would become 0."""
    import keras

    if precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
