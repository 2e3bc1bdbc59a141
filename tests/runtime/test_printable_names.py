"""Names that data give are text: they steer no terminal, and every picture shows them."""

import warnings

import numpy as np
import pytest
from PIL import Image

from cnntrain.data.sources.folder import Folder
from cnntrain.evaluation.drawing import draw_boxes, drawn_text
from cnntrain.report.plots import axis_labels, draw_confusion
from cnntrain.runtime.fonts import drawable
from cnntrain.runtime.wording import printable
from tests.conftest import write_photos

HOSTILE = "cat\x1b[31m\u202egod\x9b2J"
SCRIPTS = ["小猫", "قطة", "🐱", "Käse", "$x^2$"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Käse 小猫 قطة 🐱", "Käse 小猫 قطة 🐱"),
        ("👩\u200d🌾", "👩\u200d🌾"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b2J", r"\x9b2J"),
        ("a\u202eb\u2066c", r"a\u202eb\u2066c"),
        ("a\u2028b", r"a\u2028b"),
        ("a\ufeffb", r"a\ufeffb"),
        ("a\udcffb", r"a\xffb"),
    ],
)
def test_what_would_steer_a_terminal_is_shown_as_an_escape(name, shown):
    assert printable(name) == shown


@pytest.fixture
def hostile_photos(tmp_path):
    """A folder whose classes, and one file, are called after what attacks a terminal."""
    root = write_photos(tmp_path / "photos", {HOSTILE: 8, "dog": 8})
    (root / "dog" / f"{HOSTILE}.jpg").write_bytes(b"no image")
    return root


def test_no_verb_writes_a_name_raw(cnntrain, hostile_photos, tmp_path):
    run = tmp_path / "run"
    data = "data=folder", f"data.path={hostile_photos}"
    image = hostile_photos / HOSTILE / "0.jpg"
    for words in (
        ("inspect", *data, "--out", tmp_path / "page.html"),
        ("experiment=smoke", "report=false", *data, f"hydra.run.dir={run}"),
        ("experiment=smoke", *data, "data.max_bad_fraction=0"),
        ("experiment=smoke", *data, "class_weights={cat: 1}"),
        ("evaluate", run),
        ("evaluate", run, "data=digits"),
        ("predict", run, image),
        ("predict", run, image, "--csv"),
        ("predict", run, image, "--json"),
        ("predict", run, hostile_photos / f"{HOSTILE}.png"),
        ("report", run),
        ("compare", run, run),
    ):
        _, output = cnntrain(*words)
        assert output, words
        assert not {"\x1b", "\x9b", "\u202e"} & set(output), words
    for file in ("log.txt", "report.html"):
        assert not {"\x1b", "\x9b", "\u202e"} & set((run / file).read_text()), file
    assert r"cat\x1b[31m\u202egod\x9b2J" in (run / "log.txt").read_text()


def test_every_drawing_shows_names_of_any_script_without_a_warning(tmp_path):
    count = len(SCRIPTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_confusion(np.eye(count, dtype=int).tolist(), SCRIPTS, tmp_path / "confusion.png")
        for name in SCRIPTS:
            draw_boxes(np.zeros((40, 40, 3), np.uint8), [(np.array([1, 1, 9, 9]), "red")], name)
    with Image.open(tmp_path / "confusion.png") as image:
        assert image.width > 100


def test_a_name_that_no_font_draws_is_a_number_with_a_legend(monkeypatch):
    monkeypatch.setattr("cnntrain.runtime.fonts.characters_of_fonts", lambda: {"font.ttf": frozenset(range(256))})
    labels, legend = axis_labels(["cat", "小猫", "Käse"])
    assert (labels, legend) == (["cat", "1", "Käse"], r"1: \u5c0f\u732b")
    assert drawn_text("小猫") == (r"\u5c0f\u732b", None)
    assert drawn_text("Käse") == ("Käse", "font.ttf")
    assert drawable("$x$") == r"\$x\$"


def test_classes_of_any_script_train_and_are_found_by_name(tmp_path):
    root = write_photos(tmp_path, {"小猫": 3, "قطة": 3, "🐱": 3})
    assert set(Folder(path=root).load().class_names) == {"小猫", "قطة", "🐱"}
