"""What several tests need: the command line in this process, small image files, and no chatter."""

import contextlib
import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cnntrain.cli.main import main
from cnntrain.runtime import backend

backend.load()


@pytest.fixture
def cnntrain(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs a command line; gives its exit code and all that it printed."""

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["cnntrain"])
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:  # argparse ends a process itself
            code = int(stop.code or 0)
        captured = capfd.readouterr()
        return code, captured.out + captured.err

    return run


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CNNTRAIN_CACHE", str(folder))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 24 small JPEGs and PNGs of unequal sizes in two classes: dark and light."""
    return write_photos(tmp_path / "photos", {"dark": 12, "light": 12})


def write_photos(root: Path, classes: dict[str, int], *, suffixes: tuple[str, ...] = (".jpg", ".png")) -> Path:
    """Writes so many images of each class, darker ones for the first class."""
    from PIL import Image

    random = np.random.default_rng(0)
    for brightness, (name, count) in enumerate(classes.items()):
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(count):
            height, width = 20 + number % 5, 24 - number % 7
            pixels = random.integers(0, 100, (height, width, 3)) + 150 * brightness % 256
            image = Image.fromarray(np.minimum(pixels, 255).astype(np.uint8))
            image.save(folder / f"{number}{suffixes[number % len(suffixes)]}")
    return root


def write_run(path: Path, *words: str) -> Path:
    """A run's folder as training leaves one, of the configuration that the words describe, with random weights."""
    import dataclasses

    from cnntrain.cli.main import only_experiment
    from cnntrain.runtime.run_dir import RunDir
    from cnntrain.settings import to_mapping
    from cnntrain.training.preparation import prepare

    experiment, labeled, network_input = prepare(only_experiment(list(words)))
    model = experiment.model.build(network_input.shape, len(labeled.class_names))
    record = {
        "input": dataclasses.asdict(network_input),
        "class_names": labeled.class_names,
        "data_fingerprint": labeled.train.table.fingerprint(),
        "class_counts": {"train": labeled.train.class_counts().tolist()},
    }
    run_dir = RunDir.create(path, exact=True)
    run_dir.write_config(to_mapping(experiment))
    run_dir.write_json(run_dir.record, record)
    model.save(run_dir.model)
    run_dir.close()
    return path


@contextlib.contextmanager
def full_disk(room_bytes: int) -> Iterator[None]:
    """Inside, no file of more bytes can be written, as on a disk that is almost full.

    A fixture would not do: pytest writes its own output before a fixture ends, and that file too would be cut.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def read_metrics(run: Path) -> dict:
    """metrics.json of a run folder."""
    return json.loads((run / "metrics.json").read_text())
