#!/usr/bin/env python3
"""What a whole run of cnntrain costs beside a bare script that trains the same network on the same batches.

Both are processes of their own, in alternation, with starting up, validation, and saving the best network; the
bare script is what a careful person would write by hand with a tf.function. Fashion-MNIST must be prepared for
TensorFlow Datasets.

    python benchmarks/overhead.py --epochs 10
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = """
import sys
import keras, numpy as np, tensorflow as tf, tensorflow_datasets as tfds
epochs, folder = int(sys.argv[1]), sys.argv[2]
read = lambda split: [np.asarray(a) for a in tfds.as_numpy(
    tfds.load("fashion_mnist", split=split, batch_size=-1, as_supervised=True))]
(images, labels), (test_images, test_labels) = read("train[10%:]"), read("test")
check_images, check_labels = read("train[:10%]")
layers = keras.layers
model = keras.Sequential([
    keras.Input((28, 28, 1)),
    layers.Conv2D(32, 5, padding="same", activation="relu"), layers.AveragePooling2D(2),
    layers.Conv2D(48, 5, activation="relu"), layers.AveragePooling2D(2), layers.Flatten(),
    layers.Dense(256, activation="relu"), layers.Dense(84, activation="relu"), layers.Dense(10, activation="softmax")])
optimizer = keras.optimizers.AdamW(0.002, weight_decay=0.01)
optimizer.build(model.trainable_variables)
loss_of, accuracy = keras.losses.SparseCategoricalCrossentropy(), keras.metrics.SparseCategoricalAccuracy()
options = tf.data.Options()
options.autotune.enabled = False
scale = lambda x, y: (tf.cast(x, tf.float32) / 255, y)
def batches(x, y, shuffle):
    data = tf.data.Dataset.from_tensor_slices((x, y))
    data = data.shuffle(len(x)) if shuffle else data
    return data.batch(64).map(scale, num_parallel_calls=2).prefetch(4).with_options(options)
@tf.function
def train(iterator, steps):
    for _ in tf.range(steps):
        x, y = next(iterator)
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
@tf.function
def check(iterator, steps):
    for _ in tf.range(steps):
        x, y = next(iterator)
        accuracy.update_state(y, model(x, training=False))
def measure(x, y):
    accuracy.reset_state()
    data = batches(x, y, False)
    check(iter(data), tf.constant(len(data)))
    return float(accuracy.result())
best, data = 0, batches(images, labels, True)
for epoch in range(epochs):
    train(iter(data), tf.constant(len(data)))
    reached = measure(check_images, check_labels)
    if reached > best:
        best = reached
        model.save(folder + "/model.keras")
print(measure(test_images, test_labels))
"""


def seconds(words: list[str]) -> float:
    """The wall time of a process."""
    start = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Runs both in turn and prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    times: dict[str, list[float]] = {"cnntrain": [], "bare script": []}
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            ours = ["model=lenet5", "data=fashion_mnist", "augmentation=none", "schedule=from_scratch"]
            ours += [f"schedule.phases.all.epochs={options.epochs}", f"hydra.run.dir={folder}/run"]
            times["cnntrain"].append(seconds([sys.executable, "-m", "cnntrain", *ours]))
            script = Path(folder) / "bare.py"  # a file, since AutoGraph reads a function's source
            script.write_text(BARE)
            times["bare script"].append(seconds([sys.executable, str(script), str(options.epochs), folder]))
        latest = ", ".join(f"{name} {values[-1]:.1f} s" for name, values in times.items())
        print(f"round {number + 1}: {latest}", flush=True)
    ours, bare = (statistics.median(values) for values in times.values())
    print(f"median: cnntrain {ours:.1f} s, bare script {bare:.1f} s, ratio {ours / bare:.3f}")


if __name__ == "__main__":
    main()
