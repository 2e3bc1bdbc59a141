"""Paired and grouped comparisons against SciPy's and scikit-learn's numbers."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score

from cnntrain.report.paired import compare_groups, compare_pairs


def answers(count, share_first, share_second, seed=0):
    """Labels of ten classes, and two networks' answers that are right for about such shares."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, count)
    difficulty = random.random(count)
    noise = random.normal(0, 0.1, (2, count))
    right = [difficulty + shift < share for shift, share in zip(noise, (share_first, share_second), strict=True)]
    return labels, *(np.where(hits, labels, (labels + 1) % 10) for hits in right)


@pytest.mark.parametrize(("shares", "differ"), [((0.80, 0.80), False), ((0.80, 0.90), True), ((0.90, 0.80), True)])
def test_a_pair_is_compared_as_scipy_and_scikit_learn_do(shares, differ):
    labels, first, second = answers(2000, *shares)
    found = compare_pairs(first == labels, second == labels)
    assert found.difference == pytest.approx(accuracy_score(labels, second) - accuracy_score(labels, first))
    discordant = found.only_first + found.only_second
    p_value = min(1, 2 * stats.binom.cdf(min(found.only_first, found.only_second), discordant, 0.5))
    assert found.p_value == pytest.approx(p_value)
    drawn = stats.bootstrap(
        ((second == labels).astype(float) - (first == labels),),
        np.mean,
        n_resamples=5000,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    np.testing.assert_allclose(found.interval, drawn.confidence_interval, atol=0.001)
    assert found.differ == differ
    assert found.both + found.only_first + found.only_second + found.neither == 2000


def test_equal_answers_do_not_differ():
    hits = np.arange(100) % 3 > 0
    found = compare_pairs(hits, hits)
    assert (found.p_value, found.difference, found.interval, found.differ) == (1.0, 0.0, (0.0, 0.0), False)


def test_groups_are_compared_by_welchs_test():
    first, second = np.array([0.90, 0.91, 0.92]), np.array([0.93, 0.95, 0.94, 0.93])
    variances = [group.var(ddof=1) / len(group) for group in (first, second)]
    t = (second.mean() - first.mean()) / np.sqrt(sum(variances))
    freedom = sum(variances) ** 2 / sum(v**2 / (len(g) - 1) for v, g in zip(variances, (first, second), strict=True))
    assert compare_groups(first, second) == pytest.approx(2 * stats.t.sf(abs(t), freedom))


def test_groups_without_deviation_or_of_one_run_are_no_error():
    same = np.array([0.5, 0.5])
    assert compare_groups(same, same) == 1.0
    assert compare_groups(same, same + 0.1) == 0.0
    assert compare_groups(same, np.array([0.6])) is None
