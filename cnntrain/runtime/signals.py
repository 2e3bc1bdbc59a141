"""SIGINT, SIGTERM and SIGUSR1: the first ends training where its state can be saved, a second one ends the process.

SLURM's --signal=USR1@120 sends the last one two minutes before a job's time is over.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from cnntrain.errors import Stopped
from cnntrain.runtime import ranks

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
TOGETHER_SECONDS = 0.2  # some managers send a signal in two ways at once: that counts as one request
NOTE = b"\nstopping as soon as the state can be saved; a second signal ends at once\n"


class StopRequests:
    """Signals that ask the process to stop, inside `heard`.

    Outside `deferred`, the first signal raises Stopped wherever the program is. Inside, `raise_if_asked` raises it
    instead, and is called where nothing is half done.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self._deferred = False

    @contextlib.contextmanager
    def heard(self) -> Iterator["StopRequests"]:
        """Installs handlers, which process 1 in a container needs, too, and restores the previous ones afterward.

        Python runs handlers only between two operations, and a TensorFlow operation can take a while, so a thread
        watches for the second signal. Handlers can't be installed in a thread: there, signals are not handled.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        before = {number: signal.signal(number, self._first) for number in SIGNALS}
        woken_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        watching = threading.Thread(target=end_at_second, args=(reading,), name="signals", daemon=True)
        watching.start()
        try:
            yield self
        finally:
            signal.set_wakeup_fd(woken_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(writing)
            watching.join()
            os.close(reading)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside the block, a signal is recorded and raises nothing."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def raise_if_asked(self) -> None:
        """Raises Stopped, on all ranks, if any received a signal."""
        asked = ranks.largest(self.asked or 0)
        if asked:
            raise Stopped(asked)

    def _first(self, number: int, _frame: FrameType | None) -> None:
        if self.asked is not None:
            return
        self.asked = number
        if not self._deferred:
            raise Stopped(number)
        os.write(2, NOTE)


def take_back() -> None:
    """Installs Python's handlers again: TensorFlow replaces that of SIGTERM when processes train together."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.getsignal(number))


def end_at_second(reading: int) -> None:
    """Reads signal numbers, and ends the process at the second one that is ours."""
    first: float | None = None
    while numbers := os.read(reading, 1):
        if numbers[0] not in SIGNALS:
            continue
        now = time.monotonic()
        if first is not None and now - first > TOGETHER_SECONDS:
            os._exit(128 + numbers[0])
        first = first or now
