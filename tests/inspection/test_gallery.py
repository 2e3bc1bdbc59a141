"""`cnntrain models`: the gallery, and one network of it."""

import json
from pathlib import Path

import pytest

from cnntrain.inspection import gallery
from cnntrain.models import MODELS

README = Path(__file__).parent.parent.parent / "README.md"

# what papers or the tables of libraries say, in millions
MULTIPLY_ADDS = {
    "lenet5_1998": 0.3, "vgg16": 15_470, "resnet18": 1_814, "resnet34": 3_664, "resnet50": 4_089,
    "resnet101": 7_801, "mobilenet": 569, "mobilenet_v2": 301, "senet154": 20_700,
}  # fmt: skip


@pytest.fixture(scope="module")
def printed():
    """The whole gallery as JSON, printed once for all tests: it takes a quarter of a minute."""
    import contextlib
    import io

    from cnntrain.cli.main import main

    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert main(["models", "--json"]) == 0
    return json.loads(output.getvalue())


def test_the_gallery_has_an_entry_for_every_model(printed):
    assert [one["name"] for one in printed] == list(MODELS)
    assert set(printed[0]) == {
        "name", "title", "year", "paper", "parameters", "trainable_parameters", "multiply_adds", "image_size",
        "channels", "classes", "pretrained",
    }  # fmt: skip
    lenet5 = printed[0]
    assert (lenet5["parameters"], lenet5["image_size"], lenet5["channels"]) == (369_174, [28, 28], 1)


def test_multiply_adds_are_the_published_ones(printed):
    counts = {one["name"]: one["multiply_adds"] / 1e6 for one in printed}
    assert {name: counts[name] for name in MULTIPLY_ADDS} == pytest.approx(MULTIPLY_ADDS, rel=0.1, abs=0.05)
    assert counts["resnet50"] == pytest.approx(4_089, rel=1e-3)


def test_auxiliary_classifiers_are_not_counted(printed):
    assert {one["name"]: one["parameters"] for one in printed}["googlenet"] == 6_998_552


def test_the_readmes_table_is_what_the_command_prints(printed):
    entries = [gallery.Entry(**{**one, "image_size": tuple(one["image_size"])}) for one in printed]
    table = README.read_text().partition("<!-- gallery -->\n")[2].partition("\n<!-- /gallery -->")[0]
    assert table == gallery.markdown(entries), "run `cnntrain models --markdown` and put its output into README.md"


def test_a_model_is_shown_with_its_story_and_layers(cnntrain):
    code, said = cnntrain("models", "lenet5")
    assert code == 0
    assert "LeNet-5 (1998)" in said and "bank cheques" in said
    row = next(line for line in said.splitlines() if line.startswith("│ c3 "))
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "c3", "Conv2D", "10×10×48", "38,448", "3,840,000"
    ]  # fmt: skip
    assert "369,174 trainable parameters" in said


def test_a_model_is_told_as_json_too(cnntrain):
    code, said = cnntrain("models", "lenet5", "--json")
    assert (code, json.loads(said)[0]["multiply_adds"]) == (0, 4_796_744)


def test_an_unknown_model_is_answered_with_the_nearest(cnntrain):
    assert cnntrain("models", "resnet33") == (2, "resnet33: no such model: did you mean resnet34?\n")


def test_the_readmes_form_is_for_all_models(cnntrain):
    code, said = cnntrain("models", "lenet5", "--markdown")
    assert code == 2
    assert "--markdown is for all models" in said


@pytest.mark.parametrize(
    ("count", "text"), [(60_840, "0.0608 M"), (369_174, "0.369 M"), (4_253_864, "4.25 M"), (15_470_264_320, "15,470 M")]
)
def test_counts_are_told_in_millions(count, text):
    assert gallery.millions(count) == text
