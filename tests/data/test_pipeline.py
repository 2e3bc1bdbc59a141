"""The tf.data chain: every example once, the same whatever the parallelism, and pixels as the network expects."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from cnntrain.data.augmentation.keyed_random import image_keys, uniform, whole
from cnntrain.data.augmentation.settings import Augmentation
from cnntrain.data.pipeline import Batches, NetworkInput, with_channels
from cnntrain.data.preprocess import preprocess
from cnntrain.data.resize import random_places, resize, square_crop
from cnntrain.data.sources.digits import Digits
from cnntrain.data.sources.folder import Folder

GRAY = NetworkInput(image_size=(8, 8), channels=1, resize="stretch", antialias=False, preprocess="unit")
COLOR = NetworkInput(image_size=(16, 12), channels=3, resize="crop", antialias=False, preprocess="tf")
ALL = Augmentation(random_crop=True, horizontal_flip=0.5, pad_pixels=2)


@pytest.fixture(scope="module")
def digits():
    return Digits(validation=0.0, test=0.0).load().train


def epoch(batches, number=0, **options):
    """All images and class numbers of one epoch."""
    items = list(batches.epoch(number, **options))
    images = np.concatenate([images.numpy() for images, _, _ in items])
    return images, np.concatenate([targets["class"].numpy().argmax(1) for _, targets, _ in items])


def test_an_epoch_is_every_example_exactly_once(digits):
    images, labels = epoch(Batches(digits, GRAY, batch_size=100, seed=3, shuffle=True))
    expected = digits.table.images.pixels / np.float32(255)
    order = np.lexsort(images.reshape(len(images), -1).T)
    expected_order = np.lexsort(expected.reshape(len(expected), -1).T)
    np.testing.assert_allclose(images[order], expected[expected_order], atol=1e-6)
    assert np.bincount(labels).tolist() == digits.class_counts().tolist()


def test_the_order_is_a_function_of_seed_and_epoch(digits):
    def order(seed, number):
        return epoch(Batches(digits, GRAY, batch_size=64, seed=seed, shuffle=True), number)[1].tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_without_shuffle_the_order_is_the_tables(digits):
    assert epoch(Batches(digits, GRAY, batch_size=64))[1].tolist() == digits.labels.tolist()


@pytest.mark.parametrize("augmentation", [ALL, dataclasses.replace(ALL, random_crop=False)])
def test_the_number_of_parallel_calls_changes_nothing(photos, augmentation):
    examples = Folder(path=photos).load().train
    settings = {"batch_size": 5, "seed": 1, "shuffle": True, "augmentation": augmentation}
    epochs = [epoch(Batches(examples, COLOR, parallel_calls=calls, **settings), 2) for calls in (1, 2, 8)]
    for images, labels in epochs[1:]:
        assert (images == epochs[0][0]).all()
        assert (labels == epochs[0][1]).all()


def test_an_epoch_can_be_entered_in_the_middle(digits):
    batches = Batches(digits, GRAY, batch_size=64, seed=1, shuffle=True, augmentation=ALL)
    whole_epoch = epoch(batches, 4)[0]
    assert (epoch(batches, 4, first_batch=5)[0] == whole_epoch[5 * 64 :]).all()


def test_reading_images_one_by_one_or_by_batch_gives_the_same_pixels(digits):
    settings = {"batch_size": 64, "seed": 1, "shuffle": True}
    by_batch = Batches(digits, GRAY, augmentation=Augmentation(pad_pixels=1), **settings)
    by_image = Batches(digits, GRAY, augmentation=Augmentation(pad_pixels=1, random_crop=True), **settings)
    assert (by_batch.stages.by_image, by_image.stages.by_image) == (False, True)
    assert (epoch(by_batch)[0] == epoch(by_image)[0]).all()


def test_an_images_random_changes_do_not_depend_on_its_neighbors(photos):
    examples = Folder(path=photos).load().train
    fewer = dataclasses.replace(examples, rows=examples.rows[::2])
    every = epoch(Batches(examples, COLOR, batch_size=4, seed=1, augmentation=ALL))[0]
    assert (epoch(Batches(fewer, COLOR, batch_size=3, seed=1, augmentation=ALL))[0] == every[::2]).all()


def test_class_weights_follow_the_labels(digits):
    weights = np.arange(10) / 10
    _, targets, given = next(iter(Batches(digits, GRAY, batch_size=50, class_weights=weights).epoch()))
    np.testing.assert_allclose(given["class"], weights[targets["class"].numpy().argmax(1)], rtol=1e-6)


@pytest.mark.parametrize("mode", ["tf", "caffe", "torch"])
def test_preprocess_modes_are_kerases(mode):
    from keras.applications import imagenet_utils

    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3)).astype(np.uint8)
    expected = imagenet_utils.preprocess_input(pixels.astype(np.float32), mode=mode)
    np.testing.assert_allclose(preprocess(tf.constant(pixels), mode), expected, rtol=1e-6)


def test_raw_leaves_the_pixels_as_they_are():
    np.testing.assert_array_equal(preprocess(tf.constant([0, 51, 255], tf.uint8), "raw"), [0.0, 51, 255])


def test_unit_divides_by_255():
    np.testing.assert_allclose(preprocess(tf.constant([0, 51, 255], tf.uint8), "unit"), [0, 0.2, 1], rtol=1e-6)


PICTURE = tf.reshape(tf.range(6 * 4 * 3, dtype=tf.float32), (6, 4, 3))  # height 6, width 4


def both_ways(function, *tensors):
    """A result computed eagerly, and once more inside Dataset.map: they must agree."""
    eager = function(*tensors).numpy()
    mapped = next(iter(tf.data.Dataset.from_tensors(tensors).map(function))).numpy()
    np.testing.assert_array_equal(eager, mapped)
    return eager


def test_the_central_square_is_cut_without_a_key():
    assert both_ways(lambda image: square_crop(image, None), PICTURE).tolist() == PICTURE[1:5].numpy().tolist()


def test_a_keyed_square_lies_anywhere():
    tops = {
        float(both_ways(square_crop, PICTURE, place)[0, 0, 0]) / 12
        for place in random_places(image_keys(0, tf.constant(0), tf.range(40)))
    }
    assert tops == {0.0, 1.0, 2.0}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("stretch", lambda image: tf.image.resize(image, (3, 3))),
        ("crop_or_pad", lambda image: tf.image.resize_with_crop_or_pad(image, 3, 3)),
        ("crop", lambda image: tf.image.resize(image[1:5], (3, 3))),
    ],
)
def test_resize_policies_do_what_they_say(policy, expected):
    def resized(image):
        return resize(image, (3, 3), policy=policy, antialias=False)

    np.testing.assert_allclose(both_ways(resized, PICTURE), expected(PICTURE))


def test_random_numbers_are_uniform_and_differ_between_draws():
    keys = image_keys(5, tf.constant(1), tf.range(20_000))
    numbers = uniform(keys, 0).numpy()
    assert 0 <= numbers.min() and numbers.max() < 1
    assert np.histogram(numbers, 10, (0, 1))[0].std() < 100
    assert abs(np.corrcoef(numbers, uniform(keys, 1).numpy())[0, 1]) < 0.03
    assert set(whole(keys, 2, tf.constant(3)).numpy()) == {0, 1, 2}


def test_channels_are_made_as_many_as_the_network_wants():
    assert with_channels(tf.zeros((2, 2, 1)), 3).shape == (2, 2, 3)
    assert with_channels(tf.zeros((2, 2, 3)), 1).shape == (2, 2, 1)
