"""`cnntrain launch`: one process per device, started, watched and ended together."""

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cnntrain.errors import ConfigError
from cnntrain.runtime import ranks, supervised
from cnntrain.runtime.machine import graphics_cards, on_cores, share_of, usable_cores
from cnntrain.runtime.rendezvous import free_port
from cnntrain.runtime.run_dir import RunDir
from cnntrain.runtime.signals import SIGNALS

if TYPE_CHECKING:
    from cnntrain.experiment import Experiment

LAUNCH = "train on several devices or machines: cnntrain launch --nproc-per-node 2 -- key=value…"
EXAMPLES = """\
one machine, two processes (on GPUs: one each):
  cnntrain launch --nproc-per-node 2 -- model=resnet9 data=cifar10
two machines with four GPUs each; the first one's address is 10.0.0.1, and CNNTRAIN_TOKEN is the same on both:
  cnntrain launch --nnodes 2 --node-rank 0 --rdzv 10.0.0.1:29500 -- model=resnet50 data=folder data.path=photos
  cnntrain launch --nnodes 2 --node-rank 1 --rdzv 10.0.0.1:29500 -- model=resnet50 data=folder data.path=photos
SLURM needs no launcher: srun --ntasks-per-node=4 --gpus-per-task=1 cnntrain model=resnet50 data=folder data.path=photos
"""
PROGRAM = [sys.executable, "-m", "cnntrain"]
POLL_SECONDS = 0.2
GRACE_SECONDS = 60.0  # for saving the state after a signal
TOGETHER_SECONDS = 1.0  # in which ranks fail that fail for the same reason
SHORT_GRACE_SECONDS = 3.0  # after another rank has failed: most wait for it then, and hear nothing
LAST_LINES = 30  # of a failed rank's output that are shown
HOPELESS = (2, 3, 130, 138, 143)  # exit codes after which a restart would end alike, or isn't wanted


@dataclass(frozen=True)
class Nodes:
    """The machines of a launch, and how many processes each starts; `rendezvous`: where rank 0 is met, host:port."""

    processes: int
    count: int = 1
    number: int = 0
    rendezvous: str | None = None

    @property
    def world(self) -> int:
        """The number of ranks on all machines."""
        return self.processes * self.count


@dataclass
class Rank:
    """One process: its number, and the file with its output (None: it prints on the terminal)."""

    number: int
    process: subprocess.Popen
    output: Path | None


