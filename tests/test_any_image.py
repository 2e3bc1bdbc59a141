"""Image files as people have them: read as Pillow reads them, or left out by name."""

import csv
import hashlib
import io
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from cnntrain.data import check, workers
from cnntrain.data.base import Examples
from cnntrain.data.examine import Finding
from cnntrain.data.folder import Folder
from cnntrain.data.workers import Job, examine_all
from cnntrain.errors import DataError

HEIGHT, WIDTH = 48, 64
WHITE = (255, 255, 255)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CNNTRAIN_CACHE", str(folder))
    return folder


def picture(seed: int = 0) -> Image.Image:
    """An RGB picture with soft edges, so that JPEG keeps it nearly."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(noise.repeat(8, 0).repeat(8, 1)).filter(ImageFilter.GaussianBlur(2))


def translucent() -> Image.Image:
    """The picture, from transparent at the left to opaque at the right."""
    image = picture().convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.arange(WIDTH, dtype=np.uint8) * 4, (HEIGHT, 1))))
    return image


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    """A file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def sixteen_bits() -> Image.Image:
    """A grey picture of 16 bits whose lower 8 are not 0."""
    return Image.fromarray(np.asarray(picture().convert("L")).astype(np.uint16) * 256 + 77)


def with_orientation(orientation: int, file_format: str = "JPEG") -> bytes:
    """The picture as a camera that was held sideways stores it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(), file_format, exif=exif)


def flipped_bit(data: bytes, position: int) -> bytes:
    """The bytes with one bit changed."""
    return data[:position] + bytes([data[position] ^ 16]) + data[position + 1 :]


def huge_png() -> bytes:
    """A PNG of 20,000×20,000 pixels in few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    compressor = zlib.compressobj(9)
    row = bytes(20_001)
    rows = b"".join(compressor.compress(row) for _ in range(20_000)) + compressor.flush()
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def frames(file_format: str, **options: object) -> bytes:
    """An animation of two frames."""
    return encoded(picture(), file_format, save_all=True, append_images=[picture(1)], **options)


