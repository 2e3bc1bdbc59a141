"""Image files as people have them: read as Pillow reads them, or left out by name."""

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cnntrain.data.examples import Table
from cnntrain.data.reading_errors import unreadable_file_named
from cnntrain.data.sources.folder import Folder
from cnntrain.errors import DataError
from tests.data.image_files.difficult_files import (
    BAD,
    GOOD,
    HEIGHT,
    WIDTH,
    encoded,
    picture,
    translucent,
    write_classes,
    write_messy_folder,
)

WHITE = (255, 255, 255)
TOLERANCE = {"cmyk.jpg": 1, "lacks_a_few_bytes.jpg": 255}  # of 255; 0 for all others


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every difficult file."""
    root = tmp_path_factory.mktemp("photos")
    write_messy_folder(root)
    return root


def as_pillow_sees_it(data: bytes) -> np.ndarray:
    """RGB pixels (height, width, 3): the first frame, upright, on white, of 16 bits the upper 8."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, (*WHITE, 255))
        image = Image.alpha_composite(canvas, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def pixels_by_name(table: Table) -> Iterator[tuple[str, np.ndarray]]:
    """Each file's name and pixels, read in a graph as training reads them."""
    import tensorflow as tf

    rows = tf.data.Dataset.range(len(table.labels)).map(table.images.read, num_parallel_calls=2)
    for row, pixels in enumerate(rows.as_numpy_iterator()):
        yield table.names[row], pixels


def fingerprints(root: Path) -> dict[str, str]:
    """A hash and the times of every file, and where links lead."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path)] = os.readlink(path)
        elif path.is_file():
            digest = hashlib.blake2b(path.read_bytes()).hexdigest()
            found[str(path)] = f"{digest} {path.stat().st_mtime_ns} {path.stat().st_mode}"
    return found


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's, in this process, for the expected pixels
def test_every_difficult_file_is_read_as_pillow_reads_it_or_left_out_by_name(messy: Path) -> None:
    before = fingerprints(messy)
    table = Folder(path=messy, max_bad_fraction=1.0).table()
    read = dict(pixels_by_name(table))
    reasons = dict(table.quarantined)

    assert {f"messy/{name}" for name in BAD} | {"messy/link_to_nothing.png", "messy/pipe.png"} == set(reasons)
    for name, (_, expected) in BAD.items():
        assert any(part in reasons[f"messy/{name}"] for part in expected.split("|")), (
            name,
            reasons[f"messy/{name}"],
        )
    assert reasons["messy/link_to_nothing.png"] == "a link that leads to no file, or a file that was removed"
    assert reasons["messy/pipe.png"] == "not a regular file"

    clean = {f"other/{number:02}.png" for number in range(20)}
    assert set(read) == {f"messy/{name}" for name in GOOD} | {"messy/link.png"} | clean
    for name, make in GOOD.items():
        data = make()
        whole = encoded(picture(), "JPEG", progressive="progressive" in name) if "lacks" in name else data
        expected, found = as_pillow_sees_it(whole), read[f"messy/{name}"]
        assert found.shape == expected.shape, name
        difference = np.abs(found.astype(int) - expected)
        assert difference.max() <= TOLERANCE.get(name, 0), (name, difference.max())
    lost = np.abs(read["messy/lacks_a_few_bytes.jpg"].astype(int) - as_pillow_sees_it(GOOD["baseline.jpg"]()))
    assert (
        lost.any() and not lost[:-17].any()
    )  # the last row of blocks, whose colors blend into the row above
    assert fingerprints(messy) == before


def test_transparent_pixels_show_the_background(tmp_path: Path) -> None:
    write_classes(tmp_path, 1)
    clear = Image.new("RGBA", (4, 4), (9, 9, 9, 0))
    (tmp_path / "cat/clear.png").write_bytes(encoded(clear, "PNG"))
    for background, expected in (("white", WHITE), ("#ff8000", (255, 128, 0)), ((1, 2, 3), (1, 2, 3))):
        table = Folder(path=tmp_path, background=background).table()
        assert tuple(dict(pixels_by_name(table))["cat/clear.png"][0, 0]) == expected
    with pytest.raises(ValueError, match=r"background: expected a color's name.*received 'whitish'"):
        Folder(path=tmp_path, background="whitish")


def test_images_are_gray_where_all_files_are(tmp_path: Path) -> None:
    for name, image in (("cat/a.png", picture().convert("L")), ("dog/b.gif", picture().convert("L"))):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(encoded(image, name[-3:].upper()))
    (tmp_path / "dog/c.png").write_bytes(encoded(translucent().convert("LA"), "PNG"))
    table = Folder(path=tmp_path).table()
    assert table.images.image_shape == (None, None, 1)
    assert {pixels.shape for _, pixels in pixels_by_name(table)} == {(HEIGHT, WIDTH, 1)}
    (tmp_path / "dog/d.jpg").write_bytes(encoded(picture(), "JPEG"))
    assert Folder(path=tmp_path).table().images.image_shape == (None, None, 3)


def test_a_file_that_vanishes_or_changes_during_training_is_named(tmp_path: Path) -> None:
    import tensorflow as tf

    paths = write_classes(tmp_path, 3)
    table = Folder(path=tmp_path).table()
    paths[4].write_bytes(b"\xff\xd8\xff but no more")
    with (
        pytest.raises(DataError, match=r"dog/0001.jpg: can't be decoded: .*\nIf the file has changed"),
        unreadable_file_named(table),
    ):
        list(pixels_by_name(table))
    paths[1].unlink()
    with pytest.raises(DataError, match="cat/0001.jpg: the file is gone"), unreadable_file_named(table):
        list(pixels_by_name(table))
    with pytest.raises(tf.errors.OpError), unreadable_file_named(table):
        paths[1].write_bytes(encoded(picture(), "JPEG"))
        paths[4].write_bytes(encoded(picture(), "JPEG"))
        tf.io.read_file("/nowhere")


EPOCH = """
import hashlib, sys
from pathlib import Path
from cnntrain.data.augmentation.settings import Augmentation
from cnntrain.data.sources.folder import Folder
from cnntrain.data.pipeline import Batches, NetworkInput

def epoch(root, parallel_calls):
    labeled = Folder(path=Path(root), validation=0, test=0, max_bad_fraction=1.0).load()
    network_input = NetworkInput(
        image_size=(24, 24), channels=3, resize="crop", antialias=True, preprocess="unit"
    )
    augmentation = Augmentation(random_crop=True, horizontal_flip=0.5, pad_pixels=2)
    batches = Batches(labeled.train, network_input, batch_size=16, seed=7, shuffle=True,
                      augmentation=augmentation, parallel_calls=parallel_calls)
    digest = hashlib.blake2b()
    for images, targets, _ in batches.epoch(3).as_numpy_iterator():
        digest.update(images.tobytes())
        digest.update(targets["class"].tobytes())
    return digest.hexdigest()

if __name__ == "__main__":
    print(epoch(sys.argv[1], 2))
"""


@pytest.mark.slow
def test_an_epoch_has_the_same_bytes_with_1_2_or_8_parallel_calls_and_in_a_new_process(
    messy: Path, tmp_path: Path
) -> None:
    script = tmp_path / "epoch.py"
    script.write_text(EPOCH)
    namespace: dict = {"__name__": "epoch"}
    exec(compile(EPOCH, str(script), "exec"), namespace)  # noqa: S102 - the same text as in the new process
    digests = {namespace["epoch"](messy, parallel_calls) for parallel_calls in (1, 2, 8)}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    again = subprocess.run(
        [sys.executable, str(script), str(messy)], env=environment, capture_output=True, text=True, check=True
    )
    assert digests == {again.stdout.strip()}
