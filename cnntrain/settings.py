"""Typed settings: YAML values become frozen dataclasses, and everything that is wrong is said at once.

A field's annotation is its check. `Annotated[float, Between(0, 1)]` is a number from 0 to 1;
`Literal["a", "b"]` is one of two words. What concerns several fields is checked in the dataclass's own
`__post_init__`, which raises ValueError.
"""

import dataclasses
import difflib
import functools
import math
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Between:
    """A number's closed range; None is no bound."""

    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.high is None:
            return f"at least {self.low}"
        return f"from {self.low} to {self.high}"

    def holds(self, value: float) -> bool:
        """Whether the value lies inside."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True)
class Above:
    """A number greater than `low`."""

    low: float

    def __str__(self) -> str:
        return f"greater than {self.low}"

    def holds(self, value: float) -> bool:
        """Whether the value is greater."""
        return value > self.low


Count = Annotated[int, Between(1)]
WholeNumber = Annotated[int, Between(0)]
NonNegative = Annotated[float, Between(0)]
Positive = Annotated[float, Above(0)]
Fraction = Annotated[float, Between(0, 1)]


# what other programs call things, and what says it here
ELSEWHERE = {
    "lr": "optimizer.learning_rate",
    "lr0": "optimizer.learning_rate",
    "wd": "optimizer.weight_decay",
    "opt": "optimizer",
    "bs": "batch_size",
    "batch": "batch_size",
    "epochs": "schedule.phases.all.epochs",
    "num_epochs": "schedule.phases.all.epochs",
    "max_epochs": "schedule.phases.all.epochs",
    "warmup_epochs": "schedule.phases.all.warmup_epochs",
    "patience": "schedule.phases.all.early_stopping_patience",
    "img_size": "model.image_size",
    "imgsz": "model.image_size",
    "input_size": "model.image_size",
    "pretrained": "model.weights=imagenet",
    "weights": "model.weights",
    "dropout": "model.dropout",
    "amp": "precision=mixed_bfloat16",
    "fp16": "precision=mixed_float16",
    "half": "precision=mixed_float16",
    "workers": "parallel_calls",
    "num_workers": "parallel_calls",
    "output_dir": "hydra.run.dir",
    "save_dir": "hydra.run.dir",
}
ELSEWHERE_ANSWERS = {
    "num_classes": "the number of classes comes from the data; leave it out",
    "device": "TensorFlow's first GPU is used, or else the CPU; CUDA_VISIBLE_DEVICES chooses",
    "resume": "a run that stopped goes on with cnntrain resume RUN",
}


class Mismatch(Exception):
    """A value does not fit its annotation; the text says what was expected."""


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The valid name that a mistyped one most likely means."""
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return found[0] if found else None


def unknown(what: str, name: str, names: Iterable[str], *, guesses: Iterable[str] = ()) -> str:
    """The text for a name that does not exist, with the nearest one or else with all of them.

    `guesses` are further names to offer where one is near.
    """
    valid = sorted(names)
    guess = nearest(name, [*valid, *guesses])
    hint = f"did you mean {guess}?" if guess else f"valid: {', '.join(valid) or 'none'}"
    return f"{what}: {hint}"


def unknown_key(key: str, value: object, keys: Iterable[str], *, guesses: Iterable[str] = ()) -> str:
    """The text for a full key that does not exist, with what other programs mean by it, or else the nearest one."""
    what, name = f"{key}: no such key", key.rpartition(".")[2]
    if name in ELSEWHERE_ANSWERS:
        return f"{what}: {ELSEWHERE_ANSWERS[name]}"
    if name not in ELSEWHERE:
        return unknown(what, key, keys, guesses=guesses)
    target = ELSEWHERE[name]
    if target == "model.image_size" and isinstance(value, int):
        value = [value, value]
    if "=" not in target and isinstance(value, int | float | str | list):
        target = f"{target}={value}".replace(" ", "")
    return f"{what}: did you mean {target}?"


def read(cls: type[Settings], values: object, key: str) -> tuple[Settings | None, list[str]]:
    """Builds `cls` from a mapping that a YAML file gave.

    Returns the dataclass, or None, and a text for each problem. `key` is the mapping's full key.
    """
    if not isinstance(values, Mapping):
        return None, [f"{key}: expected a mapping of keys; received {values!r}"]
    annotations = fields_of(cls)  # type: ignore[arg-type]
    problems = [
        unknown_key(join(key, name), value, (join(key, known) for known in annotations))
        for name, value in values.items()
        if name not in annotations
    ]
    converted: dict[str, Any] = {}
    for name, annotation in annotations.items():
        if name in values:
            value, found = convert(annotation, values[name], join(key, name))
            problems += found
            converted[name] = value
        elif not has_default(cls, name):
            problems.append(f"{join(key, name)}: is missing; expected {describe(annotation)}")
    if problems:
        return None, problems
    try:
        return cls(**converted), []
    except ValueError as error:
        lines = str(error).splitlines()
        own = [re.split("[:.]", line)[0] in annotations for line in lines]  # the line begins with a key of the class
        return None, [join(key, line) if mine else f"{key}: {line}" for mine, line in zip(own, lines, strict=True)]


