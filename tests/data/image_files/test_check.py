"""The check before training: what it remembers, what it leaves out, and files that kill its processes."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnntrain.data.image_files import check, workers
from cnntrain.data.image_files.examine import Finding
from cnntrain.data.image_files.workers import Job, examine_all
from cnntrain.data.sources.folder import Folder
from cnntrain.errors import DataError
from tests.data.image_files.difficult_files import encoded, picture, write_classes

WHITE = (255, 255, 255)


def test_a_second_look_starts_no_decoder_and_a_changed_file_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_classes(tmp_path, 10)
    first = Folder(path=tmp_path).table()
    looked_at: list[str] = []

    def record(jobs: list[Job], done: Callable, **limits: object) -> None:
        looked_at.extend(os.path.basename(job.path) for job in jobs)
        examine_all(jobs, done, max_pixels=10**6)

    monkeypatch.setattr(check, "examine_all", record)
    assert Folder(path=tmp_path).table().fingerprint() == first.fingerprint()
    assert looked_at == []
    (tmp_path / "dog/0007.jpg").write_bytes(b"not any more")
    assert Folder(path=tmp_path).table().quarantined[0][0] == "dog/0007.jpg"
    assert looked_at == ["0007.jpg"]


def test_a_raised_limit_of_pixels_reads_what_was_too_large(tmp_path: Path) -> None:
    write_classes(tmp_path, 4)
    with pytest.raises(
        DataError, match=r"8 of 8 files can't be used.*\n.*64×48 pixels, more than data.max_pixels=99"
    ):
        Folder(path=tmp_path, max_pixels=99).table()
    assert not Folder(path=tmp_path).table().quarantined
    with pytest.raises(DataError, match="more than data.max_pixels=98"):
        Folder(path=tmp_path, max_pixels=98).table()


def test_five_bad_files_of_a_thousand_leave_exactly_the_other_995(tmp_path: Path) -> None:
    from cnntrain.data.pipeline import Batches, NetworkInput

    paths = write_classes(tmp_path, 500)
    bad = [paths[number] for number in (0, 17, 499, 500, 999)]
    for path in bad:
        path.write_bytes(path.read_bytes()[:300])
    labeled = Folder(path=tmp_path, validation=0, test=0).load()
    assert {str(tmp_path / name) for name, _ in labeled.quarantined} == {str(path) for path in bad}
    network_input = NetworkInput(
        image_size=(8, 8), channels=3, resize="stretch", antialias=False, preprocess="unit"
    )
    batches = Batches(labeled.train, network_input, batch_size=32, shuffle=True, seed=1)
    trained_on = np.concatenate([images for images, *_ in batches.epoch().as_numpy_iterator()])
    expected = np.concatenate(
        [images for images, *_ in Batches(labeled.train, network_input, batch_size=99).epoch()]
    )
    assert len(trained_on) == 995
    assert sorted(image.tobytes() for image in trained_on) == sorted(image.tobytes() for image in expected)
    assert len({image.tobytes() for image in trained_on}) == 995


def test_too_many_bad_files_are_an_error_that_names_the_first(tmp_path: Path) -> None:
    for path in write_classes(tmp_path, 20)[:7]:
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"7 of 40 files can't be used.*max_bad_fraction=0\.1") as caught:
        Folder(path=tmp_path).table()
    assert "  cat/0000.jpg: the file is empty\n" in str(caught.value)
    assert "cat/0005.jpg" not in str(caught.value)
    assert len(Folder(path=tmp_path, max_bad_fraction=0.2).table().quarantined) == 7


def test_a_class_whose_images_are_all_bad_is_an_error(tmp_path: Path) -> None:
    write_classes(tmp_path, 20)
    (tmp_path / "eel").mkdir()
    (tmp_path / "eel/a.jpg").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"no image in eel; these can't be used:\n  eel/a.jpg: the file is empty"
    ):
        Folder(path=tmp_path).load()


@pytest.fixture
def hostile_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that a file called kill.jpg kills, and that one called hang.jpg holds up."""
    (tmp_path / "hostile.py").write_text(
        "import os, sys, time\n"
        "from cnntrain.data.image_files import examine\n"
        "look = examine.examine\n"
        "def hostile(path, **limits):\n"
        "    if path.endswith('kill.jpg'): os.abort()\n"
        "    if path.endswith('hang.jpg'): time.sleep(60)\n"
        "    return look(path, **limits)\n"
        "examine.examine = hostile\n"
        "examine.main(int(sys.argv[-2]), int(sys.argv[-1]))\n"
    )
    start = subprocess.Popen

    def popen(command: list[str], **options: object) -> subprocess.Popen:
        return start([sys.executable, str(tmp_path / "hostile.py"), *command[-2:]], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(workers.subprocess, "Popen", popen)


@pytest.mark.usefixtures("hostile_worker")
def test_a_file_that_kills_the_decoder_or_holds_it_up_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    names = ["a.jpg", "kill.jpg", "b.jpg", "hang.jpg", "c.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(encoded(picture(), "JPEG"))
    found: dict[int, Finding] = {}
    jobs = [Job(str(tmp_path / name), "", WHITE) for name in names]
    examine_all(jobs, found.__setitem__, max_pixels=10**6, seconds_per_file=2)
    reasons = {names[number]: finding.reason for number, finding in found.items()}
    assert reasons == {
        "a.jpg": "",
        "kill.jpg": "the decoder died (SIGABRT)",
        "b.jpg": "",
        "hang.jpg": "decoding took more than 2 seconds",
        "c.jpg": "",
    }


def test_a_run_writes_its_quarantine_as_csv_with_any_name(tmp_path: Path) -> None:
    from cnntrain.runtime.run_dir import RunDir

    files = [("größe,\n.jpg", "the file is empty"), (os.fsdecode(b"\xff.jpg"), "not an image")]
    run_dir = RunDir(tmp_path)
    run_dir.write_quarantine(files)
    with open(tmp_path / "quarantine.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert [tuple(row) for row in csv.reader(file)] == [("path", "reason"), *files]
