"""Where a run's time went: shares, speeds, and which part is named as the bottleneck."""

import types

import pytest

from cnntrain.cli.main import only_experiment
from cnntrain.report.times import parts_of, phase_times, verdict

ROW = {"phase": "all", "seconds": 10.0, "images_per_second": 50.0}
COLUMNS = {"input_seconds": 4.0, "validation_seconds": 2.0, "features_seconds": 0.0, "saving_seconds": 0.5}
FILES = ["data=folder", "data.path=photos"]


def run_of(rows, *words, validation=100):
    """What of a run matters here."""
    record = {"class_counts": {"validation": [validation // 2, validation - validation // 2]}}
    return types.SimpleNamespace(history=rows, record=record, experiment=only_experiment(list(words)))


def test_parts_add_up_and_speeds_are_those_of_their_images():
    (found,) = phase_times(run_of([{**ROW, **COLUMNS}] * 2))
    parts = {part.name: part for part in found.parts}
    assert {name: part.seconds for name, part in parts.items()} == {
        "steps": 12.0, "waiting for input": 8.0, "validation": 4.0, "saving": 1.0
    }  # fmt: skip
    assert sum(part.share for part in found.parts) == pytest.approx(1)
    assert parts["steps"].images_per_second == pytest.approx(1000 / 12)
    assert parts["validation"].images_per_second == pytest.approx(200 / 4)
    assert parts["saving"].images_per_second is None


def test_phases_are_told_apart_and_the_first_epoch_of_one_is_not_judged():
    slow_start = {**ROW, **COLUMNS, "seconds": 100.0, "input_seconds": 1.0}
    head, rest = phase_times(run_of([slow_start, {**ROW, **COLUMNS}, {**ROW, **COLUMNS, "phase": "rest"}]))
    assert (head.phase, head.epochs, head.first_epoch, head.later_epochs) == ("all", 2, 100.0, 10.0)
    assert "40 %" in head.verdict
    assert (rest.phase, rest.later_epochs) == ("rest", None)


def test_limited_validation_counts_the_images_that_were_seen():
    (found,) = phase_times(run_of([{**ROW, **COLUMNS}], "limits.steps=2", "batch_size=8"))
    assert next(part.images_per_second for part in found.parts if part.name == "validation") == 8.0


def test_the_history_of_an_older_version_tells_training_only():
    (found,) = phase_times(run_of([ROW, {**ROW, **COLUMNS}]))
    assert [(part.name, part.seconds, part.share) for part in found.parts] == [("training", 20.0, 1.0)]
    assert found.verdict == ""


@pytest.mark.parametrize(
    ("seconds", "words", "expected"),
    [
        ({}, FILES, ["the input", "40 %", "data.cache_decoded=true", "data.decoding=reduced", "cnntrain bench"]),
        ({}, ["data=digits", "parallel_calls=1"], ["the input", "a larger parallel_calls"]),
        ({"input_seconds": 1.0}, [], ["the network", "10 %", "precision=mixed_bfloat16"]),
        ({"validation_seconds": 11.0}, [], ["beside training", "validation", "data.validation"]),
        ({"features_seconds": 11.0}, [], ["frozen layers", "feature_cache.where=disk"]),
        ({"saving_seconds": 11.0}, [], ["saving", "checkpoint.every_minutes"]),
    ],
)
def test_the_bottleneck_is_named_with_a_remedy(seconds, words, expected):
    said = verdict(parts_of([{**ROW, **COLUMNS, **seconds}]), "all", only_experiment(words))
    assert all(text in said for text in expected), said


def test_what_does_not_apply_is_not_advised():
    parts = parts_of([{**ROW, **COLUMNS}])
    assert "cache_decoded" not in verdict(parts, "all", only_experiment([*FILES, "data.cache_decoded=true"]))
    assert "data.decoding" not in verdict(parts, "all", only_experiment(["data=digits"]))
