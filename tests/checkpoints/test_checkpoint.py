"""Checkpoints hold what they were given, to the bit, and notice damage."""

import errno
import threading

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from cnntrain.checkpoints import checkpoint
from cnntrain.checkpoints.checkpoint import Checkpoints, State, checkpoints_in, newest, read_state, write_state
from cnntrain.errors import DataError, NotFinite
from cnntrain.runtime.files import write_whole

RANDOM = np.random.default_rng(0)
ARRAYS = {
    "kernel": RANDOM.normal(size=(3, 4, 5)).astype(np.float32),
    "transposed": RANDOM.normal(size=(4, 3)).T,
    "seed": np.array([1, 2**63 - 1]),
    "scalar": np.float32(0.1),
    "empty": np.zeros((0, 3), np.float16),
    "flag": np.array(True),
}
FACTS = {"phase": "all", "history": [{"loss": 0.1 + 0.2, "val_loss": ""}], "best": [0.5, -1e-300]}


def state(number: int = 0) -> State:
    """A state that can be told from others."""
    return State({name: np.asarray(array) for name, array in ARRAYS.items()}, {**FACTS, "number": number})


def test_a_state_comes_back_to_the_bit(tmp_path):
    write_state(tmp_path / "1.safetensors", state())
    found = read_state(tmp_path / "1.safetensors")
    assert found.facts == {**FACTS, "number": 0}
    assert list(found.arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found.arrays[name].dtype == np.asarray(array).dtype
        assert found.arrays[name].shape == np.shape(array)
        assert found.arrays[name].tobytes() == np.asarray(array).tobytes()


def damages(content: bytes):
    """The content cut or changed in all kinds of places."""
    for length in (0, 1, 10, 22, 30, len(content) // 2, len(content) - 1):
        yield f"cut to {length} bytes", content[:length]
    for place in [*range(0, len(content), 97), len(content) - 1]:
        yield f"bit flipped at {place}", content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]
    yield "longer", content + b"\0"
    yield "something else", b"PK\3\4" + content


def test_every_damage_is_noticed(tmp_path):
    path = tmp_path / "1.safetensors"
    write_state(path, state())
    for name, content in damages(path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(DataError, match="1.safetensors: (is damaged|is no checkpoint)"):
            read_state(path)
            pytest.fail(name)


def test_the_last_few_are_kept_and_the_newest_good_one_is_found(tmp_path):
    kept = Checkpoints(tmp_path, keep=2)
    for number, (epoch, step) in enumerate([(9, 0), (9, 5), (10, 0), (10, 12)]):
        kept.save(state(number), epoch=epoch, step=step, best_model=tmp_path / "model")
    kept.wait()
    kept.close()
    last, before = checkpoints_in(tmp_path)
    assert (last.name, before.name) == ("000010-00000012.safetensors", "000010-00000000.safetensors")
    assert newest(tmp_path)[0].state.facts["number"] == 3
    last.write_bytes(last.read_bytes()[:-1])
    found, complaints = newest(tmp_path)
    assert found.state.facts["number"] == 2
    assert [text.partition(":")[0] for text in complaints] == [str(last)]
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["000010-00000000.safetensors", "000010-00000012.damaged"]


def test_each_has_the_best_network_of_its_time_and_no_other_stays(tmp_path):
    folder, model = tmp_path / "checkpoints", tmp_path / "model.keras"
    kept = Checkpoints(folder, keep=2)
    for epoch, best in enumerate([None, "one", "one", "two", "two"]):
        if best:
            write_whole(model, best.encode())
        kept.save(state(), epoch=epoch, step=0, best_model=model)
        kept.wait()
        found, _ = newest(folder)
        assert (found.best_model and found.best_model.read_text()) == best
    kept.close()
    names = [f"{epoch:06}-00000000.{suffix}" for epoch in (3, 4) for suffix in ("keras", "safetensors")]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert model.samefile(folder / names[2])


def test_where_none_is_good_none_is_found(tmp_path):
    assert newest(tmp_path / "none") == (None, [])
    (tmp_path / "000001-00000000.safetensors").touch()
    found, complaints = newest(tmp_path)
    assert (found, len(complaints)) == (None, 1)


def test_only_one_is_written_at_a_time_and_training_waits_no_longer_than_for_that(tmp_path, monkeypatch):
    go_on, under_way = threading.Event(), []

    def slow(path, content):
        under_way.append(path.name)
        assert go_on.wait(10)

    monkeypatch.setattr(checkpoint, "write_state", slow)
    kept = Checkpoints(tmp_path, keep=1)
    kept.save(state(), epoch=1, step=0, best_model=tmp_path / "model")
    kept.raise_failure()
    second = threading.Thread(target=lambda: kept.save(state(), epoch=2, step=0, best_model=tmp_path / "model"))
    second.start()
    second.join(0.2)
    assert second.is_alive() and len(under_way) == 1
    go_on.set()
    second.join(10)
    kept.close()
    assert under_way == ["000001-00000000.safetensors", "000002-00000000.safetensors"]


def test_what_goes_wrong_in_the_thread_is_raised_in_training(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint, "write_state", full)
    kept = Checkpoints(tmp_path, keep=1)
    kept.save(state(), epoch=1, step=0, best_model=tmp_path / "model")
    with pytest.raises(OSError, match="No space left"):
        kept.wait()
    kept.wait()
    kept.close()


def test_arrays_that_are_not_finite_are_named_and_not_saved(tmp_path):
    assert state().not_finite() is None
    bad = State({"seed": np.array([1]), "dense/kernel": np.array([1.0, np.inf], np.float32)}, {})
    kept = Checkpoints(tmp_path, keep=1)
    kept.save(bad, epoch=1, step=0, best_model=tmp_path / "model")
    with pytest.raises(NotFinite, match="dense/kernel holds NaN or infinity"):
        kept.wait()
    kept.save(bad, epoch=1, step=0, best_model=tmp_path / "model")
    kept.settle()
    kept.close()
    assert not list(tmp_path.iterdir())


def test_a_damaged_header_can_not_ask_for_memory(tmp_path):
    path = tmp_path / "1.safetensors"
    huge = State({"a": np.zeros(1, np.float32)}, {})
    write_state(path, huge)
    content = path.read_bytes()
    assert b'"shape":[1]' in content
    path.write_bytes(content.replace(b'"shape":[1]', b'"shape":[9]'))
    with pytest.raises(DataError, match="1.safetensors: is damaged"):
        read_state(path)


def test_a_false_hash_is_noticed_although_the_file_is_whole(tmp_path):
    path = tmp_path / "1.safetensors"
    write_state(path, state())
    with safe_open(path, framework="numpy") as file:
        metadata, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    arrays["kernel"][0, 0, 0] += 1
    save_file(arrays, path, metadata=metadata)
    with pytest.raises(DataError, match="does not have the hash"):
        read_state(path)


def test_other_tools_read_a_checkpoint(tmp_path):
    write_state(tmp_path / "1.safetensors", state())
    found = load_file(tmp_path / "1.safetensors")
    assert set(found) == set(ARRAYS)
    np.testing.assert_array_equal(found["kernel"], ARRAYS["kernel"])


def test_checkpoints_of_the_former_format_are_refused_and_left_alone(tmp_path):
    (tmp_path / "000001-00000000.state").write_bytes(b"cnntrain checkpoint 1\n")
    with pytest.raises(DataError, match="holds checkpoints of a former version of cnntrain; go on with that version"):
        newest(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["000001-00000000.state"]
