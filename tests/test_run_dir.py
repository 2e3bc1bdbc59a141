"""A run's folder is its own, and its files are whole or not there."""

import subprocess
import sys

import pytest

from cnntrain.errors import ConfigError, DataError
from cnntrain.files import whole_file, whole_folder, write_whole
from cnntrain.run_dir import RunDir


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
        "import sys; from pathlib import Path; from cnntrain.run_dir import RunDir;"
        " RunDir.create(Path(sys.argv[1]), exact=True)"
    )
    other = subprocess.run([sys.executable, "-c", code, str(held.path)], capture_output=True, text=True)
    assert "ConfigError" in other.stderr


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
