"""What a machine has, without loading TensorFlow: cores and GPUs."""

import contextlib
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path


def usable_cores() -> set[int]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def processor_flags() -> set[str]:
    """The instruction sets that Linux names; none elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    flags = [line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))]
    return set(flags[0]) if flags else set()


def share_of(cores: Sequence[int], number: int, of: int) -> list[int]:
    """The cores of one of several processes; if there are too few, some share one."""
    first, past = len(cores) * number // of, len(cores) * (number + 1) // of
    return list(cores[first:past]) or [cores[number % len(cores)]]


@contextlib.contextmanager
def on_cores(cores: Sequence[int]) -> Iterator[None]:
    """Processes that are started inside the block use these cores only, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = usable_cores()
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def graphics_cards() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return list(installed_cards())
    chosen = [name.strip() for name in visible.split(",")]
    return [] if chosen[0] in ("", "-1") else chosen


def graphics_cards_in_words() -> str:
    """The names of the installed GPUs."""
    names = [line.partition(":")[2].partition("(UUID")[0].strip() for line in listed_cards()]
    return ", ".join(names) or "the GPUs that CUDA_VISIBLE_DEVICES names"


def installed_cards() -> tuple[str, ...]:
    """The numbers of the NVIDIA GPUs that the driver lists."""
    return tuple(str(number) for number in range(len(listed_cards())))


@functools.cache
def listed_cards() -> tuple[str, ...]:
    """The driver's line for each NVIDIA GPU."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line for line in listed.stdout.splitlines() if line.startswith("GPU "))
