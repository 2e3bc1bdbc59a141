"""Stub."""
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """Stub."""

    rank: int
    world: int
    local_rank: int
    local_world: int
    addresses: tuple[str, ...] | None
    rendezvous: str | None
    source: str


def member(environ: Mapping[str, str]) -> Member | None:
    """Stub."""
    if "CNNTRAIN_RANK" not in environ:
        return None
    addresses = tuple(environ["CNNTRAIN_ADDRESSES"].split(","))
    rank = int(environ["CNNTRAIN_RANK"])
    return Member(rank, len(addresses), rank, len(addresses), addresses, None, "stub")