GOOD: dict[str, Callable[[], bytes]] = {
    "baseline.jpg": lambda: encoded(picture(), "JPEG"),
    "progressive.jpg": lambda: encoded(picture(), "JPEG", progressive=True),
    "grey.jpg": lambda: encoded(picture().convert("L"), "JPEG"),
    "cmyk.jpg": lambda: encoded(picture().convert("CMYK"), "JPEG"),
    "without_subsampling.jpg": lambda: encoded(picture(), "JPEG", subsampling=0, quality=95),
    "lacks_its_end.jpg": lambda: encoded(picture(), "JPEG")[:-2],
    "lacks_a_few_bytes.jpg": lambda: encoded(picture(), "JPEG")[:-12],
    "progressive_lacks_its_end.jpg": lambda: encoded(picture(), "JPEG", progressive=True)[:-2],
    "bytes_behind_its_end.jpg": lambda: encoded(picture(), "JPEG") + b"trailer" * 9,
    "two_pictures.mpo": lambda: frames("MPO"),
    **{f"orientation_{number}.jpg": lambda number=number: with_orientation(number) for number in range(1, 9)},
    "orientation_0.jpg": lambda: with_orientation(0),
    "orientation.png": lambda: with_orientation(6, "PNG"),
    "orientation.webp": lambda: with_orientation(8, "WEBP"),
    "orientation.tiff": lambda: with_orientation(5, "TIFF"),
    "damaged_exif.jpg": lambda: encoded(picture(), "JPEG", exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xff"),
    "colour.png": lambda: encoded(picture(), "PNG"),
    "grey.png": lambda: encoded(picture().convert("L"), "PNG"),
    "one_bit.png": lambda: encoded(picture().convert("1"), "PNG"),
    "palette.png": lambda: encoded(picture().quantize(200), "PNG"),
    "palette_of_4_bits.png": lambda: encoded(picture().quantize(9), "PNG", bits=4),
    "palette_with_transparency.png": lambda: encoded(picture().quantize(64), "PNG", transparency=3),
    "sixteen_bits.png": lambda: encoded(sixteen_bits(), "PNG"),
    "alpha.png": lambda: encoded(translucent(), "PNG"),
    "opaque_alpha.png": lambda: encoded(picture().convert("RGBA"), "PNG"),
    "grey_and_alpha.png": lambda: encoded(translucent().convert("LA"), "PNG"),
    "transparent_colour.png": lambda: encoded(
        picture().quantize(9).convert("RGB"), "PNG", transparency=(0, 0, 0)
    ),
    "animated.png": lambda: frames("PNG"),
    "still.gif": lambda: encoded(picture(), "GIF"),
    "animated.gif": lambda: frames("GIF"),
    "colour.bmp": lambda: encoded(picture(), "BMP"),
    "palette.bmp": lambda: encoded(picture().quantize(64), "BMP"),
    "one_bit.bmp": lambda: encoded(picture().convert("1"), "BMP"),
    "lossy.webp": lambda: encoded(picture(), "WEBP"),
    "lossless.webp": lambda: encoded(picture(), "WEBP", lossless=True),
    "alpha.webp": lambda: encoded(translucent(), "WEBP", lossless=True),
    "animated.webp": lambda: frames("WEBP"),
    "colour.tiff": lambda: encoded(picture(), "TIFF"),
    "deflated.tif": lambda: encoded(picture(), "TIFF", compression="tiff_adobe_deflate"),
    "sixteen_bits.tiff": lambda: encoded(sixteen_bits(), "TIFF"),
    "pages.tiff": lambda: frames("TIFF"),
    "cmyk.tiff": lambda: encoded(picture().convert("CMYK"), "TIFF"),
    "colour.avif": lambda: encoded(picture(), "AVIF"),
    "alpha.avif": lambda: encoded(translucent(), "AVIF"),
    "colour.jp2": lambda: encoded(picture(), "JPEG2000"),
    "colour.ppm": lambda: encoded(picture(), "PPM"),
    "png_inside.jpg": lambda: encoded(picture(), "PNG"),
    "jpeg_inside.png": lambda: encoded(picture(), "JPEG"),
    "jpeg_inside.txt": lambda: encoded(picture(), "JPEG"),
    "no_suffix": lambda: encoded(picture(), "JPEG"),
    "größe 図 (1) 100%.JPG": lambda: encoded(picture(), "JPEG"),
    'line\nbreak, "quotes".png': lambda: encoded(picture(), "PNG"),
    "nested/deeper/picture.png": lambda: encoded(picture(), "PNG"),
    "one_pixel.png": lambda: encoded(picture().resize((1, 1)), "PNG"),
}
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.jpg": (lambda: b"", "the file is empty"),
    "text.jpg": (lambda: b"no picture at all\n", "not an image of a known format"),
    "half.jpg": (lambda: encoded(picture(), "JPEG")[:700], "can't be decoded: image file is truncated"),
    "header_only.jpg": (lambda: encoded(picture(), "JPEG")[:20], "can't be decoded|not an image"),
    "half.png": (lambda: encoded(picture(), "PNG")[:3000], "can't be decoded"),
    "changed_bit.png": (lambda: flipped_bit(encoded(picture(), "PNG"), 3000), "can't be decoded"),
    "changed_check_sum.png": (lambda: flipped_bit(encoded(picture(), "PNG"), -14), "can't be decoded"),
    "half.gif": (lambda: encoded(picture(), "GIF")[:900], "can't be decoded"),
    "half.webp": (lambda: encoded(picture(), "WEBP")[:200], "can't be decoded|not an image"),
    "half.tiff": (lambda: encoded(picture(), "TIFF")[:4000], "can't be decoded|not an image"),
    "half.avif": (lambda: encoded(picture(), "AVIF")[:400], "can't be decoded|not an image"),
    "float.tiff": (lambda: encoded(picture().convert("F"), "TIFF"), "32-bit values have no fixed range"),
    "photo.heic": (
        lambda: b"\0\0\0\x18ftypheic" + bytes(60),
        "HEIC images can't be read; convert it to JPEG",
    ),
    "postscript.png": (
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "not an image of a known",
    ),
    "huge.png": (huge_png, "20000×20000 pixels, more than data.max_pixels=178956970"),
}
TOLERANCE = {"cmyk.jpg": 1, "lacks_a_few_bytes.jpg": 255}


