"""How ranks find each other."""

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cnntrain.errors import TrainingError
from cnntrain.runtime.cluster import Member
from cnntrain.runtime.rendezvous import free_port, meet, token_of

SECRET = "s"  # noqa: S105 - only tests know it


def rank_of(number, world, port):
    return Member(number, world, number, world, None, f"127.0.0.1:{port}", "a test")


def met(members, *, token=SECRET, seconds=20.0, late=0.0):
    """What each of several ranks gets, or its error."""

    def one(member):
        if member.rank and late:
            time.sleep(late)
        try:
            return meet(member, token=token, seconds=seconds)
        except TrainingError as error:
            return str(error)

    with ThreadPoolExecutor(len(members)) as pool:
        return list(pool.map(one, members))


@pytest.mark.parametrize(("world", "late"), [(2, 0), (5, 0), (3, 0.3)])
def test_all_get_the_same_addresses(world, late):
    port = free_port()
    found = met([rank_of(number, world, port) for number in range(world)], late=late)
    assert len(set(found)) == 1
    assert len(set(found[0])) == world
    assert all(address.startswith("127.0.0.1:") for address in found[0])


def test_others_may_come_before_rank_0():
    port = free_port()
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(meet, rank_of(1, 2, port), token=SECRET, seconds=20)
        time.sleep(0.2)
        assert meet(rank_of(0, 2, port), token=SECRET, seconds=20) == early.result()


def test_known_addresses_need_no_meeting():
    known = Member(0, 2, 0, 1, ("a:1", "b:1"), None, "TF_CONFIG")
    assert meet(known, token="") == ("a:1", "b:1")


def test_who_does_not_come_is_named():
    port = free_port()
    said = met([rank_of(0, 3, port), rank_of(1, 3, port)], seconds=0.5)
    assert "these ranks did not come: 2" in said[0]
    assert "was broken off" in said[1]


def test_rank_0_that_can_not_be_reached_is_named():
    port = free_port()
    with pytest.raises(TrainingError, match=f"rank 1 can't reach rank 0 at 127.0.0.1:{port}"):
        meet(rank_of(1, 2, port), token="", seconds=0.2)


@pytest.mark.parametrize(
    ("stranger", "token", "complaint"),
    [
        ((1, 2), "wrong", "another token"),
        ((1, 3), SECRET, "3 ranks, and rank 0 expects 2"),
        ((0, 2), SECRET, None),
    ],
)
def test_strangers_are_refused_and_told_why(stranger, token, complaint):
    port = free_port()
    number, world = stranger
    with ThreadPoolExecutor(1) as pool:
        host = pool.submit(meet, rank_of(0, 2, port), token=SECRET, seconds=20)
        time.sleep(0.1)
        with pytest.raises(TrainingError, match=complaint or "can't listen at port"):
            meet(rank_of(number, world, port), token=token, seconds=5)
        assert meet(rank_of(1, 2, port), token=SECRET, seconds=5) == host.result()


def test_noise_neither_ends_nor_blocks_the_meeting(monkeypatch):
    monkeypatch.setattr("cnntrain.runtime.rendezvous.ANSWER_SECONDS", 0.3)
    port = free_port()

    def noise():
        for content in (b"GET / HTTP/1.1\r\n\r\n", b"", b"[1]\n", b"x" * 70_000, b'{"rank": "a"}\n'):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as guest:
                guest.sendall(content)

    with ThreadPoolExecutor(1) as pool:
        host = pool.submit(meet, rank_of(0, 2, port), token=SECRET, seconds=20)
        time.sleep(0.1)
        thread = threading.Thread(target=noise)
        thread.start()
        thread.join()
        assert meet(rank_of(1, 2, port), token=SECRET, seconds=10) == host.result()


def test_the_token_is_the_launchers_or_the_jobs():
    assert token_of({"CNNTRAIN_TOKEN": "a", "SLURM_JOB_ID": "1"}) == "a"
    assert token_of({"SLURM_JOB_ID": "1"}) == "1"
    assert token_of({}) == ""
