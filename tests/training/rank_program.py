"""What each rank of tests/training/test_ranks.py runs: a few steps, whose results rank 0 writes to the file named."""

import sys

import numpy as np

from cnntrain.runtime import backend, ranks

backend.load()

import keras  # noqa: E402 - after the ranks have met

from cnntrain.data.augmentation.settings import Augmentation  # noqa: E402
from cnntrain.data.examples import Examples, Names, Table  # noqa: E402
from cnntrain.data.images import ArrayImages  # noqa: E402
from cnntrain.data.input_spec import NetworkInput  # noqa: E402
from cnntrain.data.pipeline import Batches  # noqa: E402
from cnntrain.evaluation.evaluate import predict_split  # noqa: E402
from cnntrain.evaluation.loop import EvaluationLoop  # noqa: E402
from cnntrain.models.box_head import BoxHead  # noqa: E402
from cnntrain.training.batch_statistics import recalibrate  # noqa: E402
from cnntrain.training.loop import Objective, TrainingLoop  # noqa: E402

SIDE, CLASSES, COUNT, BATCH = 8, 3, 25, 6  # the last batch has one image: three of four ranks have none
BOXES = BoxHead(loss="giou", square_root_sides=True)


def examples() -> Examples:
    """Random images with a class each, and a box for most."""
    random = np.random.default_rng(0)
    boxes = np.clip(random.uniform(0.3, 0.6, (COUNT, 4)), 0, 1).astype(np.float32)
    boxes[::5] = 0
    table = Table(
        images=ArrayImages(random.integers(0, 256, (COUNT, SIDE, SIDE, 3), np.uint8)),
        labels=random.integers(0, CLASSES, COUNT),
        class_names=tuple("abc"),
        ids=np.arange(COUNT, dtype=np.int64),
        names=Names(),
        parts={"train": (0, COUNT)},
        boxes=boxes,
    )
    return Examples(table, np.arange(COUNT))


def network() -> keras.Model:
    """Two outputs of a class and one of a box, on layers with BatchNormalization of maps and of features."""
    layers = keras.layers
    images = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(6, 3, kernel_regularizer=keras.regularizers.L2(0.01))(images)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    auxiliary = layers.Dense(CLASSES, activation="softmax", name="auxiliary")(layers.Flatten()(x))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(x))
    x = layers.BatchNormalization(momentum=0.9)(x)
    outputs = {
        "class": layers.Dense(CLASSES, activation="softmax", name="class")(x),
        "auxiliary": auxiliary,
        "box": layers.Dense(4, name="box")(x),
    }
    return keras.Model(images, outputs)


def results(augmentation: Augmentation, *, boxes: bool, **optimizer) -> dict[str, np.ndarray]:
    """All numbers of an epoch: weights, slots, sums; then of a validation, of predictions, and recalibrated."""
    backend.start_run(seed=0, precision="float32")
    data, size = examples(), (SIDE, SIDE)
    expected = NetworkInput(image_size=size, channels=3, resize="stretch", antialias=False, preprocess="unit")
    batches = Batches(
        data, expected, batch_size=BATCH, seed=1, shuffle=True, augmentation=augmentation, localization=boxes,
        class_weights=np.array([1.0, 2.0, 0.5]), share=ranks.share(),
    )  # fmt: skip
    model, head = network(), BOXES if boxes else None
    weights = {"class": 1.0, "auxiliary": 0.3, **({"box": 0.5} if boxes else {})}
    objective = Objective(weights, label_smoothing=0.1, l2=0.001, box_head=head)
    loop = TrainingLoop(model, keras.optimizers.SGD(0.05, momentum=0.9, **optimizer), objective)
    list(loop.run_epoch(batches.epoch(), batches.steps))
    evaluation = EvaluationLoop(model, box_head=head)
    validated = Batches(data, expected, batch_size=BATCH, localization=boxes, share=ranks.share())
    metrics = evaluation.run(validated.epoch(), validated.steps)
    predicted = predict_split(model, data, expected, batch_size=BATCH, box_head=head)
    found = {f"{number} {each.path}": each.numpy() for number, each in enumerate(model.variables)}
    found |= {f"{number} slot": each.numpy() for number, each in enumerate(loop.optimizer.variables)}
    recalibrate(model, batches.epoch(0))
    found |= {f"recalibrated {number}": each.numpy() for number, each in enumerate(model.non_trainable_variables)}
    return {
        **found,
        "totals": loop.sums.totals,
        "metrics": np.array(list(metrics.values())),
        "probabilities": predicted.probabilities,
    }


CASES = {
    "boxes": lambda: results(Augmentation(), boxes=True),
    "mixed": lambda: results(Augmentation(mixup_alpha=0.4, horizontal_flip=0.5), boxes=False),
    "accumulated": lambda: results(
        Augmentation(random_crop=True, pad_pixels=1), boxes=False, gradient_accumulation_steps=2, global_clipnorm=0.5,
        use_ema=True,
    ),
}  # fmt: skip


def all_results() -> dict[str, np.ndarray]:
    """The results of all cases."""
    return {f"{case}/{name}": value for case, run in CASES.items() for name, value in run().items()}


def main(path: str) -> None:
    """Runs all cases."""
    found = all_results()
    if ranks.is_first():
        np.savez(path, **found)
    ranks.wait()


if __name__ == "__main__":
    main(sys.argv[1])
