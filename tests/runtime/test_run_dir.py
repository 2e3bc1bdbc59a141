"""A run's folder is its own, and its files are whole or not there."""

import errno
import subprocess
import sys

import pytest

from cnntrain.errors import ConfigError, DataError
from cnntrain.runtime.files import remove_unfinished, replace_by_link, whole_file, whole_folder, write_whole
from cnntrain.runtime.run_dir import RunDir
from tests.conftest import full_disk


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    write_whole(path, b"old")
    with pytest.raises(OSError, match="disk full"), whole_file(path) as temporary:
        temporary.write_bytes(b"ne")
        raise OSError("disk full")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]
    assert path.read_bytes() == b"old"


def test_the_temporary_file_keeps_the_suffix(tmp_path):
    with whole_file(tmp_path / "model.keras") as temporary:
        assert temporary.suffix == ".keras"
        temporary.touch()
    assert (tmp_path / "model.keras").is_file()


@pytest.mark.parametrize("replace", [True, False])
def test_a_folder_that_is_there_is_replaced_only_where_that_is_wanted(tmp_path, replace):
    path = tmp_path / "folder"
    (path / "old").mkdir(parents=True)
    with whole_folder(path, replace=replace) as temporary:
        (temporary / "new").mkdir()
        (temporary / "new" / "file.txt").touch()
    assert [entry.name for entry in path.iterdir()] == ["new" if replace else "old"]
    with pytest.raises(OSError, match="disk full"), whole_folder(path, replace=replace):
        raise OSError("disk full")
    assert [entry.name for entry in path.iterdir()] == ["new" if replace else "old"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_disk_without_room_is_named_with_what_is_needed_and_the_old_file_stays(tmp_path):
    path = tmp_path / "file.txt"
    write_whole(path, b"old")
    with pytest.raises(OSError, match=r"1.2 MB needed, [\d,.]+ MB free\): .*file.txt") as caught, full_disk(10_000):
        with whole_file(path, size_bytes=1_200_000) as temporary:
            temporary.write_bytes(bytes(1_200_000))
    assert caught.value.errno == errno.EFBIG
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]
    assert path.read_bytes() == b"old"


def test_what_a_killed_process_left_behind_is_removed_and_nothing_else(tmp_path):
    code = "import sys, os, cnntrain.runtime.files as f, pathlib as p\nwith f.whole_file(p.Path(sys.argv[1])) as t:\n"
    code += " t.touch()\n os._exit(9)"
    subprocess.run([sys.executable, "-c", code, tmp_path / "model.keras"])
    (tmp_path / ".notes.2024.txt").touch()
    assert len(list(tmp_path.iterdir())) == 2
    remove_unfinished(tmp_path)
    remove_unfinished(tmp_path / "none")
    assert [path.name for path in tmp_path.iterdir()] == [".notes.2024.txt"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_replaced_by_another_with_and_without_hard_links(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links here")))
    for number in ("1", "2", "2"):
        write_whole(tmp_path / number, number.encode())
        replace_by_link(tmp_path / "best", tmp_path / number)
        assert (tmp_path / "best").read_text() == number
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "best"]


def test_two_runs_of_one_second_get_folders_of_their_own(tmp_path):
    first = RunDir.create(tmp_path / "run", exact=False)
    first.write_config({})
    assert RunDir.create(tmp_path / "run", exact=False).path.name == "run-2"


def test_a_named_folder_that_holds_a_run_is_refused(tmp_path):
    run_dir = RunDir.create(tmp_path / "run", exact=True)
    run_dir.write_config({})
    run_dir.close()
    with pytest.raises(ConfigError, match="holds a run already"):
        RunDir.create(tmp_path / "run", exact=True)


def test_a_second_process_on_the_same_folder_is_refused(tmp_path):
    held = RunDir.create(tmp_path / "run", exact=True)
    code = (
        "import sys; from pathlib import Path; from cnntrain.runtime.run_dir import RunDir;"
        " RunDir.create(Path(sys.argv[1]), exact=True)"
    )
    other = subprocess.run([sys.executable, "-c", code, str(held.path)], capture_output=True, text=True)
    assert "ConfigError" in other.stderr


def test_a_run_that_another_process_trains_in_is_not_resumed_and_a_dead_ones_is(tmp_path):
    held = RunDir.create(tmp_path / "run", exact=True)
    held.write_config({})
    code = (
        "import sys; from pathlib import Path; from cnntrain.runtime.run_dir import RunDir;"
        " RunDir.reopen(Path(sys.argv[1]))"
    )
    other = subprocess.run([sys.executable, "-c", code, str(held.path)], capture_output=True, text=True)
    assert "another process trains in this folder" in other.stderr
    held.close()
    (tmp_path / "run" / ".model.12.unfinished.keras").touch()
    RunDir.reopen(tmp_path / "run").close()
    assert sorted(path.name for path in held.path.iterdir()) == ["config.yaml", "run.lock"]


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, '{"input": 3}'])
def test_a_record_that_is_not_ours_is_named(tmp_path, content):
    run_dir = RunDir.create(tmp_path / "run", exact=True)
    run_dir.record.write_text(content)
    with pytest.raises(DataError, match="run.json: (can't be read|is not what cnntrain writes)"):
        run_dir.read_record()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "expected a mapping"),
        (b"- 1", "expected a mapping"),
        (b"a: [", "can't be read"),
        (b"\xff", "can't be read"),
        (b"a: &x [*x]", "taken for a bomb"),
        (b"!!python/object/apply:os.system [ls]", "can't be read"),
        (b"[" * 1_500, "can't be read"),
    ],
)
def test_a_configuration_that_is_not_ours_is_named(tmp_path, content, text):
    run_dir = RunDir.create(tmp_path / "run", exact=True)
    run_dir.config.write_bytes(content)
    with pytest.raises(DataError, match=f"config.yaml: .*{text}"):
        run_dir.read_config()


def test_a_lock_that_a_dead_process_left_is_not_in_the_way(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.lock").touch()
    assert RunDir.create(tmp_path / "run", exact=True).path.name == "run"


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_that_holds_no_run_is_named(tmp_path, made):
    if made:
        (tmp_path / "x").mkdir()
    with pytest.raises(DataError, match="expected a run's folder"):
        RunDir.open(tmp_path / "x")


def test_history_is_written_whole_each_time(tmp_path):
    run_dir = RunDir.create(tmp_path / "run", exact=True)
    run_dir.write_history([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": ""}])
    assert run_dir.history.read_text() == "epoch,loss\n1,0.5\n2,\n"
