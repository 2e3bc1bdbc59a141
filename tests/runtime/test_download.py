"""Downloads end within seconds where there is no network, and are whole or not there."""

import hashlib
import http.client
import io
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from cnntrain.runtime import download as module
from cnntrain.runtime.download import FAILURES, download, has_checksum

CONTENT = b"weights" * 1000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Response(io.BytesIO):
    """An answer of a host."""

    headers = {"Content-Length": str(len(CONTENT))}


@pytest.mark.parametrize("checksum", [None, MD5, SHA256])
def test_a_file_is_saved_where_its_checksum_is_right(monkeypatch, tmp_path, checksum):
    monkeypatch.setattr(urllib.request, "urlopen", lambda request, timeout: Response(CONTENT))
    download("https://example.org/weights.h5", tmp_path / "models" / "weights.h5", checksum=checksum)
    assert (tmp_path / "models" / "weights.h5").read_bytes() == CONTENT
    assert has_checksum(tmp_path / "models" / "weights.h5", checksum)
    assert not has_checksum(tmp_path / "models" / "weights.h5", "0" * 32)


class Interrupted(Response):
    """An answer that ends too soon."""

    def read(self, size=-1):
        if self.tell():
            raise http.client.IncompleteRead(b"")
        return super().read(100)


@pytest.mark.parametrize("response", [Response(CONTENT[1:]), Interrupted(CONTENT)])
def test_a_file_that_is_not_whole_leaves_the_old_one(monkeypatch, tmp_path, response):
    path = tmp_path / "weights.h5"
    path.write_bytes(b"old")
    monkeypatch.setattr(urllib.request, "urlopen", lambda request, timeout: response)
    with pytest.raises(FAILURES):
        download("https://example.org/weights.h5", path, checksum=MD5)
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights.h5"]
    assert path.read_bytes() == b"old"


def test_a_host_that_never_answers_is_given_up(monkeypatch, tmp_path):
    released = threading.Event()
    monkeypatch.setattr(urllib.request, "urlopen", lambda request, timeout: released.wait(60))
    with pytest.raises(TimeoutError, match="no answer in 0.05 seconds"):
        module.open_address("https://example.org/", seconds=0.05)
    released.set()
    assert list(Path(tmp_path).iterdir()) == []


def test_a_name_that_is_not_found_is_told(monkeypatch):
    def refuse(request, timeout):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(urllib.error.URLError, match="not known"):
        module.open_address("https://example.org/")
