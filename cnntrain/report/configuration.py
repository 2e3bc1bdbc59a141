"""A configuration as keys and values, told apart from the defaults, and from that of other runs."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnntrain.experiment import Experiment
from cnntrain.settings import to_mapping


@dataclass(frozen=True)
class Setting:
    """A key's full name, its value, and its default; `required` where it has none."""

    key: str
    value: str
    default: str
    differs: bool


def settings_of(experiment: Experiment) -> list[Setting]:
    """All settings, first those that differ from the defaults of their dataclasses."""
    found = list(walk(experiment, "", None))
    return [item for item in found if item.differs] + [item for item in found if not item.differs]


def walk(settings: Any, prefix: str, default: Any) -> Iterator[Setting]:
    """The settings of a dataclass, or of a mapping of them, in order; `default` is what they would be."""
    if dataclasses.is_dataclass(settings):
        for field in dataclasses.fields(settings):
            yield from walk(getattr(settings, field.name), f"{prefix}.{field.name}".lstrip("."), default_of(field))
    elif isinstance(settings, Mapping) and any(map(dataclasses.is_dataclass, settings.values())):
        for name, value in settings.items():
            yield from walk(value, f"{prefix}.{name}", None)
    else:
        required = default is dataclasses.MISSING
        shown = "required" if required else text_of(default)
        yield Setting(prefix, text_of(settings), shown, required or to_mapping(settings) != to_mapping(default))


def default_of(field: "dataclasses.Field[Any]") -> Any:
    """What a field is when it is left out; MISSING where it can't be."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def text_of(value: Any) -> str:
    """A value as YAML writes it."""
    import yaml

    text = yaml.safe_dump(to_mapping(value), default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def differences(experiments: Sequence[Experiment]) -> dict[str, list[str]]:
    """The keys whose values differ among experiments, with each one's value; empty where it has no such key."""
    flat = [{item.key: item.value for item in walk(experiment, "", None)} for experiment in experiments]
    keys = dict.fromkeys(key for values in flat for key in values)
    columns = {key: [values.get(key, "") for values in flat] for key in keys}
    return {key: column for key, column in columns.items() if len(set(column)) > 1}
