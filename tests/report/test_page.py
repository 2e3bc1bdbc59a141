"""A run's page: what stands on it, what is left out, and that nothing on it is anything but text."""

import html.parser
import shutil

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from cnntrain.data.input_spec import NetworkInput
from cnntrain.data.pipeline import Batches
from cnntrain.evaluation.predictions import Predictions
from cnntrain.report.saved_run import SavedRun
from cnntrain.report.seen import label_of, seen_first
from tests.conftest import read_metrics, write_photos

SCRIPT = "<script>alert(1)"  # a slash would begin another folder
QUOTED = """it's a "file" <b>.png"""
VOID = {"meta", "link", "img", "br", "input", "line", "path", "circle", "rect"}


class Page(html.parser.HTMLParser):
    """Tags with their attributes, in order, and the text of a page; open tags must be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        """The attributes of all tags of a name."""
        return [attributes for name, attributes in self.tags if name == tag]

    def ids(self):
        """All ids on the page."""
        return {attributes["id"] for _, attributes in self.tags if "id" in attributes}


def read_page(run):
    return Page((run / "report.html").read_text())


@pytest.fixture(scope="module")
def photos_run(tmp_path_factory):
    """A finished run on photos, a class and a file of which try to be HTML."""
    from cnntrain.cli.main import main

    root = tmp_path_factory.mktemp("report")
    photos = write_photos(root / "photos", {"dark": 12, SCRIPT: 12})
    for number in range(6):
        suffix = ".png" if number % 2 else ".jpg"
        (photos / "dark" / f"{number}{suffix}").rename(photos / "dark" / f"{number}{QUOTED}")
    words = ["model=lenet5", "model.image_size=[20,24]", "batch_size=4", "data=folder", f"data.path={photos}"]
    code = main([*words, "data.test=0.5", "schedule.phases.all.epochs=2", f"hydra.run.dir={root / 'run'}"])
    assert code == 0
    return root / "run"


def test_answers_are_kept_for_validation_and_test(photos_run):
    answers = Predictions.read(photos_run / "predictions.csv")
    assert set(answers.splits) == {"validation", "test"}
    test, measures = answers.split("test"), read_metrics(photos_run)["test"]
    assert len(test) == measures["examples"] == 12
    assert accuracy_score(test.labels, test.predicted) == pytest.approx(measures["accuracy"])
    assert sorted(name for name in test.names if "file" in name)[0].startswith("dark/")


def test_the_page_has_every_section_and_loads_nothing(photos_run):
    page = read_page(photos_run)
    assert {"training", "classes", "confusion", "pictures", "calibration", "data"} <= page.ids()
    assert {"configuration", "origin", "network"} <= page.ids()
    assert len(page.all("script")) == 1
    assert page.all("script")[0] == {}
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:")), attributes
    links = [link["href"][1:] for link in page.all("a")]
    assert set(links) <= page.ids()
    assert all(image["alt"] for image in page.all("img"))
    assert "url(" not in (photos_run / "report.html").read_text()
    assert any("heat" in image.get("class", "") for image in page.all("img"))


def test_the_time_is_told_apart_and_a_bottleneck_named(photos_run):
    text = " ".join("".join(read_page(photos_run).text).split())
    for part in ("steps", "waiting for input", "validation", "saving"):
        assert part in text
    assert "The bottleneck is" in text
    rows = SavedRun.read(photos_run).history
    assert all(0 < row["input_seconds"] < row["seconds"] and row["validation_seconds"] > 0 for row in rows)


def test_what_the_network_saw_first_is_the_first_batch(photos_run):
    run = SavedRun.read(photos_run)
    labeled = run.experiment.data.load()
    shown = seen_first(run, labeled)
    network_input = NetworkInput.from_record(run.record["input"], "run.json")
    batches = Batches(labeled.train, network_input, batch_size=4, shuffle=True)
    _, targets, _ = next(iter(batches.epoch(0)))
    names = [labeled.class_names[label] for label in targets["class"].numpy().argmax(axis=1)]
    assert [picture.label for picture in shown] == names and len(names) == 4
    alts = [image["alt"] for image in read_page(photos_run).all("img")]
    assert [f"training image of {name}" for name in names] == alts[-4:]


def test_a_mixed_target_is_told_by_its_shares():
    assert label_of(np.array([0.3, 0.0, 0.7]), ("a", "b", "c")) == "70% c, 30% a"
    assert label_of(np.array([0.0, 1.0, 0.0]), ("a", "b", "c")) == "b"


def test_names_that_try_to_be_html_are_shown_as_text(photos_run):
    text = (photos_run / "report.html").read_text()
    page = Page(text)
    assert "<script>alert" not in text
    assert SCRIPT in "".join(page.text)
    assert any(QUOTED in image["alt"] for image in page.all("img"))
    assert page.all("b") == []


def test_every_cell_of_the_confusion_leads_to_its_pictures(photos_run):
    page, confusion = read_page(photos_run), np.array(read_metrics(photos_run)["test"]["confusion"])
    cells = {f"cell-{true}-{predicted}" for true, predicted in np.argwhere(confusion)}
    assert {name for name in page.ids() if name.startswith("cell-")} == cells
    assert {f"#{cell}" for cell in cells} <= {link["href"] for link in page.all("a")}


def test_what_differs_from_the_defaults_stands_first(photos_run):
    from cnntrain.report.configuration import settings_of

    settings = settings_of(SavedRun.read(photos_run).experiment)
    by_key = {item.key: item for item in settings}
    assert by_key["batch_size"].value == "4" and by_key["batch_size"].differs
    assert (by_key["data.path"].default, by_key["data.path"].differs) == ("required", True)
    assert not by_key["seed"].differs and not by_key["limits.steps"].differs
    assert by_key["schedule.phases.all.epochs"].value == "2"
    order = [item.differs for item in settings]
    assert order == sorted(order, reverse=True)


def test_the_page_can_be_made_again(photos_run, cnntrain, tmp_path):
    run = shutil.copytree(photos_run, tmp_path / "run")
    (run / "report.html").unlink()
    code, said = cnntrain("report", run)
    assert (code, said.strip()) == (0, str(run / "report.html"))
    assert (run / "report.html").read_text() == (photos_run / "report.html").read_text()


def test_a_run_whose_data_are_gone_or_changed_keeps_the_rest_of_its_page(photos_run, cnntrain, tmp_path):
    run = shutil.copytree(photos_run, tmp_path / "run")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace(str(photos_run.parent / "photos"), str(tmp_path / "gone")))
    code, said = cnntrain("report", run)
    assert (code, "the page has no pictures: the data can't be read any more" in said) == (0, True)
    page = read_page(run)
    assert {"confusion", "calibration"} <= page.ids() and "pictures" not in page.ids()
    assert page.all("img") == []
    other = write_photos(tmp_path / "gone", {"dark": 12, SCRIPT: 11})
    (run / "config.yaml").write_text(config.replace(str(photos_run.parent / "photos"), str(other)))
    assert cnntrain("report", run)[0] == 0
    assert "No pictures: the data have changed since" in "".join(read_page(run).text)


def test_what_a_run_lacks_is_left_out(photos_run, cnntrain, tmp_path):
    run = shutil.copytree(photos_run, tmp_path / "run")
    for name in ("metrics.json", "predictions.csv", "model.keras"):  # as of a run that was stopped
        (run / name).unlink()
    assert cnntrain("report", run)[0] == 0
    page = read_page(run)
    assert {"training", "data", "configuration"} <= page.ids()
    assert not {"classes", "confusion", "pictures", "calibration", "network"} & page.ids()
    assert "This run has no test result" in "".join(page.text)


def test_a_multiruns_folder_stands_for_its_runs(photos_run, cnntrain, tmp_path):
    for number in (2, 10):
        run = shutil.copytree(photos_run, tmp_path / str(number))
        for name in ("predictions.csv", "model.keras", "report.html"):
            (run / name).unlink()
    code, said = cnntrain("report", tmp_path)
    assert (code, said.split()) == (0, [str(tmp_path / n / "report.html") for n in ("2", "10")])


def test_no_page_is_made_where_none_is_wanted_and_none_without_test_images_fails(cnntrain, tmp_path):
    assert cnntrain("experiment=smoke", "report=false", f"hydra.run.dir={tmp_path / 'a'}")[0] == 0
    assert not (tmp_path / "a" / "report.html").exists()
    words = ["experiment=smoke", "data.test=0", "data.validation=0", f"hydra.run.dir={tmp_path / 'b'}"]
    assert cnntrain(*words)[0] == 0
    assert "classes" not in read_page(tmp_path / "b").ids()
    assert not (tmp_path / "b" / "predictions.csv").exists()


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("predictions.csv", "x", "predictions.csv: can't be read as a table of predictions"),
        ("history.csv", "phase,epoch\nall,many\n", "history.csv: can't be read"),
        ("metrics.json", "{", "metrics.json: can't be read"),
        ("run.json", "{", "run.json: can't be read"),
    ],
)
def test_damaged_files_are_named(photos_run, cnntrain, tmp_path, name, content, text):
    run = shutil.copytree(photos_run, tmp_path / "run")
    (run / name).write_text(content)
    code, said = cnntrain("report", run)
    assert (code, text in said) == (3, True), said


def test_a_path_that_is_no_run_is_named(cnntrain, tmp_path):
    code, said = cnntrain("report", tmp_path)
    assert (code, "expected a run's folder" in said) == (3, True)
