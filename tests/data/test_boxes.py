"""Boxes move as the pixels do: every change of an image agrees with moving a mask of the box and measuring it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml

from cnntrain.data import boxes
from cnntrain.data.augmentation import apply, policies
from cnntrain.data.augmentation.settings import Augmentation
from cnntrain.data.examples import Examples, Names, Table
from cnntrain.data.images import ArrayImages
from cnntrain.data.pipeline import Batches, NetworkInput
from cnntrain.settings import read

CONF = Path(__file__).parent.parent.parent / "conf" / "augmentation"
MOVING = {"alexnet", "crop_flip", "flip", "gentle_crop_flip", "random_resized_crop", "shift", "square_crop_flip",
          "translate", "vertical_flip", "zoom"}  # fmt: skip
TURNING = {"rotate", "shear", "affine", "rand_augment", "trivial_augment"}
STILL = {"none", "brightness", "contrast", "saturation", "hue", "lighting", "color_jitter", "erasing"}
REFUSED = {"mixup", "cutmix", "mixup_cutmix", "aug_mix"}
NETWORK = NetworkInput(image_size=(120, 100), channels=1, resize="stretch", antialias=False, preprocess="raw")
COUNT, HEIGHT, WIDTH = 60, 90, 130


def shipped(name: str) -> Augmentation:
    """The augmentation of a shipped YAML; nothing is erased, which would hide a mask's edges."""
    augmentation, problems = read(Augmentation, yaml.safe_load((CONF / f"{name}.yaml").read_text()), "augmentation")
    assert augmentation is not None, problems
    return dataclasses.replace(augmentation, erasing=0.0, fill="black")


def masked(count: int = COUNT, *, least: float = 0.15, most: float = 0.6) -> Table:
    """Images that are white inside their boxes, which lie on whole pixels, and black outside."""
    random = np.random.default_rng(0)
    sides = np.round(random.uniform(least, most, (count, 2)) * (HEIGHT, WIDTH))
    corners = np.round(random.uniform(0, 1, (count, 2)) * ((HEIGHT, WIDTH) - sides))
    pixels = np.zeros((count, HEIGHT, WIDTH, 1), np.uint8)
    for image, (top, left), (height, width) in zip(pixels, corners.astype(int), sides.astype(int), strict=True):
        image[top : top + height, left : left + width] = 255
    values = np.concatenate([corners + sides / 2, sides], axis=1) / [HEIGHT, WIDTH, HEIGHT, WIDTH]
    return Table(
        images=ArrayImages(pixels), labels=np.arange(count) % 2, ids=np.arange(count), names=Names(),
        class_names=("a", "b"), parts={}, boxes=values.astype(np.float32),
    )  # fmt: skip


def epoch(table: Table, augmentation: Augmentation, network: NetworkInput = NETWORK) -> tuple[np.ndarray, ...]:
    """All images, boxes and their weights of an epoch."""
    batches = Batches(
        Examples(table, np.arange(len(table.labels))), network, batch_size=16, seed=3, augmentation=augmentation,
        localization=True,
    )  # fmt: skip
    items = [(images, targets["box"], weights["box"]) for images, targets, weights in batches.epoch(1)]
    return tuple(np.concatenate(parts) for parts in zip(*items, strict=True))


def measured(image: np.ndarray) -> np.ndarray:
    """The box round what is white, as center and sides in fractions of the image."""
    inside = image[..., 0] > 127
    ends = [np.flatnonzero(inside.any(axis=1 - axis))[[0, -1]] + [0, 1] for axis in (0, 1)]
    ends = [end / side for end, side in zip(ends, inside.shape, strict=True)]
    return np.array([np.mean(ends[0]), np.mean(ends[1]), np.ptp(ends[0]), np.ptp(ends[1])])


def assert_boxes_follow(images: np.ndarray, found: np.ndarray, weights: np.ndarray, *, pixels: float) -> None:
    """Corners are where the masks' are, to so many pixels."""
    off = offsets(images, found, weights)
    assert np.abs(off).max() <= pixels


