"""YAML values become typed settings, and all that is wrong is said at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from cnntrain.did_you_mean import ELSEWHERE, ELSEWHERE_ANSWERS, nearest
from cnntrain.experiment import every_key
from cnntrain.optimization.schedule import Phase
from cnntrain.settings import Count, Fraction, Positive, fields_of, read, to_mapping


@dataclass(frozen=True, kw_only=True)
class Inner:
    share: Fraction = 0.5

    def __post_init__(self) -> None:
        if self.share == 0.25:
            raise ValueError("share: a quarter is not allowed")


@dataclass(frozen=True, kw_only=True)
class Outer:
    count: Count
    rate: Positive = 1.0
    kind: Literal["left", "right"] = "left"
    size: tuple[Count, Count] | None = None
    path: Path | None = None
    weights: Literal["balanced"] | Mapping[str, float] | None = None
    inner: Inner = field(default_factory=Inner)
    named: Mapping[str, Inner] = field(default_factory=dict)


def test_values_take_the_kinds_that_their_annotations_name():
    values = {"count": 3, "rate": 2, "size": [4, 5], "path": "a b", "named": {"x": {"share": 1}}, "weights": {"a": 2}}
    built, problems = read(Outer, values, "")
    assert problems == []
    assert built == Outer(
        count=3, rate=2.0, size=(4, 5), path=Path("a b"), named={"x": Inner(share=1.0)}, weights={"a": 2.0}
    )


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "g.count: is missing; expected a whole number at least 1"),
        ({"count": 0}, "g.count: expected a whole number at least 1; received 0"),
        ({"count": True}, "g.count: expected a whole number at least 1; received True"),
        ({"count": 1.5}, "g.count: expected a whole number at least 1; received 1.5"),
        ({"count": 1, "rate": "fast"}, "g.rate: expected a number greater than 0; received 'fast'"),
        ({"count": 1, "rate": float("nan")}, "g.rate: expected a number greater than 0; received nan"),
        ({"count": 1, "kind": "lefd"}, "g.kind: expected left or right; received 'lefd'; did you mean left?"),
        ({"count": 1, "size": [1]}, "g.size: expected a list of a whole number at least 1 or null; received [1]"),
        ({"count": 1, "weights": {"a": "b"}}, "g.weights: expected balanced or a mapping or null; received {'a': 'b'}"),
        ({"count": 1, "cout": 2}, "g.cout: no such key: did you mean g.count?"),
        ({"count": 1, "inner": {"share": 2}}, "g.inner.share: expected a number from 0 to 1; received 2"),
        ({"count": 1, "inner": {"share": 0.25}}, "g.inner.share: a quarter is not allowed"),
        ({"count": 1, "named": {"x": 3}}, "g.named.x: expected a mapping of keys; received 3"),
        ([], "g: expected a mapping of keys; received []"),
    ],
)
def test_a_mistake_says_where_what_was_expected_and_what_came(values, text):
    assert read(Outer, values, "g") == (None, [text])


def test_all_mistakes_are_said_at_once():
    _, problems = read(Outer, {"count": 0, "rate": -1, "kind": "up", "foo": 1}, "")
    assert len(problems) == 4


def test_settings_survive_the_way_to_plain_values_and_back():
    outer = Outer(count=2, size=(3, 4), path=Path("x"), named={"y": Inner(share=0.1)}, weights={"a": 1.0})
    assert read(Outer, to_mapping(outer), "") == (outer, [])


def test_the_nearest_name_is_found_or_none():
    assert nearest("lenet", ["lenet5", "resnet34"]) == "lenet5"
    assert nearest("zzz", ["lenet5", "resnet34"]) is None


def test_what_other_programs_call_things_leads_to_keys_that_there_are():
    known = {*every_key(), "hydra.run.dir"} | {f"schedule.phases.all.{name}" for name in fields_of(Phase)}
    assert {target.partition("=")[0] for target in ELSEWHERE.values()} <= known
    assert not {*ELSEWHERE, *ELSEWHERE_ANSWERS} & known
