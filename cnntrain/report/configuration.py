"""A configuration as keys and values, compared with the defaults and with other runs."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnntrain.experiment import Experiment
from cnntrain.settings import to_mapping


@dataclass(frozen=True)
class Setting:
    """A key's full name, its value, and its default; `required` if it has no default."""

    key: str
    value: str
    default: str
    differs: bool


def settings_of(experiment: Experiment) -> list[Setting]:
    """All settings, starting with those that differ from their dataclasses' defaults."""
    found = list(walk(experiment, "", None))
    return [item for item in found if item.differs] + [item for item in found if not item.differs]


def walk(settings: Any, prefix: str, default: Any) -> Iterator[Setting]:
    """The settings in a dataclass, or in a mapping of dataclasses, in order; `default` is their default."""
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
    """The default of a field; MISSING if it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def text_of(value: Any) -> str:
    """A value as written in YAML."""
    import yaml

    text = yaml.safe_dump(to_mapping(value), default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def differences(experiments: Sequence[Experiment]) -> dict[str, list[str]]:
    """The keys whose values differ among experiments, with each one's value; empty if it has no such key."""
    flat = [{item.key: item.value for item in walk(experiment, "", None)} for experiment in experiments]
    keys = dict.fromkeys(key for values in flat for key in values)
    columns = {key: [values.get(key, "") for values in flat] for key in keys}
    return {key: column for key, column in columns.items() if len(set(column)) > 1}
