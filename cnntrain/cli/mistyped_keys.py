"""Keys that no configuration has are answered before Hydra and YAML load, which takes longer than all the rest."""

import json
import re
from collections.abc import Iterator
from typing import Any

from cnntrain.cli.overrides import OVERRIDE, Request, group_names, options, wrong_options
from cnntrain.did_you_mean import nearest, unknown_key
from cnntrain.experiment import CHOICES, Experiment, every_key
from cnntrain.settings import convert, fields_of, join, settings_of

NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?(e-?\d+)?")
WORD = re.compile(r"[A-Za-z]\w*")
NOT_TEXT = ("true", "false", "null", "none", "yes", "no", "on", "off", "nan", "inf")  # in any case


def problems_with_keys(request: Request) -> list[str]:
    """All that is wrong with a command line on which some key is, and near to one that there is; else nothing.

    Whatever needs a composed configuration to be judged is left out: it is judged when the keys are right.
    """
    groups = {group: options(request.folders, group) for group in group_names(request.folders)}
    of_groups: list[str] = []
    keys: list[tuple[str, Any]] = []
    for text in request.overrides:
        match = OVERRIDE.fullmatch(text)
        if match is None or match["sign"].startswith("~"):
            continue
        key, value = match["key"].strip().partition("@")[0], match["value"]
        if key in groups:
            of_groups += wrong_options(key, value, groups[key], multirun=request.multirun)
        elif key.partition(".")[0] != "hydra" and "/" not in key and "_target_" not in key:
            keys.append((key, plain(value)))
    if not any(is_mistyped(key) for key, _ in keys):
        return []
    top = list(fields_of(Experiment))
    keys.sort(key=lambda pair: top.index(name) if (name := pair[0].partition(".")[0]) in top else -1)
    return [*of_groups, *(text for key, value in keys for text in problems_with(key, value))]


def plain(value: str | None) -> Any:
    """A number or word as Hydra reads it; `...` for what only Hydra can read."""
    if value is None:
        return ...
    if NUMBER.fullmatch(value):
        return json.loads(value)
    return value if WORD.fullmatch(value) and value.lower() not in NOT_TEXT else ...


def is_mistyped(key: str) -> bool:
    """Whether there is no such key, but one that it may have meant."""
    if list(annotations_of(key)):
        return False
    return "did you mean" in text_for(key, None) or nearest(key, siblings(key)) is not None


def problems_with(key: str, value: Any) -> list[str]:
    """What is wrong with one override."""
    annotations = list(annotations_of(key))
    if not annotations:
        return [text_for(key, value)]
    if value is ...:
        return []
    outcomes = [[] if annotation is Any else convert(annotation, value, key)[1] for annotation in annotations]
    return outcomes[0] if all(outcomes) else []


def text_for(key: str, value: Any) -> str:
    """The text for a key that does not exist."""
    return unknown_key(key, value, siblings(key), guesses=[] if "." in key else every_key())


def siblings(key: str) -> list[str]:
    """The full keys that there are beside a key."""
    parent = key.rpartition(".")[0]
    levels = levels_of(parent.split(".") if parent else [])
    names = dict.fromkeys(name for level in levels if level is not None for name in fields_of(level))
    return [join(parent, name) for name in names]


def annotations_of(key: str) -> Iterator[Any]:
    """The annotations that a full key may have, one for each class of its group that has it."""
    *path, last = key.split(".")
    for level in levels_of(path):
        if level is None:
            yield Any
        elif last in fields_of(level):
            yield fields_of(level)[last]


def levels_of(path: list[str]) -> list[Any]:
    """The dataclasses that a path of names may stand for; None for what takes any name."""
    levels: list[Any] = [Experiment]
    for name in path:
        levels = [cls for level in levels for cls in classes_below(level, name)]
    return levels


def classes_below(level: Any, name: str) -> list[Any]:
    """The dataclasses that a name below one may stand for; None for a mapping of names, or what nothing here knows."""
    if level is None:
        return [None]
    if level is Experiment and name in CHOICES:
        return list(CHOICES[name][1].values())
    annotation = fields_of(level).get(name)
    found = settings_of(annotation)
    return [found] if found is not None else ([None] if annotation is not None else [])
