#!/usr/bin/env python3
"""What an image costs each network that model=auto may choose: milliseconds in training and in prediction.

The networks have random weights, and see one random batch again and again. Each figure is the median of some rounds, in
which the networks take turns. The last line is the machine's speed, cnntrain.inspection.auto.REFERENCE_GFLOPS:

    python benchmarks/auto_speeds.py
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np

BATCH, CLASSES = 32, 10


def prepared(candidate) -> dict[str, Callable[[], object]]:
    """A training step and a prediction of a candidate, ready to be run."""
    import keras
    import tensorflow as tf

    from cnntrain.models import MODELS
    from cnntrain.training.loop import Objective, TrainingLoop

    values = {"backbone": candidate.backbone, "weights": None} if candidate.backbone else {}
    network = MODELS[candidate.model](name=candidate.model, **values)
    shape = (*candidate.image_size, 3 if candidate.backbone else 1)
    images = tf.constant(np.random.default_rng(0).random((BATCH, *shape), np.float32))
    targets = {"class": keras.utils.to_categorical(np.arange(BATCH) % CLASSES, CLASSES)}
    model = network.build(shape, CLASSES)
    optimizer = keras.optimizers.AdamW(1e-4)
    loop = TrainingLoop(model, optimizer, Objective({"class": 1.0}))
    batches = tf.data.Dataset.from_tensors((images, targets, {})).repeat()
    predict = tf.function(lambda: model(images, training=False))
    return {"training": lambda: list(loop.run_epoch(batches, 1)), "prediction": lambda: predict().numpy()}


def main() -> None:
    """All candidates in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    from cnntrain.runtime import backend

    backend.load()
    from cnntrain.inspection import auto

    networks = [*auto.PHOTOS, auto.SMALL_TRANSFER, *auto.FROM_SCRATCH]
    work = {(one.title, one.image_size): prepared(one) for one in networks}
    milliseconds = defaultdict(list)
    for number in range(options.rounds + 1):
        for name, parts in work.items():
            for part, run in parts.items():
                start = time.perf_counter()
                run()
                if number:  # the first call traces the graph
                    milliseconds[name, part].append((time.perf_counter() - start) / BATCH * 1000)
    for name in work:
        parts = (f"{part} {statistics.median(milliseconds[name, part]):8.2f} ms" for part in ("training", "prediction"))
        print(f"{name[0]:40}{name[1][0]:>4} pixels  {'  '.join(parts)}")
    print(f"{auto.gflops():.0f} GFLOP/s")


if __name__ == "__main__":
    main()
