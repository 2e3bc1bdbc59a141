"""Every augmentation does what its name says, and depends on (seed, epoch, example id) alone."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from PIL import Image, ImageEnhance, ImageOps

from cnntrain.data import resize
from cnntrain.data.augmentation import apply, color, geometry, keyed_random, mixing, policies
from cnntrain.data.augmentation.settings import Augmentation
from cnntrain.data.examples import Examples, Names, Table
from cnntrain.data.images import ArrayImages
from cnntrain.data.pipeline import Batches, NetworkInput
from cnntrain.models import LeNet5
from cnntrain.settings import read

CONF = Path(__file__).parent.parent.parent / "conf" / "augmentation"
SHIPPED = sorted(path.stem for path in CONF.glob("*.yaml"))
MIXING = {"mixup", "cutmix", "mixup_cutmix"}

Change = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def smooth_images(count: int, height: int = 24, width: int = 32, channels: int = 3) -> np.ndarray:
    """Smooth random uint8 images (count, height, width, channels), no two alike."""
    coarse = np.random.default_rng(0).uniform(0, 255, (count, 6, 8, channels))
    return tf.image.resize(coarse, (height, width), "bicubic").numpy().clip(0, 255).astype(np.uint8)


def keys(count: int, *, epoch: int = 0) -> tf.Tensor:
    """The keys of examples 0 to `count` under seed 3."""
    return keyed_random.image_keys(3, tf.constant(epoch, tf.int64), tf.range(count, dtype=tf.int64))


def shipped(name: str) -> Augmentation:
    """The augmentation of a shipped YAML."""
    values = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    augmentation, problems = read(Augmentation, values, "augmentation")
    assert augmentation is not None, problems
    return augmentation


def both_ways(change: Change, images: np.ndarray) -> Iterator[np.ndarray]:
    """The result run eagerly, and inside Dataset.map."""
    yield change(tf.constant(images), keys(len(images))).numpy()
    dataset = tf.data.Dataset.from_tensors((images, keys(len(images)))).map(change)
    yield next(iter(dataset)).numpy()


def batches(images: np.ndarray, augmentation: Augmentation, **settings: object) -> Batches:
    """Shuffled batches of four, of ten classes, at 20×20."""
    count = len(images)
    table = Table(
        images=ArrayImages(images),
        labels=np.arange(count) % 10,
        ids=np.arange(count) + 100,
        names=Names(),
        class_names=tuple("abcdefghij"),
        parts={},
    )
    expected = NetworkInput(image_size=(20, 20), channels=3, resize="stretch", antialias=False, preprocess="unit")
    return Batches(
        Examples(table, np.arange(count)),
        expected,
        batch_size=4,
        seed=1,
        shuffle=True,
        augmentation=augmentation,
        **settings,
    )


def bytes_of(batches: Batches, epoch: int) -> list[bytes]:
    """All images and targets of an epoch."""
    return [
        part.numpy().tobytes() for images, targets, _ in batches.epoch(epoch) for part in (images, targets["class"])
    ]


def test_a_horizontal_flip_exchanges_left_and_right_of_the_share_it_names():
    images = smooth_images(200)
    for flipped in both_ways(lambda x, k: geometry.horizontal_flip(x, k, 0.3), images):
        mirrored = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
        assert (mirrored | (flipped == images).all(axis=(1, 2, 3))).all()
        assert 0.2 < mirrored.mean() < 0.4


def test_a_vertical_flip_of_probability_one_turns_every_image_upside_down():
    images = smooth_images(3)
    for flipped in both_ways(lambda x, k: geometry.vertical_flip(x, k, 1.0), images):
        np.testing.assert_array_equal(flipped, images[:, ::-1])


def test_padding_and_cropping_shifts_every_way_up_to_the_pixels_it_names():
    bright = np.full((300, 9, 9, 1), 255, np.uint8)
    for moved in both_ways(lambda x, k: geometry.pad_and_crop(x, k, 2), bright):
        black_rows = 9 - (moved[..., 0].max(axis=2) > 0).sum(axis=1)
        assert set(black_rows) == {0, 1, 2}
        assert (moved[:, 4, 4] == 255).all()


def test_a_shift_moves_by_what_it_says_in_whole_pixels():
    images = smooth_images(1, 20, 20)
    for moved in both_ways(lambda x, k: geometry.affine(x, right=0.1, down=-0.05), images):
        np.testing.assert_array_equal(moved[:, :-1, 2:], images[:, 1:, :-2])
        assert not moved[:, :, :2].any()
        assert not moved[:, -1].any()


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turning_by_quarters_is_numpys_rot90(turns):
    images = smooth_images(2, 16, 16)
    for turned in both_ways(lambda x, k: geometry.affine(x, degrees=90.0 * turns), images):
        np.testing.assert_allclose(turned, np.rot90(images, turns, axes=(1, 2)), atol=0.01)


def test_a_zoom_of_two_shows_the_middle_half():
    ramp = np.arange(17, dtype=np.float32).reshape(1, 1, 17, 1).repeat(17, axis=1)
    for zoomed in both_ways(lambda x, k: geometry.affine(x, zoom=2.0), ramp):
        np.testing.assert_allclose(zoomed[0, 8, :, 0], np.linspace(4, 12, 17), atol=1e-4)


def test_a_shear_moves_rows_by_their_distance_from_the_middle():
    column = np.zeros((1, 5, 5, 1), np.float32)
    column[:, :, 2] = 255
    for sheared in both_ways(lambda x, k: geometry.affine(x, shear_right=1.0), column):
        np.testing.assert_allclose(sheared[0, :, :, 0], 255 * np.eye(5), atol=0.01)


@pytest.mark.parametrize(
    ("fill", "expected"),
    [("black", [0, 0, 1]), ("white", [255, 255, 1]), ("edge", [1, 1, 1]), ("reflect", [2, 1, 1])],
)
def test_what_moves_in_is_what_fill_says(fill, expected):
    row = np.array([1, 2, 3, 4], np.float32).reshape(1, 1, 4, 1)
    for moved in both_ways(lambda x, k: geometry.affine(x, right=0.5, fill=fill), row):
        np.testing.assert_allclose(moved[0, 0, :3, 0], expected)


def test_random_affine_maps_stay_within_their_bounds():
    spot = np.zeros((400, 41, 41, 1), np.float32)
    spot[:, 18:23, 18:23] = 255
    settings = {"rotate_degrees": 0.0, "zoom_fraction": 0.0, "shear_degrees": 0.0, "fill": "black"}
    moved = geometry.random_affine(spot, keys(400), translate_fraction=0.2, **settings).numpy()[..., 0]
    columns = (moved * np.arange(41)).sum(axis=(1, 2)) / moved.sum(axis=(1, 2)) - 20
    assert columns.min() == -8
    assert columns.max() == 8


@pytest.mark.parametrize("factor", [0.6, 1.4])
@pytest.mark.parametrize(
    ("name", "enhance"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
def test_brightness_contrast_and_saturation_are_pillows(name, enhance, factor):
    images = smooth_images(2)
    expected = [np.asarray(enhance(Image.fromarray(image)).enhance(factor)) for image in images]
    for changed in both_ways(lambda x, k: color.adjust(x, **{name: tf.fill(tf.shape(k), factor)}), images):
        np.testing.assert_allclose(changed, expected, atol=1.6)


def test_a_hue_keeps_luma_and_a_full_turn_keeps_the_image():
    images = smooth_images(2) // 2 + 64  # no value is cut off
    for turned in both_ways(lambda x, k: color.adjust(x, hue_degrees=tf.fill(tf.shape(k), 40.0)), images):
        before = color.luma(tf.cast(images, tf.float32))
        np.testing.assert_allclose(color.luma(turned), before, atol=0.05)
        assert abs(turned - images).max() > 5
    full = color.adjust(tf.constant(images), hue_degrees=tf.fill([2], 360.0))
    np.testing.assert_allclose(full, images, atol=0.01)


def test_lighting_adds_one_color_to_all_pixels_with_the_papers_deviation():
    images = np.full((2000, 2, 2, 3), 128, np.uint8)
    off = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue_degrees": 0.0}
    for changed in both_ways(lambda x, k: color.random_color(x, k, lighting=0.1, **off), images):
        assert (changed == changed[:, :1, :1]).all()
        along = (changed[:, 0, 0] - 128) @ color.LIGHTING_DIRECTIONS
        np.testing.assert_allclose(along.std(axis=0), 0.1 * color.LIGHTING_DEVIATIONS, rtol=0.1)


def test_a_gray_image_changes_as_it_would_as_a_color_image():
    gray = smooth_images(4, channels=1)
    settings = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.5, "hue_degrees": 90.0, "lighting": 0.1}
    for changed in both_ways(lambda x, k: color.random_color(x, k, **settings), gray):
        as_color = color.random_color(tf.image.grayscale_to_rgb(tf.constant(gray)), keys(4), **settings)
        expected = color.luma(as_color)
        unclipped = (as_color.numpy() > 0).all(-1) & (as_color.numpy() < 255).all(-1)
        np.testing.assert_allclose(changed[unclipped], expected.numpy()[unclipped], atol=0.05)


def test_erasing_paints_a_rectangle_of_the_area_it_names():
    images = smooth_images(200, 40, 40)
    erase = {"probability": 0.5, "area": (0.1, 0.2), "aspect_ratio": (0.5, 2.0)}
    for erased in both_ways(lambda x, k: mixing.erase(x, k, **erase), images):
        changed = (erased != images).any(axis=-1)
        shares = changed.mean(axis=(1, 2))
        hit = shares > 0
        assert 0.35 < hit.mean() < 0.65
        assert shares[hit].min() > 0.08
        assert shares[hit].max() < 0.22
        assert erased[changed].std() < images.std()


@pytest.mark.parametrize(
    ("name", "pillows"), [("equalize", ImageOps.equalize), ("autocontrast", ImageOps.autocontrast)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_equalize_and_autocontrast_are_pillows(name, pillows, channels):
    images = smooth_images(3, channels=channels) // 2 + 20
    expected = [np.asarray(pillows(Image.fromarray(image.squeeze()))).reshape(image.shape) for image in images]
    operation = getattr(policies, name)
    changes = both_ways(lambda x, k: operation(tf.cast(x, tf.float32), tf.ones(3)), images)
    for changed in changes:
        np.testing.assert_allclose(changed, expected, atol=1.01)


def test_solarize_posterize_and_sharpness_are_pillows():
    images = smooth_images(2)
    pixels = tf.cast(images, tf.float32)
    half = tf.fill([2], 0.5)
    pillow = [Image.fromarray(image) for image in images]
    np.testing.assert_array_equal(policies.solarize(pixels, half), [ImageOps.solarize(i, 128) for i in pillow])
    np.testing.assert_array_equal(policies.posterize(pixels, -4 * half), [ImageOps.posterize(i, 6) for i in pillow])
    sharp = policies.sharpen(pixels, tf.fill([2], 1.8)).numpy()
    expected = np.stack([np.asarray(ImageEnhance.Sharpness(image).enhance(1.8)) for image in pillow])
    np.testing.assert_allclose(sharp[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], atol=1.6)


def test_each_image_goes_through_the_operation_that_was_chosen_for_it():
    ones = tf.ones([4, 2, 2, 1])
    operations_ = [lambda x, level: x * level[:, None, None, None], lambda x, level: -x]
    changed = policies.apply_choice(ones, operations_, tf.constant([1, 0, 0, 1]), tf.constant([9.0, 2, 3, 9]))
    assert changed[:, 0, 0, 0].numpy().tolist() == [-1, 2, 3, -1]


def test_rand_augment_at_magnitude_zero_only_equalizes_and_stretches_contrast():
    flat = np.stack([np.arange(256).reshape(16, 16)] * 50)[..., np.newaxis].astype(np.float32)  # already equal
    changed = policies.rand_augment(flat, keys(50), count=2, magnitude=0.0, fill="black")
    np.testing.assert_allclose(changed, flat, atol=1.01)


def test_random_resized_crops_have_areas_and_shapes_in_their_range():
    settings = {"area": (0.2, 0.6), "aspect_ratio": (0.5, 2.0)}
    dataset = tf.data.Dataset.from_tensor_slices(keys(200))
    dataset = dataset.map(lambda key: resize.resized_crop_box(200, 300, key, **settings))
    top, left, height, width = next(iter(dataset.batch(200))).numpy().T
    assert (top >= 0).all() and (left >= 0).all() and (top + height <= 200).all() and (left + width <= 300).all()
    assert 0.19 < (height * width / 60_000).min() < 0.3
    assert 0.5 < (height * width / 60_000).max() < 0.61
    assert 0.48 < (width / height).min() < 0.8
    assert 1.5 < (width / height).max() < 2.1


def test_a_random_resized_crop_that_never_fits_is_the_largest_central_part():
    box = resize.resized_crop_box(10, 100, keys(1)[0], area=(0.9, 1.0), aspect_ratio=(1.0, 2.0))
    assert box.numpy().tolist() == [0, 40, 10, 20]


def test_crop_and_resize_is_tensorflows_for_one_image_and_for_a_batch():
    images = smooth_images(3)
    box = (0.1, 0.2, 0.9, 0.7)
    expected = tf.image.crop_and_resize(images, [box] * 3, [0, 1, 2], (10, 12))
    settings = {"policy": "crop_and_resize", "antialias": False, "crop_box": box}
    for resized in both_ways(lambda x, k: resize.resize(x, (10, 12), **settings), images):
        np.testing.assert_array_equal(resized, expected)
    np.testing.assert_array_equal(resize.resize(tf.constant(images[1]), (10, 12), **settings), expected[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resize": "crop_and_resize"}, "crop_box: belongs to model.resize=crop_and_resize, which needs it"),
        ({"crop_box": [0, 0, 1, 1]}, "received .* with resize=stretch"),
        (
            {"resize": "crop_and_resize", "crop_box": [0.5, 0, 0.5, 1]},
            r"top < bottom .*\[0.5, 0.0, 0.5, 1.0\]",
        ),
        (
            {"resize": "crop_and_resize", "crop_box": [0, 0, 1, 1.5]},
            "model.crop_box: expected a list of a number",
        ),
        (
            {"resize": "crop_and_resize", "crop_box": [0, 0, 1, 1], "antialias": True},
            "crop_and_resize has none",
        ),
    ],
)
def test_a_crop_box_that_makes_no_sense_is_refused(settings, message):
    _, problems = read(LeNet5, {"name": "lenet5", **settings}, "model")
    with pytest.raises(ValueError, match=message):
        raise ValueError(*problems)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"random_crop": True, "random_resized_crop": True}, "random_crop: excludes random_resized_crop"),
        ({"crop_area": [1.0, 0.5]}, r"crop_area: expected \[lowest, highest\]; received \[1.0, 0.5\]"),
        (
            {"rotate_degrees": 200},
            "augmentation.rotate_degrees: expected a number from 0 to 180; received 200",
        ),
        ({"rotate_degree": 10}, "did you mean augmentation.rotate_degrees"),
        ({"fill": "mirror"}, "augmentation.fill: expected black or white or edge or reflect"),
    ],
)
def test_an_augmentation_that_makes_no_sense_is_refused(settings, message):
    _, problems = read(Augmentation, settings, "augmentation")
    with pytest.raises(ValueError, match=message):
        raise ValueError(*problems)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_augmentation_begins_with_its_command_and_changes_images_anew_each_epoch(name):
    lines = (CONF / f"{name}.yaml").read_text().splitlines()
    assert lines[0] == f"# cnntrain augmentation={name}"
    assert lines[1].startswith("# ")
    loader = batches(smooth_images(8), shipped(name))
    plain = batches(smooth_images(8), Augmentation())
    loader.stages.shuffle = plain.stages.shuffle = False
    drawn = {tuple(bytes_of(loader, 0)), tuple(bytes_of(loader, 1)), tuple(bytes_of(plain, 0))}
    assert len(drawn) == (1 if name == "none" else 3)


EVERYTHING = dataclasses.replace(
    shipped("mixup_cutmix"),
    random_resized_crop=True,
    vertical_flip=0.5,
    pad_pixels=1,
    translate_fraction=0.1,
    rotate_degrees=20.0,
    zoom_fraction=0.2,
    shear_degrees=10.0,
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
    hue_degrees=20.0,
    lighting=0.1,
    rand_augment=1,
    erasing=0.5,
)


def test_an_epoch_has_the_same_bytes_for_any_number_of_calls_and_after_a_restart():
    images = smooth_images(18)
    expected = bytes_of(batches(images, EVERYTHING, parallel_calls=1), 2)
    for calls in (2, 8):
        loader = batches(images, EVERYTHING, parallel_calls=calls)
        assert bytes_of(loader, 3) != expected
        assert bytes_of(loader, 2) == expected
    resumed = batches(images, EVERYTHING).epoch(2, first_batch=3)
    assert [images.numpy().tobytes() for images, *_ in resumed] == expected[6::2]


def test_an_image_is_changed_alike_alone_and_in_a_batch():
    alone = dataclasses.replace(EVERYTHING, trivial_augment=True, aug_mix_severity=3, mixup_alpha=0.0, cutmix_alpha=0.0)
    images = tf.constant(smooth_images(9))
    changed = apply.augment(images, keys(9), alone).numpy()
    for number in range(9):
        one = apply.augment(images[number : number + 1], keys(9)[number : number + 1], alone)
        np.testing.assert_array_equal(one[0], changed[number])


def test_an_augmentation_that_is_added_leaves_the_draws_of_the_others():
    images = tf.constant(smooth_images(20))
    flips = apply.augment(images, keys(20), Augmentation(horizontal_flip=0.5))
    both = apply.augment(images, keys(20), Augmentation(horizontal_flip=0.5, vertical_flip=1.0))
    np.testing.assert_array_equal(both, flips[:, ::-1])


@pytest.mark.parametrize("name", sorted(MIXING))
def test_mixed_targets_are_in_the_proportion_of_the_pixels(name):
    augmentation = dataclasses.replace(shipped(name), horizontal_flip=0.0)
    count = 64
    images = np.zeros((count, 20, 20, 1), np.float32)
    images[::2] = 200
    targets = {"class": tf.one_hot(np.arange(count) % 2, 2)}  # class 0 is bright
    weights = {"class": tf.constant(np.where(np.arange(count) % 2, 3.0, 1.0), tf.float32)}
    mixed, soft, weighed = apply.mix_batch(images, targets, weights, keys(count), augmentation)
    bright = mixed.numpy().mean(axis=(1, 2, 3)) / 200
    np.testing.assert_allclose(soft["class"][:, 0], bright, atol=1e-5)
    np.testing.assert_allclose(tf.reduce_sum(soft["class"], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(weighed["class"], 1 + 2 * (1 - bright), atol=1e-4)
    assert ((bright > 0.01) & (bright < 0.99)).sum() > 5


@pytest.mark.parametrize("count", [1, 2, 5, 32])
def test_partners_are_a_permutation_without_a_fixed_point(count):
    partner = mixing.partners(keys(count)).numpy()
    assert sorted(partner) == list(range(count))
    assert count == 1 or (partner != np.arange(count)).all()


def test_random_numbers_have_the_distributions_they_name():
    many = keys(20_000)
    assert abs(keyed_random.normal(many, 1).numpy().std() - 1) < 0.02
    assert abs(keyed_random.exponential(many, 1).numpy().mean() - 1) < 0.03
    shares = keyed_random.beta(many, 1, 0.2).numpy()
    assert abs(shares.mean() - 0.5) < 0.01
    assert abs(shares.var() - 1 / (4 * 1.4)) < 0.01
    ratios = keyed_random.log_between(many, 1, 0.5, 2.0).numpy()
    assert abs(np.log(ratios).mean()) < 0.01
    assert 0.5 <= ratios.min() and ratios.max() <= 2.0
