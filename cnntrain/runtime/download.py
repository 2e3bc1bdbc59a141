"""Downloads: failures are known within seconds, and a file is complete or absent."""

import hashlib
import http.client
import queue
import threading
import urllib.request
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from cnntrain.runtime.files import whole_file

SECONDS_TO_ANSWER = 4.0
CHUNK_BYTES = 2**20
FAILURES = (OSError, http.client.HTTPException)


def download(address: str, path: Path, *, checksum: str | None = None) -> None:
    """Downloads a file, with a progress bar on a terminal; raises OSError or HTTPException.

    `checksum`, if given, is the file's MD5 or SHA-256 in hexadecimal digits; any other file is refused.
    """
    digest = hasher(checksum)
    with open_address(address) as response, whole_file(path) as temporary, open(temporary, "wb") as file:
        with progress_bar(path.name, int(response.headers.get("Content-Length") or 0)) as bar:
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                bar.advance(bar.task_ids[0], len(chunk))
        file.flush()
        if checksum and digest.hexdigest() != checksum:
            raise OSError(f"the file that came has the checksum {digest.hexdigest()}, not {checksum}")


def open_address(address: str, *, seconds: float = SECONDS_TO_ANSWER, method: str = "GET") -> Any:
    """The response to a request; raises OSError or HTTPException, or TimeoutError if none arrives in time.

    A timeout for each attempt would not limit the total: names are resolved first, and a host may have
    several addresses, all of which are tried.
    """
    request = urllib.request.Request(address, method=method)  # noqa: S310 - Keras's and TFDS's own addresses
    outcomes: queue.SimpleQueue = queue.SimpleQueue()

    def ask() -> None:
        try:
            outcomes.put(urllib.request.urlopen(request, timeout=seconds))  # noqa: S310
        except FAILURES as error:
            outcomes.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        outcome = outcomes.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer in {seconds:g} seconds") from None
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def has_checksum(path: Path, checksum: str | None) -> bool:
    """Whether a file has the expected checksum; always true if no checksum is known."""
    if checksum is None:
        return True
    digest = hasher(checksum)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest() == checksum


def hasher(checksum: str | None) -> Any:
    """The hash function whose digest has as many digits; MD5 is only used to detect damaged files."""
    return hashlib.md5(usedforsecurity=False) if checksum and len(checksum) == 32 else hashlib.sha256()


def progress_bar(name: str, total_bytes: int) -> Progress:
    """A transient progress bar, on standard error."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    progress.add_task(f"downloading {name}", total=total_bytes or None)
    return progress