def offsets(images: np.ndarray, found: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """By how many pixels top, left, bottom and right of the boxes (n, 4) lie further out than the masks'."""
    assert weights.sum() >= 0.2 * len(weights)
    pairs = zip(images[weights > 0], found[weights > 0], strict=True)
    off = [corners_of(measured(image)) - corners_of(box) for image, box in pairs]
    height, width = images.shape[1:3]
    return np.array(off) * [height, width, -height, -width]


def corners_of(box: np.ndarray) -> np.ndarray:
    """Top, left, bottom, right."""
    return np.concatenate([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2])


@pytest.fixture
def no_values_change(monkeypatch):
    """Operations that only change values leave them alone, so that masks stay masks."""
    for name in ("posterize", "solarize", "autocontrast", "equalize", "sharpen", "adjust"):
        monkeypatch.setattr(policies, name, lambda images, *_, **__: images)
    monkeypatch.setattr(apply, "random_color", lambda images, *_, **__: images)


def test_every_shipped_augmentation_is_known_here():
    assert {path.stem for path in CONF.glob("*.yaml")} == MOVING | TURNING | STILL | REFUSED
    for name in MOVING | TURNING | STILL:
        augmentation = shipped(name)
        moves = augmentation.cuts or augmentation.moves or augmentation.pad_pixels or augmentation.rand_augment
        flips = augmentation.horizontal_flip or augmentation.vertical_flip or augmentation.trivial_augment
        assert bool(moves or flips) == (name not in STILL) and not augmentation.mixes
    assert all(shipped(name).mixes for name in REFUSED)


@pytest.mark.parametrize("name", sorted(MOVING))
def test_shipped_augmentations_move_boxes_as_masks(name, no_values_change):
    assert_boxes_follow(*epoch(masked(), shipped(name)), pixels=1.0)


@pytest.mark.parametrize("name", sorted(TURNING))
def test_turned_and_slanted_boxes_are_the_upright_ones_round_their_masks(name, no_values_change):
    images, found, weights = epoch(masked(), shipped(name))
    off = offsets(images, found, weights)
    edges = corners_of(found[weights > 0].T).T
    inside = ((edges > 0) & (edges < 1)).all(axis=1)  # of what left the image, the box round the rest would be smaller
    assert off.min() > -1.0
    assert inside.sum() > 10
    assert np.percentile(off[inside], 90) < 2.5  # a mask's tips are blurred; boxes that are turned twice grow


def test_all_augmentations_at_once_move_boxes_as_masks(no_values_change):
    everything = Augmentation(
        random_resized_crop=True, crop_area=(0.3, 1.0), horizontal_flip=0.5, vertical_flip=0.5, pad_pixels=9,
        translate_fraction=0.1, rotate_degrees=20.0, zoom_fraction=0.3, shear_degrees=15.0, rand_augment=1,
    )  # fmt: skip
    off = offsets(*epoch(masked(), everything))
    assert off.min() > -1.0
    assert np.median(off) < 1.0


@pytest.mark.parametrize(
    ("policy", "size", "crop_box"),
    [
        ("stretch", (120, 100), None),
        ("crop", (120, 100), None),
        ("crop_or_pad", (120, 100), None),
        ("crop_or_pad", (71, 161), None),
        ("crop_and_resize", (120, 100), (0.1, 0.2, 0.9, 0.95)),
    ],
)
def test_every_resize_policy_moves_boxes_and_can_be_undone(policy, size, crop_box):
    network = dataclasses.replace(NETWORK, image_size=size, resize=policy, crop_box=crop_box)
    table = masked()
    images, found, weights = epoch(table, Augmentation(), network)
    assert_boxes_follow(images, found, weights, pixels=1.0)
    scale, offset = boxes.resize_map(tf.constant([HEIGHT, WIDTH]), size, policy=policy, crop_box=crop_box)
    whole = np.isclose(boxes.boxes_of(tf.constant(table.boxes)).mapped(scale, offset).visible, 1)
    sizes = np.tile([HEIGHT, WIDTH], (COUNT, 1))
    undone = boxes.in_image_pixels(found, sizes, size, policy=policy, crop_box=crop_box)
    expected = np.array([corners_of(box) for box in table.boxes])[:, [1, 0, 3, 2]] * [WIDTH, HEIGHT, WIDTH, HEIGHT]
    assert whole.sum() > 5
    np.testing.assert_allclose(undone[whole], expected[whole], atol=1e-3)


def test_a_crop_that_loses_the_object_is_drawn_again():
    table, crop = masked(least=0.1, most=0.2), Augmentation(random_resized_crop=True, crop_area=(0.3, 0.5))
    images, found, weights = epoch(table, crop)
    assert weights.mean() > 0.97
    assert_boxes_follow(images, found, weights, pixels=1.5)


def test_what_is_never_in_sight_has_no_box():
    table = masked()
    table.boxes[:] = [0.5, 0.02, 0.2, 0.04]  # at the left edge, where a narrow part seldom lies
    narrow = Augmentation(random_resized_crop=True, crop_area=(0.01, 0.02), crop_aspect_ratio=(0.5, 1.0))
    _, found, weights = epoch(table, narrow)
    assert 0 < (weights == 0).sum() < len(weights)
    assert (found[weights == 0] == 0).all()


def test_a_crop_without_need_is_drawn_as_it_is_without_boxes():
    table, crop = masked(), Augmentation(random_crop=True)
    everywhere = dataclasses.replace(table, boxes=np.tile(np.float32([0.5, 0.5, 1, 1]), (COUNT, 1)))
    without = Batches(Examples(table, np.arange(COUNT)), NETWORK, batch_size=16, seed=3, augmentation=crop)
    plain = np.concatenate([images for images, *_ in without.epoch(1)])
    np.testing.assert_array_equal(epoch(everywhere, crop)[0], plain)


def test_an_example_without_a_box_weighs_nothing_and_is_cut_once():
    table = dataclasses.replace(masked(), boxes=np.zeros((COUNT, 4), np.float32))
    images, found, weights = epoch(table, Augmentation(random_crop=True))
    assert not found.any() and not weights.any()
    assert (images == epoch(masked(), Augmentation(random_crop=True))[0]).mean() > 0.5


def test_boxes_are_the_same_in_batches_of_any_size():
    augmentation = shipped("affine")
    table = masked(20)
    every = epoch(table, augmentation)[1]
    alone = Batches(
        Examples(table, np.arange(7, 9)), NETWORK, batch_size=2, seed=3, augmentation=augmentation, localization=True
    )
    np.testing.assert_array_equal(next(iter(alone.epoch(1)))[1]["box"], every[7:9])
