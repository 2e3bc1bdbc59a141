"""YAML files that may come from anywhere: data only, and no small file that stands for a huge one."""

from pathlib import Path
from typing import Any

MOST_VALUES = 100_000


class Bomb(ValueError):
    """A small file that stands for a huge one."""


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, as dicts, lists and plain values; raises ValueError with what is wrong, or Bomb."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: can't be read as YAML: {' '.join(str(error).split())}") from error
    if (count := values_in(content, {})) > MOST_VALUES:
        raise Bomb(f"{path}: its aliases stand for {count:,} values; it is taken for a bomb")
    return content


def values_in(content: Any, known: dict[int, int]) -> int:
    """How many values there are, those that several places share counted at each; `known` by identity."""
    if not isinstance(content, dict | list):
        return 1
    if id(content) not in known:
        known[id(content)] = MOST_VALUES  # for what holds itself
        items = content.values() if isinstance(content, dict) else content
        known[id(content)] = 1 + sum(values_in(item, known) for item in items)
    return known[id(content)]
