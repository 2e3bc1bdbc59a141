"""Typed settings: YAML values become frozen dataclasses, and everything that is wrong is said at once.

A field's annotation is its check. `Annotated[float, Interval(ge=0, le=1)]` is a number from 0 to 1;
`Literal["a", "b"]` is one of two words. What concerns several fields is checked in the dataclass's own
`__post_init__`, which raises ValueError. pydantic does the checking; its errors are told here in our words.
"""

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Interval

from cnntrain.did_you_mean import nearest, unknown_key

if TYPE_CHECKING:  # it takes too long to load for --help and for a mistyped key
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class NumbersToo:
    """Marks text that YAML reads as a number where it looks like one, such as a folder named 2024."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(as_text, handler(source))


def as_text(value: object) -> object:
    """A number as text; everything else as it is."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Count = Annotated[int, Ge(1)]
WholeNumber = Annotated[int, Ge(0)]
NonNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Fraction = Annotated[float, Interval(ge=0, le=1)]
Text = Annotated[str, NumbersToo()]
FilePath = Annotated[Path, NumbersToo()]


def read(cls: type[Settings], values: object, key: str) -> tuple[Settings | None, list[str]]:
    """Builds `cls` from a mapping that a YAML file gave.

    Returns the dataclass, or None, and a text for each problem. `key` is the mapping's full key.
    """
    return convert(cls, values, key)


def convert(annotation: Any, values: object, key: str) -> tuple[Any, list[str]]:
    """The values as their annotation wants them, or None, and a text for each problem."""
    from pydantic import ValidationError
    from pydantic_core import to_json

    try:
        return adapter(annotation).validate_json(to_json(json_values(values)), strict=True, extra="forbid"), []
    except ValidationError as error:
        found = error.errors(include_url=False)
        found.sort(key=lambda one: one["type"] != "unexpected_keyword_argument")
        return None, list(dict.fromkeys(text for one in found for text in texts_of(one, annotation, values, key)))


@functools.cache
def adapter(annotation: Any) -> "TypeAdapter[Any]":
    """pydantic's validator of an annotation."""
    from pydantic import TypeAdapter

    return TypeAdapter(annotation)


def json_values(value: object) -> Any:
    """Values of YAML as JSON has them; a number that is not finite becomes text, which no number may be."""
    if isinstance(value, Mapping):
        return {str(name): json_values(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def texts_of(error: "ErrorDetails", annotation: Any, values: Any, key: str) -> Iterator[str]:
    """One of pydantic's errors in our words: the full key, what was expected, and what was received."""
    for name in error["loc"]:  # ends at a value that is one to its user, whatever pydantic finds inside
        level, below = settings_of(annotation), entries_of(annotation)
        if level is not None and error["type"] == "missing" and name not in values:
            yield f"{join(key, name)}: is missing; expected {describe(fields_of(level)[str(name)])}"
            return
        if level is not None and name not in fields_of(level):
            valid = [join(key, known) for known in fields_of(level)]
            yield unknown_key(join(key, name), values[name], valid)
            return
        if level is None and below is None:
            break
        annotation = below if level is None else fields_of(level)[str(name)]
        values, key = {str(entry): value for entry, value in values.items()}[str(name)], join(key, name)
    if settings_of(annotation) is None or error["type"] != "value_error":
        yield mismatch(annotation, values, key)
        return
    known = fields_of(typing.cast(type, settings_of(annotation)))
    for line in str(error["ctx"]["error"]).splitlines():
        own = re.split("[:.]", line)[0] in known  # the line begins with a key of the class
        yield join(key, line) if own else f"{key}: {line}"


def mismatch(annotation: Any, value: object, key: str) -> str:
    """The text for a value that does not fit."""
    if settings_of(annotation) is not None:
        return f"{key}: expected a mapping of keys; received {value!r}"
    if entries_of(annotation) is not None:
        return f"{key}: expected a mapping of names; received {value!r}"
    guess = nearest(value, words_of(annotation)) if isinstance(value, str) else None
    hint = f"; did you mean {guess}?" if guess else ""
    if isinstance(value, int) and not convert(annotation, [value, value], key)[1]:
        hint = f"; did you mean [{value},{value}]?"
    if isinstance(value, str) and "," in value:
        hint += "; several values need -m"
    return f"{key}: expected {describe(annotation)}; received {value!r}{hint}"


def settings_of(annotation: Any) -> type | None:
    """The dataclass that an annotation takes, whether or not it takes null too."""
    if dataclasses.is_dataclass(annotation):
        return typing.cast(type, annotation)
    arguments = typing.get_args(annotation)
    found = [argument for argument in arguments if dataclasses.is_dataclass(argument) and isinstance(argument, type)]
    return typing.cast(type, found[0]) if len(arguments) == 2 and type(None) in arguments and found else None


def entries_of(annotation: Any) -> Any:
    """What a mapping's annotation says of its values; None for all else."""
    return typing.get_args(annotation)[1] if typing.get_origin(annotation) is Mapping else None


def words_of(annotation: Any) -> list[str]:
    """The words that an annotation takes, among other things."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return [str(argument) for argument in arguments]
    return [word for argument in arguments for word in words_of(argument)]


def describe(annotation: Any) -> str:
    """What an annotation takes, in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return " ".join([describe(arguments[0]), *(text for bound in arguments[1:] if (text := describe_bound(bound)))])
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


def describe_bound(bound: object) -> str:
    """A number's range in words; empty for other marks."""
    match bound:
        case Ge(ge=low):
            return f"at least {low}"
        case Gt(gt=low):
            return f"greater than {low}"
        case Interval(gt=None, ge=low, lt=None, le=high):
            return f"from {low} to {high}"
        case Interval(gt=low, ge=None, lt=None, le=high):
            return f"greater than {low} and at most {high}"
        case _:
            return ""


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
