"""What a rank tells the launcher that started it: that it lives, how far it is, and where its run is.

The launcher gives a folder in CNNTRAIN_STATUS, and its own process number in CNNTRAIN_LAUNCHER. A rank whose launcher
has died ends, too. Without a launcher nothing happens.
"""

import json
import os
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

BEAT_SECONDS = 1.0
KILLED = 137  # what a shell reports for a killed process


@dataclass
class Status:
    """A rank's state: when it last said so (seconds since 1970), its graph calls so far, and its run's folder."""

    beat: float = 0.0
    calls: int = 0
    run_folder: str = ""


_status = Status()
_thread: list[threading.Thread] = []


def begin(rank: int) -> None:
    """Starts a thread that writes the status every second, and ends the process when the launcher has gone."""
    folder, launcher = os.environ.get("CNNTRAIN_STATUS"), os.environ.get("CNNTRAIN_LAUNCHER")
    if not folder or _thread:
        return
    arguments = (Path(folder) / f"rank-{rank}.json", int(launcher or 0))
    _thread.append(threading.Thread(target=_beat, args=arguments, name="status", daemon=True))
    _thread[0].start()


def _beat(path: Path, launcher: int) -> None:
    while True:
        if launcher and os.getppid() != launcher:
            os._exit(KILLED)
        _status.beat = time.time()
        try:
            path.with_suffix(".new").write_text(json.dumps(asdict(_status)))
            path.with_suffix(".new").replace(path)
        except OSError:  # the launcher has removed the folder: it is about to end
            return
        time.sleep(BEAT_SECONDS)


def called() -> None:
    """Notes that a graph call has ended."""
    _status.calls += 1


def runs_in(folder: Path) -> None:
    """Notes the run's folder."""
    _status.run_folder = str(folder)


def read(path: Path) -> Status:
    """A rank's status; a new one if it has written none yet."""
    try:
        return Status(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return Status()