def as_pillow_sees_it(data: bytes) -> np.ndarray:
    """RGB pixels (height, width, 3): the first frame, upright, on white, of 16 bits the upper 8."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, (*WHITE, 255))
        image = Image.alpha_composite(canvas, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two classes: `other` is clean, `messy` has every difficult file, links and hidden files."""
    root = tmp_path_factory.mktemp("photos")
    contents = {f"messy/{name}": make() for name, make in GOOD.items()}
    contents |= {f"messy/{name}": make() for name, (make, _) in BAD.items()}
    contents |= {f"other/{number:02}.png": encoded(picture(number), "PNG") for number in range(20)}
    contents |= {
        "messy/.hidden.jpg": b"x",
        "messy/.cache/a.jpg": b"x",
        "messy/Thumbs.db": b"x",
        ".git/a.jpg": b"x",
    }
    contents |= {"messy/notes.txt": b"two cats", "messy/boxes.json": b"{}"}
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "elsewhere.png").write_bytes(encoded(picture(5), "PNG"))
    (root / "messy/link.png").symlink_to(root / "elsewhere.png")
    (root / "messy/link_to_nothing.png").symlink_to(root / "nowhere.png")
    (root / "messy/circle").symlink_to(root / "messy")
    (root / "messy/up").symlink_to(root)
    os.mkfifo(root / "messy/pipe.png")
    return root


def pixels_by_name(table) -> Iterator[tuple[str, np.ndarray]]:  # noqa: ANN001
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
    )  # the last row of blocks, whose colours blend into the row above
    assert fingerprints(messy) == before


def test_a_second_look_starts_no_decoder_and_a_changed_file_is_looked_at_again(
    messy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(messy / "other", root / "other")
    shutil.copytree(messy / "other", root / "more")
    first = Folder(path=root).table()
    looked_at: list[str] = []

    def record(jobs: list[Job], done: Callable, **limits: object) -> None:
        looked_at.extend(os.path.basename(job.path) for job in jobs)
        examine_all(jobs, done, max_pixels=10**6)

    monkeypatch.setattr(check, "examine_all", record)
    assert Folder(path=root).table().fingerprint() == first.fingerprint()
    assert looked_at == []
    (root / "more/07.png").write_bytes(b"not any more")
    assert Folder(path=root).table().quarantined[0][0] == "more/07.png"
    assert looked_at == ["07.png"]


def test_a_raised_limit_of_pixels_reads_what_was_too_large(tmp_path: Path) -> None:
    write_classes(tmp_path, 4)
    with pytest.raises(
        DataError, match=r"8 of 8 files can't be used.*\n.*64×48 pixels, more than data.max_pixels=99"
    ):
        Folder(path=tmp_path, max_pixels=99).table()
    assert not Folder(path=tmp_path).table().quarantined
    with pytest.raises(DataError, match="more than data.max_pixels=98"):
        Folder(path=tmp_path, max_pixels=98).table()


def write_classes(root: Path, count: int) -> list[Path]:
    """So many JPEGs in each of two classes."""
    paths = [root / name / f"{number:04}.jpg" for name in ("cat", "dog") for number in range(count)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(number), "JPEG"))
    return paths


def test_transparent_pixels_show_the_background(tmp_path: Path) -> None:
    write_classes(tmp_path, 1)
    clear = Image.new("RGBA", (4, 4), (9, 9, 9, 0))
    (tmp_path / "cat/clear.png").write_bytes(encoded(clear, "PNG"))
    for background, expected in (("white", WHITE), ("#ff8000", (255, 128, 0)), ((1, 2, 3), (1, 2, 3))):
        table = Folder(path=tmp_path, background=background).table()
        assert tuple(dict(pixels_by_name(table))["cat/clear.png"][0, 0]) == expected
    with pytest.raises(ValueError, match=r"background: expected a colour's name.*received 'whitish'"):
        Folder(path=tmp_path, background="whitish")


