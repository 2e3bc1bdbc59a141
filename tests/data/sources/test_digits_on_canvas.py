"""Digits on canvases: boxes fit the ink, everything is repeatable, and no digit is in two splits."""

import numpy as np

from cnntrain.data.sources.digits_on_canvas import INK, DigitsOnCanvas

SMALL = {"copies": 1, "canvas_size": 40}


def test_a_box_is_the_one_round_the_digits_ink():
    table = DigitsOnCanvas(**SMALL, clutter=0).table()
    for pixels, box in zip(table.images.pixels[:200, ..., 0], table.boxes[:200], strict=True):
        rows, columns = (np.flatnonzero((pixels >= INK).any(axis=axis)) for axis in (1, 0))
        seen = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
        corners = np.concatenate([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2]) * 40
        np.testing.assert_allclose(corners, seen, atol=1e-4)


def test_clutter_lies_about_and_is_paler_than_digits():
    clean, cluttered = (DigitsOnCanvas(**SMALL, clutter=count).table().images.pixels for count in (0, 6))
    assert (cluttered > 0).mean() > 1.5 * (clean > 0).mean()
    assert (cluttered[:, 0, 0] < 255).all()


def test_places_and_sizes_differ_and_every_digit_lies_whole_on_its_canvas():
    boxes = DigitsOnCanvas(**SMALL).table().boxes
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    assert low.min() >= 0 and high.max() <= 1
    assert boxes[:, :2].std(axis=0).min() > 0.15
    assert boxes[:, 2].min() < 0.3 and boxes[:, 2].max() > 0.55


def test_canvases_are_drawn_from_their_seed():
    first, again, other = (DigitsOnCanvas(**SMALL, canvas_seed=seed).table() for seed in (0, 0, 1))
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()


def test_the_canvases_of_a_digit_stay_in_one_split():
    labeled = DigitsOnCanvas(copies=3, canvas_size=24, clutter=0, test=0.25, validation=0.1).load()
    origins = [set(labeled.split(name).rows // 3) for name in ("train", "validation", "test")]
    assert sum(map(len, origins)) == len(set.union(*origins)) == 1797
    assert 0.23 < len(labeled.test) / (3 * 1797) < 0.27