def convert(annotation: Any, value: object, key: str) -> tuple[Any, list[str]]:
    """The value as its annotation wants it, and the problems found on the way."""
    if dataclasses.is_dataclass(annotation):
        return read(typing.cast(type, annotation), value, key)
    if settings := optional_settings(annotation):
        return (None, []) if value is None else read(settings, value, key)
    if typing.get_origin(annotation) is Mapping:
        return convert_mapping(annotation, value, key)
    try:
        return convert_plain(annotation, value), []
    except Mismatch:
        guess = nearest(value, words_of(annotation)) if isinstance(value, str) else None
        hint = f"; did you mean {guess}?" if guess else ""
        if isinstance(value, int) and not mismatched(annotation, [value, value]):
            hint = f"; did you mean [{value},{value}]?"
        if isinstance(value, str) and "," in value:
            hint += "; several values need -m"
        return None, [f"{key}: expected {describe(annotation)}; received {value!r}{hint}"]


def mismatched(annotation: Any, value: object) -> bool:
    """Whether a value does not fit."""
    try:
        convert_plain(annotation, value)
    except Mismatch:
        return True
    return False


def optional_settings(annotation: Any) -> type | None:
    """The dataclass of an annotation that takes one or null."""
    arguments = typing.get_args(annotation)
    found = [argument for argument in arguments if dataclasses.is_dataclass(argument)]
    return typing.cast(type, found[0]) if len(arguments) == 2 and type(None) in arguments and found else None


def words_of(annotation: Any) -> list[str]:
    """The words that an annotation takes, among other things."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return [str(argument) for argument in arguments]
    return [word for argument in arguments for word in words_of(argument)]


def convert_mapping(annotation: Any, value: object, key: str) -> tuple[dict[str, Any], list[str]]:
    """A mapping from names to values of one kind."""
    if not isinstance(value, Mapping):
        return {}, [f"{key}: expected a mapping of names; received {value!r}"]
    problems: list[str] = []
    converted = {}
    for name, item in value.items():
        converted[str(name)], found = convert(typing.get_args(annotation)[1], item, join(key, str(name)))
        problems += found
    return converted, problems


def convert_plain(annotation: Any, value: object) -> Any:
    """A scalar, a tuple, or one of several; raises Mismatch."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        converted = convert_plain(arguments[0], value)
        if not all(check.holds(converted) for check in arguments[1:]):
            raise Mismatch
        return converted
    if origin in (types.UnionType, typing.Union):
        return first_match(arguments, value)
    if origin is typing.Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
        raise Mismatch
    if origin is tuple:
        return convert_tuple(arguments, value)
    if origin is Mapping:
        converted, problems = convert_mapping(annotation, value, "")
        if problems:
            raise Mismatch
        return converted
    return convert_scalar(annotation, value)


def first_match(annotations: tuple[Any, ...], value: object) -> Any:
    """The value as the first annotation that takes it."""
    for annotation in annotations:
        if annotation is str and not isinstance(value, str):
            continue  # a number that fits none of the others is no text
        try:
            return convert_plain(annotation, value)
        except Mismatch:
            continue
    raise Mismatch


def convert_tuple(annotations: tuple[Any, ...], value: object) -> tuple[Any, ...]:
    """A list from YAML as a tuple of the wanted kinds."""
    if not isinstance(value, list | tuple):
        raise Mismatch
    if len(annotations) == 2 and annotations[1] is Ellipsis:
        annotations = (annotations[0],) * len(value)
    if len(value) != len(annotations):
        raise Mismatch
    return tuple(convert_plain(annotation, item) for annotation, item in zip(annotations, value, strict=True))


def convert_scalar(annotation: Any, value: object) -> Any:
    """A number, text, path, truth value or None."""
    if annotation in (None, type(None)):
        if value is None:
            return None
    elif annotation is bool or annotation is dict:
        if isinstance(value, annotation):
            return value
    elif annotation is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif annotation is float:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    elif annotation in (str, Path):
        if isinstance(value, str | int | float | Path) and not isinstance(value, bool):
            return annotation(value)
    else:
        raise TypeError(f"no conversion for a field of type {annotation!r}")
    raise Mismatch


def describe(annotation: Any) -> str:
    """What an annotation takes, in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return " ".join([describe(arguments[0]), *map(str, arguments[1:])])
    if origin in (types.UnionType, typing.Union):
        return " or ".join(describe(argument) for argument in arguments)
    if origin is typing.Literal:
        return " or ".join(str(argument) for argument in arguments)
    if origin is tuple:
        inside = [describe(argument) for argument in arguments if argument is not Ellipsis]
        return f"a list of {' and '.join(dict.fromkeys(inside))}"
    if origin is Mapping or dataclasses.is_dataclass(annotation):
        return "a mapping"
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Path: "a path"}
    return "null" if annotation in (None, type(None)) else names[annotation]


@functools.cache
def fields_of(cls: type) -> dict[str, Any]:
    """The annotations of a dataclass's fields, by name and in order."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def has_default(cls: type, name: str) -> bool:
    """Whether a field may be left out."""
    field = cls.__dataclass_fields__[name]  # type: ignore[attr-defined]
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def join(key: str, name: object) -> str:
    """The full key of a name inside a group."""
    return f"{key}.{name}" if key else str(name)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The full keys and values of nested mappings."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def to_mapping(settings: object) -> Any:
    """A settings dataclass as plain values that YAML and JSON can hold."""
    if dataclasses.is_dataclass(settings):
        return {field.name: to_mapping(getattr(settings, field.name)) for field in dataclasses.fields(settings)}
    if isinstance(settings, Mapping):
        return {name: to_mapping(value) for name, value in settings.items()}
    if isinstance(settings, tuple | list):
        return [to_mapping(value) for value in settings]
    return str(settings) if isinstance(settings, Path) else settings
