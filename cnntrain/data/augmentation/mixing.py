"""Random erasing, and mixing images with each other, on batches (batch, height, width, channels)."""

from dataclasses import dataclass

import tensorflow as tf

from cnntrain.data.augmentation.color import mean_color, per_image
from cnntrain.data.augmentation.keyed_random import Draw, beta, between, log_between, uniform, whole


def erase(
    images: tf.Tensor,
    keys: tf.Tensor,
    *,
    probability: float,
    area: tuple[float, float],
    aspect_ratio: tuple[float, float],
) -> tf.Tensor:
    """Fills a rectangle in some of the images with their mean color; float32.

    `area` is its share of the image, `aspect_ratio` its width divided by its height, log-uniform; a side is at most
    as long as the image's. Source: Zhong et al., "Random Erasing Data Augmentation", 2017.
    """
    images = tf.cast(images, tf.float32)
    height, width = images.shape[1], images.shape[2]
    pixels = between(keys, Draw.ERASED_AREA, *area) * (height * width)
    ratios = log_between(keys, Draw.ERASED_ASPECT_RATIO, *aspect_ratio)
    box_height = tf.clip_by_value(tf.cast(tf.round(tf.sqrt(pixels / ratios)), tf.int32), 1, height)
    box_width = tf.clip_by_value(tf.cast(tf.round(tf.sqrt(pixels * ratios)), tf.int32), 1, width)
    top = whole(keys, Draw.ERASED_TOP, height - box_height + 1)
    left = whole(keys, Draw.ERASED_LEFT, width - box_width + 1)
    box_height = tf.where(uniform(keys, Draw.ERASE) < probability, box_height, 0)
    inside = inside_box(images, top=top, left=left, bottom=top + box_height, right=left + box_width)
    return tf.where(inside, mean_color(images)[:, tf.newaxis, tf.newaxis, :], images)


def inside_box(images: tf.Tensor, *, top: tf.Tensor, left: tf.Tensor, bottom: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Whether a pixel is in its image's box, (batch, height, width, 1)."""
    rows, columns = tf.range(images.shape[1]), tf.range(images.shape[2])
    rows = (rows >= top[:, tf.newaxis]) & (rows < bottom[:, tf.newaxis])  # (batch, height)
    columns = (columns >= left[:, tf.newaxis]) & (columns < right[:, tf.newaxis])  # (batch, width)
    return (rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :])[..., tf.newaxis]


@dataclass(frozen=True)
class Mixture:
    """How the images of a batch are mixed: each with its partner, keeping `share` of its own value in every pixel.

    partner: int32 (batch,); share: float32 (batch, height, width, 1), or (batch, 1, 1, 1) if all pixels are alike.
    """

    partner: tf.Tensor
    share: tf.Tensor

    def images(self, images: tf.Tensor) -> tf.Tensor:
        """The images, mixed; float32."""
        images = tf.cast(images, tf.float32)
        return images * self.share + tf.gather(images, self.partner) * (1 - self.share)

    def values(self, values: tf.Tensor) -> tf.Tensor:
        """Per-example numbers (batch, …), such as targets, mixed in proportion to the pixels."""
        share = tf.reduce_mean(self.share, axis=[1, 2, 3])
        share = tf.reshape(share, tf.concat([[-1], tf.ones_like(tf.shape(values)[1:])], axis=0))
        return values * share + tf.gather(values, self.partner) * (1 - share)


def mixture(images: tf.Tensor, keys: tf.Tensor, *, mixup_alpha: float, cutmix_alpha: float) -> Mixture:
    """MixUp if `cutmix_alpha` is 0, CutMix if `mixup_alpha` is 0; with both, each for half of the images.

    The share is drawn for each image from Beta(alpha, alpha). Sources: Zhang et al., "mixup: Beyond Empirical
    Risk Minimization", 2017; Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with
    Localizable Features", 2019.
    """
    partner = partners(keys)
    if not cutmix_alpha:
        return Mixture(partner, per_image(beta(keys, Draw.MIXUP_SHARE, mixup_alpha)))
    cut = cutmix_share(images, keys, cutmix_alpha)
    if not mixup_alpha:
        return Mixture(partner, cut)
    blend = per_image(beta(keys, Draw.MIXUP_SHARE, mixup_alpha))
    return Mixture(partner, tf.where(per_image(uniform(keys, Draw.MIX_KIND)) < 0.5, blend, cut))


def partners(keys: tf.Tensor) -> tf.Tensor:
    """int32 (batch,): each image's partner, the next in a random order, so itself only if it is alone."""
    order = tf.argsort(uniform(keys, Draw.PARTNER), stable=True)
    return tf.gather(tf.roll(order, -1, axis=0), tf.argsort(order))


def cutmix_share(images: tf.Tensor, keys: tf.Tensor, alpha: float) -> tf.Tensor:
    """float32 (batch, height, width, 1): 0 inside a random box of the image's own shape, else 1."""
    height, width = images.shape[1], images.shape[2]
    side = tf.sqrt(1 - beta(keys, Draw.CUTMIX_SHARE, alpha))
    half_height = tf.cast(tf.round(side * height / 2), tf.int32)
    half_width = tf.cast(tf.round(side * width / 2), tf.int32)
    row, column = whole(keys, Draw.CUTMIX_ROW, height), whole(keys, Draw.CUTMIX_COLUMN, width)
    inside = inside_box(
        images,
        top=row - half_height,
        left=column - half_width,
        bottom=row + half_height,
        right=column + half_width,
    )
    return 1 - tf.cast(inside, tf.float32)