@dataclass
class Launch:
    """The ranks of this machine while they run."""

    words: list[str]
    nodes: Nodes
    timeout: float
    folder: Path
    ranks: list[Rank] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)  # signals that came

    def start(self) -> None:
        """Starts all ranks."""
        cores, cards = sorted(usable_cores()), graphics_cards()
        rendezvous = self.nodes.rendezvous or f"127.0.0.1:{free_port()}"
        token = secrets.token_hex(16) if self.nodes.count == 1 else os.environ.get("CNNTRAIN_TOKEN", "")
        common = {"RENDEZVOUS": rendezvous, "TOKEN": token, "STATUS": self.folder, "LAUNCHER": os.getpid()}
        for local in range(self.nodes.processes):
            number = self.nodes.number * self.nodes.processes + local
            place = {"RANK": number, "WORLD": self.nodes.world, "LOCAL_RANK": local}
            named = {**common, **place, "LOCAL_WORLD": self.nodes.processes}
            own = {f"CNNTRAIN_{name}": str(value) for name, value in named.items()}
            if cards:
                own["CUDA_VISIBLE_DEVICES"] = cards[local % len(cards)]
            self.ranks.append(self.started(number, own, share_of(cores, local, self.nodes.processes)))

    def started(self, number: int, own: Mapping[str, str], cores: Sequence[int]) -> Rank:
        """One rank's process, on its cores."""
        output = None if number == 0 else self.folder / f"rank-{number}.log"
        with on_cores(cores), open(output or os.devnull, "ab") as file:
            process = subprocess.Popen(  # noqa: S603 - this program, with the words that the user gave
                [*PROGRAM, *self.words],
                env={**os.environ, **own},
                stdout=file if output else None,
                stderr=file if output else None,
                start_new_session=True,  # the terminal's Ctrl-C comes to us alone
            )
        return Rank(number, process, output)

    def watch(self) -> int:
        """Waits for all ranks; returns the exit code of the first that failed, having ended the others, else 0."""
        progress, since = -1, time.monotonic()
        while True:
            codes = {rank.number: rank.process.poll() for rank in self.ranks}
            failed = [rank for rank in self.ranks if codes[rank.number]]
            if failed and not self.asked:
                return self.failed(failed[0])
            if all(code is not None for code in codes.values()):
                return next((shell_code(code) for code in codes.values() if code), 0)
            if self.asked:
                return self.stop()
            calls = sum(status.calls for status in self.statuses().values())
            if calls != progress:
                progress, since = calls, time.monotonic()
            elif time.monotonic() - since > self.timeout:
                return self.hanging()
            time.sleep(POLL_SECONDS)

    def failed(self, first: Rank) -> int:
        """Ends the other ranks, and says which failed and why, unless rank 0 has said it."""
        code = first.process.returncode
        time.sleep(TOGETHER_SECONDS)
        said = code > 0 and self.ranks[0].process.poll() == code and self.nodes.number == 0
        self.end(signal.SIGTERM, SHORT_GRACE_SECONDS)
        if said:
            return code
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        say(f"rank {first.number} {how}, and so all {self.nodes.world} ranks end")
        if first.output and first.output.exists():
            lines = first.output.read_text(errors="replace").splitlines()
            print("\n".join(lines[-LAST_LINES:]), file=sys.stderr)
        return shell_code(code)

    def stop(self) -> int:
        """Passes a signal on; the ranks save the state."""
        self.end(signal.Signals(self.asked[0]), GRACE_SECONDS)
        codes = [shell_code(rank.process.returncode) for rank in self.ranks]
        expected = 128 + self.asked[0]
        return expected if expected in codes else max(codes)

    def hanging(self) -> int:
        """Names the ranks that hang, and ends all."""
        statuses = self.statuses()
        now, fewest = time.time(), min(status.calls for status in statuses.values())
        silent = [number for number, status in statuses.items() if now - status.beat > 10 * supervised.BEAT_SECONDS]
        behind = [number for number, status in statuses.items() if status.calls == fewest]
        names = ", ".join(map(str, silent or behind))
        say(
            f"no rank has made progress for {self.timeout:g} seconds (--timeout);"
            f" {'not even a sign of life from' if silent else 'furthest behind:'} rank {names}"
        )
        self.end(signal.SIGTERM, SHORT_GRACE_SECONDS)
        return 1

    def end(self, number: signal.Signals, grace: float) -> None:
        """Sends a signal to all ranks, and kills those that are still there after the grace period or a second
        signal."""
        heard = len(self.asked)
        for rank in self.ranks:
            if rank.process.poll() is None:
                rank.process.send_signal(number)
        until = time.monotonic() + grace
        while any(rank.process.poll() is None for rank in self.ranks):
            if time.monotonic() > until or len(self.asked) > heard:
                for rank in self.ranks:
                    rank.process.kill()
            time.sleep(POLL_SECONDS / 4)

    def statuses(self) -> dict[int, supervised.Status]:
        """What each rank last said of itself."""
        return {rank.number: supervised.read(self.folder / f"rank-{rank.number}.json") for rank in self.ranks}

    def run_folder(self) -> Path | None:
        """The folder of the run, once it is there."""
        folders = [status.run_folder for status in self.statuses().values() if status.run_folder]
        return Path(folders[0]) if folders else None

    def keep_output(self) -> None:
        """Moves the ranks' output into the run's folder."""
        folder = self.run_folder()
        for rank in self.ranks:
            if folder and folder.is_dir() and rank.output and rank.output.stat().st_size:
                with open(rank.output, "rb") as source, open(folder / rank.output.name, "ab") as target:
                    shutil.copyfileobj(source, target)


