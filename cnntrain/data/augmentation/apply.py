"""Augmentation of training images, in the order of the settings' fields."""

from collections.abc import Mapping

import tensorflow as tf

from cnntrain.data.augmentation.color import random_color
from cnntrain.data.augmentation.geometry import horizontal_flip, pad_and_crop, random_affine, vertical_flip
from cnntrain.data.augmentation.keyed_random import Draw, streams
from cnntrain.data.augmentation.mixing import erase, mixture
from cnntrain.data.augmentation.policies import aug_mix, rand_augment, trivial_augment
from cnntrain.data.augmentation.settings import Augmentation
from cnntrain.data.boxes import LEAST_VISIBLE, Boxes, after_crop
from cnntrain.data.resize import ATTEMPTS, random_places, resized_crop_box, square_box

Named = Mapping[str, tf.Tensor]


def random_box(
    height: tf.Tensor, width: tf.Tensor, *, key: tf.Tensor, place: tf.Tensor, augmentation: Augmentation
) -> tf.Tensor:
    """The crop of one image, as a box; see resize.py."""
    if augmentation.random_crop:
        return square_box(height, width, place)
    area, aspect_ratio = augmentation.crop_area, augmentation.crop_aspect_ratio
    return resized_crop_box(height, width, key, area=area, aspect_ratio=aspect_ratio)


def crop_with_object(
    height: tf.Tensor,
    width: tf.Tensor,
    *,
    key: tf.Tensor,
    place: tf.Tensor,
    augmentation: Augmentation,
    boxes: Boxes,
) -> tuple[tf.Tensor, Boxes]:
    """`random_box` for one image, and the image's object box within it.

    A crop that loses the object is redrawn, up to ten times; after that the object stays lost.
    """
    keys = streams(key, Draw.CROP_AGAIN, ATTEMPTS)  # (10,)

    def draw(key: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, Boxes]:
        crop = random_box(height, width, key=key, place=place, augmentation=augmentation)
        return crop, after_crop(boxes, crop, height, width)

    def again(attempt: tf.Tensor, crop: tf.Tensor, found: Boxes) -> tuple[tf.Tensor, tf.Tensor, Boxes]:
        return attempt + 1, *draw(keys[attempt], random_places(keys[attempt]))

    def is_lost(attempt: tf.Tensor, crop: tf.Tensor, found: Boxes) -> tf.Tensor:
        return (boxes.visible > 0) & (found.visible < LEAST_VISIBLE) & (attempt < ATTEMPTS)

    _, crop, found = tf.while_loop(is_lost, again, (tf.constant(0), *draw(key, place)))
    return crop, found


def augment(images: tf.Tensor, keys: tf.Tensor, augmentation: Augmentation) -> tf.Tensor:
    """Augments a batch (batch, height, width, channels) from 0 to 255, each image by its own key (batch,).

    Returns float32, unless only flips and `pad_pixels` are on, which keep the input's dtype.
    """
    if augmentation.horizontal_flip:
        images = horizontal_flip(images, keys, augmentation.horizontal_flip)
    if augmentation.vertical_flip:
        images = vertical_flip(images, keys, augmentation.vertical_flip)
    if augmentation.pad_pixels:
        images = pad_and_crop(images, keys, augmentation.pad_pixels)
    if augmentation.moves:
        images = random_affine(
            images,
            keys,
            translate_fraction=augmentation.translate_fraction,
            rotate_degrees=augmentation.rotate_degrees,
            zoom_fraction=augmentation.zoom_fraction,
            shear_degrees=augmentation.shear_degrees,
            fill=augmentation.fill,
        )
    if augmentation.recolors:
        images = random_color(
            images,
            keys,
            brightness=augmentation.brightness,
            contrast=augmentation.contrast,
            saturation=augmentation.saturation,
            hue_degrees=augmentation.hue_degrees,
            lighting=augmentation.lighting,
        )
    images = apply_policies(images, keys, augmentation)
    if augmentation.erasing:
        area, aspect_ratio = augmentation.erased_area, augmentation.erased_aspect_ratio
        images = erase(images, keys, probability=augmentation.erasing, area=area, aspect_ratio=aspect_ratio)
    return images


def apply_policies(images: tf.Tensor, keys: tf.Tensor, augmentation: Augmentation) -> tf.Tensor:
    """A batch after RandAugment, TrivialAugment and AugMix, if they are on."""
    fill = augmentation.fill
    if augmentation.rand_augment:
        images = rand_augment(
            tf.cast(images, tf.float32),
            keys,
            count=augmentation.rand_augment,
            magnitude=augmentation.rand_augment_magnitude,
            fill=fill,
        )
    if augmentation.trivial_augment:
        images = trivial_augment(tf.cast(images, tf.float32), keys, fill=fill)
    if augmentation.aug_mix_severity:
        severity = augmentation.aug_mix_severity
        images = aug_mix(tf.cast(images, tf.float32), keys, severity=severity, fill=fill)
    return images


def mix_batch(
    images: tf.Tensor, targets: Named, weights: Named, keys: tf.Tensor, augmentation: Augmentation
) -> tuple[tf.Tensor, Named, Named]:
    """A batch after MixUp and CutMix, with its targets and weights mixed in proportion to the pixels."""
    if not (augmentation.mixup_alpha or augmentation.cutmix_alpha):
        return images, targets, weights
    mixed = mixture(images, keys, mixup_alpha=augmentation.mixup_alpha, cutmix_alpha=augmentation.cutmix_alpha)
    return (
        mixed.images(images),
        {name: mixed.values(values) for name, values in targets.items()},
        {name: mixed.values(values) for name, values in weights.items()},
    )