def test_images_are_grey_where_all_files_are(tmp_path: Path) -> None:
    for name, image in (("cat/a.png", picture().convert("L")), ("dog/b.gif", picture().convert("L"))):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(encoded(image, name[-3:].upper()))
    (tmp_path / "dog/c.png").write_bytes(encoded(translucent().convert("LA"), "PNG"))
    table = Folder(path=tmp_path).table()
    assert table.images.image_shape == (None, None, 1)
    assert {pixels.shape for _, pixels in pixels_by_name(table)} == {(HEIGHT, WIDTH, 1)}
    (tmp_path / "dog/d.jpg").write_bytes(encoded(picture(), "JPEG"))
    assert Folder(path=tmp_path).table().images.image_shape == (None, None, 3)


def test_five_bad_files_of_a_thousand_leave_exactly_the_other_995(tmp_path: Path) -> None:
    from cnntrain.data.pipeline import Batches, NetworkInput

    paths = write_classes(tmp_path, 500)
    bad = [paths[number] for number in (0, 17, 499, 500, 999)]
    for path in bad:
        path.write_bytes(path.read_bytes()[:300])
    labelled = Folder(path=tmp_path, validation=0, test=0).load()
    assert {str(tmp_path / name) for name, _ in labelled.quarantined} == {str(path) for path in bad}
    network_input = NetworkInput(
        image_size=(8, 8), channels=3, resize="stretch", antialias=False, preprocess="unit"
    )
    batches = Batches(labelled.train, network_input, batch_size=32, shuffle=True, seed=1)
    trained_on = np.concatenate([images for images, *_ in batches.epoch().as_numpy_iterator()])
    expected = np.concatenate(
        [images for images, *_ in Batches(labelled.train, network_input, batch_size=99).epoch()]
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
        Folder(path=tmp_path).table()


@pytest.fixture
def hostile_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that a file called kill.jpg kills, and that one called hang.jpg holds up."""
    (tmp_path / "hostile.py").write_text(
        "import os, sys, time\n"
        "from cnntrain.data import examine\n"
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


def test_a_file_that_vanishes_or_changes_during_training_is_named(tmp_path: Path) -> None:
    import tensorflow as tf

    from cnntrain.data.images import unreadable_file_named

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
    with pytest.raises(tf.errors.OpError), unreadable_file_named(Examples(table, np.arange(0)).table):
        paths[1].write_bytes(encoded(picture(), "JPEG"))
        paths[4].write_bytes(encoded(picture(), "JPEG"))
        tf.io.read_file("/nowhere")


EPOCH = """
import hashlib, sys
from pathlib import Path
from cnntrain.data.augmentation import Augmentation
from cnntrain.data.folder import Folder
from cnntrain.data.pipeline import Batches, NetworkInput

def epoch(root, parallel_calls):
    labelled = Folder(path=Path(root), validation=0, test=0, max_bad_fraction=1.0).load()
    network_input = NetworkInput(image_size=(24, 24), channels=3, resize="crop", antialias=True, preprocess="unit")
    augmentation = Augmentation(random_crop=True, horizontal_flip=0.5, pad_pixels=2)
    batches = Batches(labelled.train, network_input, batch_size=16, seed=7, shuffle=True,
                      augmentation=augmentation, parallel_calls=parallel_calls)
    digest = hashlib.blake2b()
    for images, targets, _ in batches.epoch(3).as_numpy_iterator():
        digest.update(images.tobytes())
        digest.update(targets["class"].tobytes())
    return digest.hexdigest()

if __name__ == "__main__":
    print(epoch(sys.argv[1], 2))
"""


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


def test_a_run_writes_its_quarantine_as_csv_with_any_name(tmp_path: Path) -> None:
    from cnntrain.run_dir import RunDir

    files = [("größe,\n.jpg", "the file is empty"), (os.fsdecode(b"\xff.jpg"), "not an image")]
    run_dir = RunDir(tmp_path)
    run_dir.write_quarantine(files)
    with open(tmp_path / "quarantine.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert [tuple(row) for row in csv.reader(file)] == [("path", "reason"), *files]
