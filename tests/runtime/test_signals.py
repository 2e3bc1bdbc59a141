"""The first signal stops where nothing is half done, the second at once, and handlers come back."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from cnntrain.errors import Stopped
from cnntrain.runtime.signals import SIGNALS, StopRequests


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_is_deferred_until_it_is_asked_for(number, code):
    before = [signal.getsignal(each) for each in SIGNALS]
    with StopRequests().heard() as requests:
        requests.raise_if_asked()
        with requests.deferred():
            os.kill(os.getpid(), number)
            with pytest.raises(Stopped) as caught:
                requests.raise_if_asked()
    assert caught.value.exit_code == code
    assert [signal.getsignal(each) for each in SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_elsewhere_the_first_signal_raises_at_once():
    with pytest.raises(Stopped), StopRequests().heard():
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_thread_hears_nothing_and_goes_on():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with StopRequests().heard() as requests:
            seen.append(signal.getsignal(signal.SIGTERM) == before)
            requests.raise_if_asked()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]


BUSY = """
import hashlib
from cnntrain.runtime.signals import StopRequests
with StopRequests().heard() as requests, requests.deferred():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes in C, as an operation of TensorFlow's
"""


def test_a_second_signal_ends_the_process_although_it_is_busy():
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    process.stdout.close()
