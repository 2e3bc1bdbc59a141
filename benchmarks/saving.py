"""How long a checkpoint holds training up, and how long it takes until it is on the disk.

    python benchmarks/saving.py [--times 9] [--networks 4]

Training waits while the state is taken, of which nothing is copied on a CPU; hashing, writing and flushing happen in a
thread beside it. With a checkpoint each minute, the share of a run is that wait in a minute. A whole run counts what it
waited for, and says so in its last line, the writing of the best network included:

    cnntrain model=resnet34 model.image_size=[32,32] data=fashion_mnist batch_size=128 checkpoint.every_minutes=1
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from cnntrain.runtime import backend

NETWORKS = (
    ("resnet34", (32, 32), "sgd"),
    ("resnet50", (224, 224), "sgd"),
    ("resnet50", (224, 224), "adam"),
    ("xception", (299, 299), "sgd"),
)


def measure(name: str, size: tuple[int, int], optimizer: str, *, times: int) -> tuple[float, float, float]:
    """MB of a checkpoint, and the medians of seconds that training waits, and until it is written."""
    from cnntrain.checkpoints.progress import Progress
    from cnntrain.checkpoints.run_state import StateKeeper
    from cnntrain.experiment import Checkpoint
    from cnntrain.models import MODELS
    from cnntrain.optimization.optimizers import OPTIMIZERS, Sgd
    from cnntrain.runtime.run_dir import RunDir
    from cnntrain.training.loop import Objective, TrainingLoop

    backend.start_run(seed=0, precision="float32")
    model = MODELS[name](name=name, image_size=size).build((*size, 3), 1000)
    settings = Sgd(momentum=0.9) if optimizer == "sgd" else OPTIMIZERS[optimizer]()
    loop = TrainingLoop(model, settings.build(0.1), Objective({"class": 1.0}))
    random = np.random.default_rng(0)
    for variable in loop.optimizer.variables:
        if variable.ndim:
            variable.assign(random.normal(size=variable.shape))
    waits, wholes = [], []
    with tempfile.TemporaryDirectory() as folder:
        run_dir = RunDir.create(Path(folder) / "run", exact=True)
        keeper = StateKeeper(model, run_dir, Checkpoint())
        for step in range(times):
            start = time.perf_counter()
            keeper.save(Progress(steps=step), loop)
            waits.append(time.perf_counter() - start)
            keeper.checkpoints.wait()
            wholes.append(time.perf_counter() - start)
        size_bytes = max(path.stat().st_size for path in run_dir.checkpoints.glob("*.safetensors"))
        keeper.checkpoints.close()
    return size_bytes / 1e6, statistics.median(waits), statistics.median(wholes)


def main(times: int, networks: int) -> None:
    """Prints a line for each of the first so many networks."""
    backend.load()
    print("network     optimizer   MB   training waits   written after   share at one a minute")
    for name, size, optimizer in NETWORKS[:networks]:
        megabytes, wait, whole = measure(name, size, optimizer, times=times)
        print(f"{name:11} {optimizer:8} {megabytes:5.0f} {wait:14.2f} s {whole:13.2f} s {wait / 60:20.2%}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=9, help="checkpoints of each network (default: 9)")
    parser.add_argument("--networks", type=int, default=len(NETWORKS), help="so many of them (default: all)")
    options = parser.parse_args()
    main(options.times, options.networks)
