"""What a machine has, and whether TensorFlow can use it."""

import subprocess

import pytest

from cnntrain.errors import ConfigError
from cnntrain.runtime import backend, gpu_probe, machine


@pytest.fixture
def two_cards(tmp_path, monkeypatch):
    """A driver that lists two GPUs."""
    program = tmp_path / "nvidia-smi"
    lines = [f"GPU {number}: NVIDIA T{number} (UUID: GPU-{number})" for number in range(2)]
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    program.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(program))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine.listed_cards.cache_clear()
    yield
    machine.listed_cards.cache_clear()


def test_cores_are_shared_out_and_all_are_used():
    assert [machine.share_of([0, 1, 2, 5, 7], number, 2) for number in range(2)] == [[0, 1], [2, 5, 7]]
    assert [machine.share_of([4], number, 2) for number in range(2)] == [[4], [4]]


@pytest.mark.parametrize(("visible", "cards"), [(None, ["0", "1"]), ("1", ["1"]), ("", []), ("-1", [])])
def test_gpus_are_those_that_the_driver_lists_and_the_environment_allows(two_cards, monkeypatch, visible, cards):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.graphics_cards() == cards
    assert machine.graphics_cards_in_words() == "NVIDIA T0, NVIDIA T1"


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("import sys; sys.exit('no kernel image is available')", "no kernel image is available"),
        ("import os; os.abort()", "ended with code -6"),
        ("import time; time.sleep(60)", "took over 0.5 seconds"),
    ],
)
def test_a_gpu_that_can_not_compute_is_said_with_what_to_do(two_cards, monkeypatch, program, text):
    monkeypatch.setattr(gpu_probe, "PROGRAM", program)
    monkeypatch.setattr(gpu_probe, "SECONDS", 0.5 if "sleep" in program else 60)
    with pytest.raises(ConfigError, match="can't compute on NVIDIA T0, NVIDIA T1") as caught:
        gpu_probe.check()
    assert text in str(caught.value)
    assert "devices=cpu" in str(caught.value)


def test_gpus_that_compute_are_tried_once(two_cards, monkeypatch):
    monkeypatch.setattr(gpu_probe, "PROGRAM", "pass")
    gpu_probe.check()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("tried again"))
    gpu_probe.check()


def test_without_gpus_nothing_is_tried(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("tried"))
    gpu_probe.check()


@pytest.mark.parametrize(("flags", "precision"), [({"avx512_bf16"}, "mixed_bfloat16"), ({"avx2"}, "float32")])
def test_auto_precision_is_what_the_processor_computes_fast(monkeypatch, flags, precision):
    monkeypatch.setattr(backend, "processor_flags", lambda: flags)
    assert backend.fastest_precision() == precision


def test_xla_is_on_where_it_is_asked_for_and_off_on_a_cpu_by_itself(monkeypatch):
    assert backend.compiles("xla")
    assert not backend.compiles("auto")
    assert not backend.compiles("off")
    monkeypatch.setattr(backend.ranks, "world", lambda: 2)
    with pytest.raises(ConfigError, match="XLA can't compile what several processes exchange"):
        backend.compiles("xla")
