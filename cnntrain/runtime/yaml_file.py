"""YAML files that may come from anywhere: data only, and no small file that expands into a huge one."""

from pathlib import Path
from typing import Any

MOST_VALUES = 100_000


class Bomb(ValueError):
    """A small file that expands into a huge one."""


def read_yaml(path: Path) -> Any:
    """A YAML file's content as dicts, lists and plain values; raises ValueError with what is wrong, or Bomb."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: can't be read as YAML: {' '.join(str(error).split())}") from error
    if (count := values_in(content, {})) > MOST_VALUES:
        raise Bomb(f"{path}: its aliases stand for {count:,} values; it is taken for a bomb")
    return content


def values_in(content: Any, known: dict[int, int]) -> int:
    """The number of values, counting shared ones every time they occur; `known` is by identity."""
    if not isinstance(content, dict | list):
        return 1
    if id(content) not in known:
        known[id(content)] = MOST_VALUES  # for values that contain themselves
        items = content.values() if isinstance(content, dict) else content
        known[id(content)] = 1 + sum(values_in(item, known) for item in items)
    return known[id(content)]
