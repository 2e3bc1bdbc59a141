"""A head that is solved: scikit-learn's regression, as a layer on features that are not standardized."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cnntrain.errors import DataError
from cnntrain.training.logistic_head import STRENGTHS, Labeled, solve


def drawn(count, *, classes, seed=0, noise=1.0):
    """Features (count, 12) of different scales, around one center a class."""
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(classes, 12))
    labels = np.arange(count) % classes
    scales = np.geomspace(0.01, 100, 12)
    features = (centers[labels] + noise * random.normal(size=(count, 12))) * scales + 5
    return Labeled(features.astype(np.float32), labels, np.ones(count))


@pytest.mark.parametrize("classes", [2, 4])
def test_the_layer_gives_the_regressions_probabilities_on_features_as_they_are(classes):
    train, validation = drawn(120, classes=classes), drawn(80, classes=classes, seed=1)
    head = solve(train, validation, class_count=classes, seed=0)
    scaler = StandardScaler().fit(train.features)
    model = LogisticRegression(C=head.strength, max_iter=2000, tol=1e-6)
    model.fit(scaler.transform(train.features), train.labels)
    expected = model.predict_proba(scaler.transform(validation.features))
    found = softmax(validation.features @ head.kernel + head.bias, axis=1)
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert head.chosen_on == "80 validation images"


def test_noisier_features_get_a_stronger_penalty():
    strengths = []
    for noise in (0.3, 8.0):
        train, validation = drawn(60, classes=3, noise=noise), drawn(200, classes=3, seed=1, noise=noise)
        strengths.append(solve(train, validation, class_count=3, seed=0).strength)
    assert strengths[0] > strengths[1]
    assert set(strengths) <= set(STRENGTHS)


def test_without_validation_folds_choose():
    head = solve(drawn(90, classes=3), None, class_count=3, seed=0)
    assert head.chosen_on == "5 folds of the training images"
    few = solve(drawn(4, classes=2), None, class_count=2, seed=0)
    assert few.chosen_on == "4 folds of the training images"


def test_weights_count_and_classes_without_examples_are_never_predicted():
    train = drawn(90, classes=3)
    without_last = Labeled(train.features, train.labels, np.where(train.labels == 2, 0.0, 1.0))
    head = solve(without_last, drawn(60, classes=2, seed=1), class_count=3, seed=0)
    assert 2 not in (train.features @ head.kernel + head.bias).argmax(axis=1)
    two_of_five = solve(drawn(40, classes=2), None, class_count=5, seed=0)
    assert two_of_five.kernel.shape == (12, 5)
    assert set((train.features @ two_of_five.kernel + two_of_five.bias).argmax(axis=1)) <= {0, 1}


def test_one_class_is_refused():
    with pytest.raises(DataError, match="at least two classes; received 5 of one class"):
        solve(drawn(5, classes=1), None, class_count=2, seed=0)
