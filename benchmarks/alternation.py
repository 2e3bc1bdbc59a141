"""Contestants of a benchmark: each a process of its own that waits for its turn.

So all see the same machine in the same minutes, whatever Python each of them needs.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable


def serve(work: Callable[[], int]) -> None:
    """A contestant's process: warm up, then work once for each line on standard input.

    `work` returns how many images it went through.
    """
    work()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        images = work()
        print(images / (time.perf_counter() - start), flush=True)


def compare(commands: dict[str, list[str]], *, rounds: int) -> dict[str, float]:
    """Images a second of each contestant (by name, the command that serves it): the median of its rounds."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    workers = {}
    for name, command in commands.items():
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        workers[name] = subprocess.Popen(command, text=True, env=environment, **pipes)
        if workers[name].stdout.readline() != "ready\n":
            sys.exit(f"{name}: its process failed; try {' '.join(command)}")
    rates: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, worker in workers.items():
            worker.stdin.write("go\n")
            worker.stdin.flush()
            rates[name].append(float(worker.stdout.readline()))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return {name: statistics.median(values) for name, values in rates.items()}


def show(rates: dict[str, float], *, against: str) -> None:
    """A line for each contestant, with its ratio to one of them."""
    for name, rate in rates.items():
        digits = 0 if rate >= 100 else 1
        print(f"  {name:<28}{rate:>9,.{digits}f} images/s  {rate / rates[against]:5.2f} × {against}", flush=True)
