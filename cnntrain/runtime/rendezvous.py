"""How ranks find each other where only rank 0's address is known.

Rank 0 listens. The others connect, prove that they know the token, and say which rank they are and which port they will
use; when all have come, each gets the list. Messages are JSON, one per line.
"""

import contextlib
import hmac
import json
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

from cnntrain.errors import TrainingError
from cnntrain.runtime.cluster import Member

LONGEST_LINE = 65_536  # bytes
ANSWER_SECONDS = 10.0  # for a connection that is made, to say who it is
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds between attempts to connect
Answer = dict[str, Any]


def token_of(environ: Mapping[str, str]) -> str:
    """What only the processes of one job know: the launcher's token, or else the job's number."""
    names = ("CNNTRAIN_TOKEN", "SLURM_JOB_ID", "OMPI_MCA_ess_base_jobid", "PET_RDZV_ID")
    return next((environ[name] for name in names if environ.get(name)), "")


def meet(here: Member, *, token: str, seconds: float = 300.0) -> tuple[str, ...]:
    """The addresses (host:port) of all ranks, the same in each; raises TrainingError if not all come in time."""
    if here.addresses is not None:
        return here.addresses
    host, _, port = (here.rendezvous or "").rpartition(":")
    until = time.monotonic() + seconds
    if here.rank == 0:
        return host_meeting(here, host, int(port), token=token, until=until)
    return join_meeting(here, host, int(port), token=token, until=until)


def host_meeting(here: Member, host: str, port: int, *, token: str, until: float) -> tuple[str, ...]:
    """Rank 0's part: waits for all others, and tells each of all."""
    try:
        listening = socket.create_server(("", port), backlog=here.world)
    except OSError as error:
        raise TrainingError(f"rank 0 can't listen at port {port} ({here.source}): {error.strerror or error}") from error
    addresses = {0: f"{host}:{free_port()}"}
    guests: dict[int, socket.socket] = {}
    with listening, contextlib.ExitStack() as open_ones:
        while len(guests) < here.world - 1:
            listening.settimeout(max(0.01, until - time.monotonic()))
            try:
                guest, (guest_host, *_) = listening.accept()
            except TimeoutError:
                missing = ", ".join(str(rank) for rank in range(1, here.world) if rank not in guests)
                raise TrainingError(f"rank 0 waited at port {port}, and these ranks did not come: {missing}") from None
            open_ones.enter_context(guest)
            with contextlib.suppress(OSError, ValueError):  # who doesn't speak our language is not one of us
                rank, guest_port = welcome(guest, here, taken=guests, token=token)
                guests[rank], addresses[rank] = guest, f"{guest_host}:{guest_port}"
        everyone = tuple(addresses[rank] for rank in range(here.world))
        for guest in guests.values():
            send(guest, {"addresses": everyone})
    return everyone


def welcome(guest: socket.socket, here: Member, *, taken: Mapping[int, object], token: str) -> tuple[int, int]:
    """The rank and port of a process that has connected; raises ValueError, after telling it, if it isn't welcome."""
    guest.settimeout(ANSWER_SECONDS)
    nonce = secrets.token_hex(16)
    send(guest, {"nonce": nonce})
    said = receive(guest)
    rank, port = int(said["rank"]), int(said["port"])
    complaint = None
    if not hmac.compare_digest(str(said["proof"]), proof(token, nonce)):
        complaint = "another token (CNNTRAIN_TOKEN must be the same on all machines)"
    elif said["world"] != here.world:
        complaint = f"{said['world']} ranks, and rank 0 expects {here.world}"
    elif rank in taken or not 0 < rank < here.world:
        complaint = f"rank {rank}, which is there already or can't be"
    if complaint:
        send(guest, {"complaint": complaint})
        raise ValueError(complaint)
    return rank, port


def join_meeting(here: Member, host: str, port: int, *, token: str, until: float) -> tuple[str, ...]:
    """Another rank's part."""
    with connected(host, port, here, until=until) as server:
        try:
            server.settimeout(max(0.01, until - time.monotonic()))
            nonce = receive(server)["nonce"]
            said = {"rank": here.rank, "world": here.world, "port": free_port(), "proof": proof(token, nonce)}
            send(server, said)
            answer = receive(server)
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(f"rank {here.rank}: the meeting at {host}:{port} was broken off: {error}") from error
    if "complaint" in answer:
        raise TrainingError(f"rank {here.rank} was refused at {host}:{port}: it has {answer['complaint']}")
    return tuple(answer["addresses"])


@contextlib.contextmanager
def connected(host: str, port: int, here: Member, *, until: float) -> Iterator[socket.socket]:
    """A connection to rank 0, which may start later; raises TrainingError if it can't be reached in time."""
    pause = FIRST_PAUSE
    while True:
        try:
            server = socket.create_connection((host, port), timeout=ANSWER_SECONDS)
            break
        except OSError as error:
            if time.monotonic() + pause > until:
                reason = error.strerror or error
                raise TrainingError(f"rank {here.rank} can't reach rank 0 at {host}:{port}: {reason}") from error
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
    with server:
        yield server


def proof(token: str, nonce: str) -> str:
    """Shows that the sender knows the token."""
    return hmac.new(token.encode(), nonce.encode(), "sha256").hexdigest()


def send(to: socket.socket, message: Answer) -> None:
    """Sends a message."""
    to.sendall(json.dumps(message).encode() + b"\n")


def receive(source: socket.socket) -> Answer:
    """The next message; raises ValueError if it isn't one, and OSError if the other side has gone."""
    line = b""
    while not line.endswith(b"\n"):
        piece = source.recv(4096)
        if not piece:
            raise ConnectionError("the other side closed the connection")
        line += piece
        if len(line) > LONGEST_LINE:
            raise ValueError("a message is too long")
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("a message is not an object")
    return message


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])
