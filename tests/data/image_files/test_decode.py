"""Faster ways to read training images stay close to the exact one, and draw the same parts."""

import json

import numpy as np
import pytest
from PIL import Image

from cnntrain.data.augmentation.settings import Augmentation
from cnntrain.data.decoded_cache import DecodedImages, decoded_once
from cnntrain.data.pipeline import Batches, NetworkInput
from cnntrain.data.sources.folder import Folder
from cnntrain.errors import ConfigError

INPUT = NetworkInput(image_size=(32, 32), channels=3, resize="crop", antialias=False, preprocess="unit")
SQUARES = Augmentation(random_crop=True, horizontal_flip=0.5)


def smooth_photo(seed, height, width):
    """A JPEG's kind of picture: soft, so that the ways to scale it agree."""
    noise = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def wide_photos(tmp_path):
    """Twelve JPEGs of 240×320 and 320×240 pixels, one of them turned by its EXIF data."""
    for number in range(12):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = 6 if number == 5 else 1
        height, width = (240, 320) if number % 3 else (320, 240)
        smooth_photo(number, height, width).save(path, quality=95, exif=exif)
    return tmp_path / "photos"


def images_of(examples, augmentation=SQUARES, decoding="accurate", number=0, **settings):
    batches = Batches(examples, INPUT, batch_size=5, augmentation=augmentation, decoding=decoding, **settings)
    return np.concatenate([images.numpy() for images, *_ in batches.epoch(number)])


@pytest.mark.parametrize("decoding", ["fast", "reduced"])
@pytest.mark.parametrize("augmentation", [SQUARES, Augmentation(random_resized_crop=True, crop_area=(0.3, 1))])
@pytest.mark.parametrize("turned", [False, True])
def test_faster_decoding_reads_nearly_the_same_pixels(wide_photos, decoding, augmentation, turned):
    if not turned:
        (wide_photos / "b" / "5.jpg").unlink()
    examples = Folder(path=wide_photos, validation=0.0, test=0.0).load().train
    exact = images_of(examples, augmentation)
    faster = images_of(examples, augmentation, decoding)
    assert np.abs(exact - faster).mean() < 0.02
    if not (decoding == "fast" and turned):
        assert (exact != faster).any()


def test_evaluation_decodes_accurately_whatever_training_does(wide_photos):
    examples = Folder(path=wide_photos, validation=0.0, test=0.0, decoding="reduced").load().train
    plain = Batches(examples, INPUT, batch_size=12)
    assert plain.stages.decoding == "accurate"


def test_cached_images_are_nearly_those_that_were_decoded(wide_photos):
    examples = Folder(path=wide_photos, validation=0.0, test=0.0).load().train
    for augmentation in (SQUARES, Augmentation(horizontal_flip=0.5)):
        cached = decoded_once(examples, INPUT, augmentation)
        assert isinstance(cached.table.images, DecodedImages)
        for number in (0, 1):
            exact, kept = (images_of(item, augmentation, number=number) for item in (examples, cached))
            assert np.abs(exact - kept).mean() < 0.02


def test_the_cache_is_made_once_and_gives_the_same_bytes_with_any_number_of_calls(wide_photos, monkeypatch):
    examples = Folder(path=wide_photos, validation=0.0, test=0.0).load().train
    first = images_of(decoded_once(examples, INPUT, SQUARES), shuffle=True, parallel_calls=1)
    monkeypatch.setattr("cnntrain.data.decoded_cache.write_decoded", None)
    again = decoded_once(Folder(path=wide_photos, validation=0.0, test=0.0).load().train, INPUT, SQUARES)
    assert (images_of(again, shuffle=True, parallel_calls=8) == first).all()


def test_augmentations_that_need_the_original_are_refused(wide_photos):
    examples = Folder(path=wide_photos, validation=0.0, test=0.0).load().train
    with pytest.raises(ConfigError, match="expected model.resize=stretch or crop without"):
        decoded_once(examples, INPUT, Augmentation(random_resized_crop=True))


def test_a_run_trains_from_the_cache(wide_photos, cnntrain, tmp_path):
    code, said = cnntrain(
        "experiment=smoke", "report=false", "data=folder", f"data.path={wide_photos}", "data.cache_decoded=true",
        "model.resize=crop",
        "augmentation=square_crop_flip", f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert code == 0, said
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]["examples"] > 0