def launch(words: list[str]) -> int:
    """`cnntrain launch [flags] -- key=value…`."""
    parser = argparse.ArgumentParser(
        "cnntrain launch", description=LAUNCH, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nproc-per-node", type=int, metavar="N", help="processes here (default: one per GPU, or one)")
    parser.add_argument("--nnodes", type=int, default=1, metavar="M", help="machines (default: 1)")
    parser.add_argument("--node-rank", type=int, default=0, metavar="R", help="this machine's number, from 0")
    parser.add_argument("--rdzv", metavar="HOST:PORT", help="where machine 0 can be reached, with several machines")
    parser.add_argument("--max-restarts", type=int, default=0, metavar="K", help="after a failure, resume so often")
    parser.add_argument(
        "--timeout", type=float, default=1800.0, metavar="SECONDS",
        help="end if no rank makes progress for so long (default: 1800)",
    )  # fmt: skip
    ours, theirs = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    options, others = parser.parse_known_args(ours)
    if others:
        parser.error(f"{others[0]}: expected -- before what is trained: cnntrain launch … -- {' '.join(others)}")
    nodes = checked_nodes(options)
    return run(theirs, nodes, timeout=options.timeout, restarts=options.max_restarts)


def checked_nodes(options: argparse.Namespace) -> Nodes:
    """The machines that the flags describe; raises ConfigError."""
    processes = options.nproc_per_node if options.nproc_per_node is not None else max(1, len(graphics_cards()))
    problems = []
    for flag, number, least in (("nproc-per-node", processes, 1), ("nnodes", options.nnodes, 1)):
        if number < least:
            problems.append(f"--{flag}: expected at least {least}; received {number}")
    if not 0 <= options.node_rank < max(options.nnodes, 1):
        problems.append(f"--node-rank: expected 0 to {options.nnodes - 1}; received {options.node_rank}")
    if options.nnodes > 1 and not options.rdzv:
        problems.append("--rdzv: several machines need HOST:PORT, where machine 0 can be reached")
    if options.rdzv and not options.rdzv.rpartition(":")[2].isdigit():
        problems.append(f"--rdzv: expected HOST:PORT; received {options.rdzv}")
    cards = graphics_cards()
    if cards and processes > len(cards):
        problems.append(f"--nproc-per-node: this machine has {len(cards)} GPUs; received {processes}")
    if not cards and processes > len(usable_cores()):
        problems.append(f"--nproc-per-node: this process may use {len(usable_cores())} cores; received {processes}")
    if problems:
        raise ConfigError(*problems)
    return Nodes(processes, options.nnodes, options.node_rank, options.rdzv)


def needed(experiments: "Sequence[Experiment]", words: list[str]) -> int | None:
    """Runs a command in one process per device if its experiments ask for several; returns the exit code.

    None: the command is to be run in this process, which then sees the devices that it may use. Raises ConfigError.
    """
    asked = {experiment.devices for experiment in experiments}
    if len(asked) > 1:
        raise ConfigError("devices: all jobs of a multirun need the same; leave it out of the sweep")
    devices, cards = asked.pop(), graphics_cards()
    if ranks.place():
        return None
    if devices == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        return None
    count = max(1, len(cards)) if devices == "auto" else devices
    if cards and count > len(cards):
        raise ConfigError(f"devices: this machine has {len(cards)} GPUs; received {count}")
    if count > max(len(cards), len(usable_cores())):
        raise ConfigError(f"devices: this process may use {len(usable_cores())} cores; received {count}")
    if count == 1:
        os.environ.update({"CUDA_VISIBLE_DEVICES": cards[0]} if cards else {})
        return None
    return run(words, Nodes(count))


def run(words: list[str], nodes: Nodes, *, timeout: float = 1800.0, restarts: int = 0) -> int:
    """Runs a command in all ranks; resumes its run after a failure, `restarts` times at most. Returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="cnntrain-launch-") as folder:
        for attempt in range(restarts + 1):
            own = Path(folder) / str(attempt)
            own.mkdir()
            launched = Launch(words, nodes, timeout, own)
            code = run_once(launched)
            if code == 0 or code in HOPELESS or attempt == restarts:
                return code
            run_folder = launched.run_folder()
            if run_folder and RunDir(run_folder).config.exists():
                words = ["resume", str(run_folder)]
            say(f"restart {attempt + 1} of {restarts}: cnntrain {' '.join(words)}")
    return code


def run_once(launched: Launch) -> int:
    """Starts the ranks and waits; signals are passed on."""
    before = {
        number: signal.signal(number, lambda number, _: launched.asked.append(number))
        for number in SIGNALS
    }
    try:
        launched.start()
        return launched.watch()
    finally:
        for rank in launched.ranks:
            if rank.process.poll() is None:
                rank.process.kill()
                rank.process.wait()
        launched.keep_output()
        for number, handler in before.items():
            signal.signal(number, handler)


def shell_code(code: int) -> int:
    """An exit code as a shell reports it."""
    return 128 - code if code < 0 else code


def say(text: str) -> None:
    """A line about the launch itself."""
    print(f"launch: {text}", file=sys.stderr, flush=True)
