"""`model=auto`: what it chooses, says and records."""

import json
from dataclasses import replace

import pytest
import yaml

from cnntrain.inspection import auto
from cnntrain.inspection.auto import Facts
from cnntrain.models.keras_weights import factory, weights_file
from tests.conftest import write_photos

PHOTOS = Facts(train=2000, validation=400, test=400, classes=5, image_size=None)
DIGITS = replace(PHOTOS, train=50_000, classes=10, image_size=(28, 28))


@pytest.fixture
def weights_there(tmp_path, monkeypatch):
    """Keras's folder with a file of weights for MobileNetV2 alone, and no connection."""
    import keras

    from cnntrain.models.keras_weights import downloader

    monkeypatch.setattr(downloader().config, "keras_home", lambda: str(tmp_path / ".keras"))
    monkeypatch.setattr("cnntrain.models.keras_weights.answers", lambda host: False)
    weights_file.cache_clear()
    path = weights_file("MobileNetV2", (224, 224, 3), include_top=False).path
    path.parent.mkdir(parents=True)
    factory("MobileNetV2")(input_shape=(224, 224, 3), weights=None, include_top=False).save(path)
    keras.backend.clear_session()
    yield path
    weights_file.cache_clear()


def names(facts):
    return [candidate.title for candidate in auto.candidates(facts)]


def test_photos_call_for_the_best_backbone_first_and_for_probes_last():
    found = names(PHOTOS)
    assert found[0] == "EfficientNetV2S, fine-tuned"
    assert found[3:5] == ["MobileNetV2, fine-tuned", "EfficientNetV2S, a linear probe"]


def test_many_small_images_are_learned_from_scratch_and_few_by_transfer():
    assert names(DIGITS)[0] == "resnet9, trained from scratch"
    assert names(replace(DIGITS, train=100))[0] == "MobileNetV2, fine-tuned"


@pytest.mark.slow
def test_it_takes_what_can_be_reached_says_why_and_is_then_an_ordinary_configuration(
    cnntrain, tmp_path, weights_there
):
    folder, run = write_photos(tmp_path / "photos", {"dark": 12, "light": 12}), tmp_path / "run"
    code, said = cnntrain(
        "model=auto", "data=folder", f"data.path={folder}", "limits.steps=1", "limits.epochs_per_phase=1",
        "batch_size=4", "limits.minutes=600", "report=false", f"hydra.run.dir={run}",
    )  # fmt: skip
    assert code == 0, said
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["model"]["backbone"], config["model"]["image_size"]) == ("MobileNetV2", [224, 224])
    log = (run / "log.txt").read_text()
    for text in (said, log):
        assert "16 training images of several sizes, 2 classes, about 8 per class" in text
        assert "MobileNetV2, fine-tuned: the best on ImageNet (0.713) that fits" in text
        assert "the weights of EfficientNetV2S, EfficientNetV2B3, EfficientNetV2B0 can't be reached" in text
        assert "the same as model=transfer model.backbone=MobileNetV2" in text
    assert "model=auto" in json.loads((run / "run.json").read_text())["command"]


def test_without_weights_it_names_the_file_to_get_and_writes_nothing(cnntrain, tmp_path, weights_there, photos):
    weights_there.unlink()
    code, said = cnntrain("model=auto", "data=folder", f"data.path={photos}", f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 3
    assert "Get https://" in said
    assert "and put it at" in said
    assert not (tmp_path / "run").exists()


def test_too_little_time_for_anything_is_said(cnntrain, photos):
    code, said = cnntrain("model=auto", "data=folder", f"data.path={photos}", "limits.minutes=0.1")
    assert code == 2
    assert "even the quickest network takes about" in said


def test_a_probe_is_taken_where_fine_tuning_takes_too_long(monkeypatch):
    from cnntrain.cli import auto_model, overrides

    monkeypatch.setattr(auto, "reachable", lambda candidate: True)
    monkeypatch.setattr(auto, "slowness", lambda: 1.0)
    monkeypatch.setattr(Facts, "of", lambda labeled: replace(PHOTOS, train=100_000))
    request = overrides.read_request(["model=auto", "limits.minutes=120", "seed=7"], verbs=[])
    prepared, _ = overrides.prepare(request)
    experiment = auto_model.composed(request, prepared)
    decision = auto_model.decide(request, prepared, [experiment])
    (chosen,) = decision.experiments
    assert list(chosen.schedule.phases) == ["head"]
    assert chosen.seed == 7


def test_what_the_user_says_wins(monkeypatch):
    from cnntrain.cli import auto_model

    probe = auto.probe_of(auto.PHOTOS[0])
    words = auto_model.rewritten(["model=auto", "++model.image_size=[160,160]", "optimizer=sgd"], probe)
    assert words == [
        "++model.image_size=[160,160]", "optimizer=sgd", "model=transfer", "schedule=probe",
        "++model.backbone=EfficientNetV2S",
    ]  # fmt: skip
    words = auto_model.rewritten(["model=auto", "++model.image_size=[128,128]"], auto.SMALL_TRANSFER)
    assert "++model.image_size=[96,96]" not in words


@pytest.mark.parametrize("sweep", ["model=auto,lenet5", "data=digits,mnist"])
def test_a_sweep_over_models_or_data_is_refused(cnntrain, sweep):
    code, said = cnntrain("-m", "model=auto", sweep) if sweep.startswith("data") else cnntrain("-m", sweep)
    assert code == 2
    assert "model=auto: chooses once for all jobs" in said


def test_weights_of_ones_own_are_refused_with_what_to_write_instead(cnntrain, photos):
    code, said = cnntrain("model=auto", "model.weights=own.keras", "data=folder", f"data.path={photos}")
    assert code == 2
    assert "auto chooses among Keras's ImageNet weights" in said
