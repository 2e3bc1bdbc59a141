"""TensorFlow and Keras: loaded when needed, without their log output, and set up for a run."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Literal

from cnntrain.errors import ConfigError
from cnntrain.runtime import gpu_probe, ranks, signals
from cnntrain.runtime.machine import processor_flags, usable_cores


def load() -> None:
    """Imports TensorFlow and Keras; their standard error is suppressed unless they fail."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    gpu_probe.check()
    with silent_standard_error():
        import keras  # noqa: F401
        import tensorflow as tf

        ranks.join()
        for card in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(card, True)  # or TensorFlow takes all of it at once
        tf.config.list_logical_devices()  # initializes the devices, which also writes logs
    if ranks.world() > 1:
        signals.take_back()
    tf.get_logger().setLevel("ERROR")


@contextlib.contextmanager
def silent_standard_error() -> Iterator[None]:
    """Sends file descriptor 2 to a file, which is printed if the block raises."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)


def start_run(*, seed: int, precision: str) -> None:
    """Resets a process for a new run: clears layer names and graphs of earlier runs, and sets seed and precision."""
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(precision)


def fastest_precision() -> Literal["float32", "mixed_bfloat16"]:
    """mixed_bfloat16 if the device has instructions for it, else float32; rank 0's answer on all ranks."""
    import tensorflow as tf

    cards = tf.config.list_physical_devices("GPU")
    if cards:
        details = [tf.config.experimental.get_device_details(card) for card in cards]
        fast = all(each.get("compute_capability", (0, 0)) >= (8, 0) for each in details)
    else:
        fast = bool({"amx_bf16", "avx512_bf16"} & processor_flags())
    return "mixed_bfloat16" if ranks.agreed_number(fast) else "float32"


def compiles(setting: str) -> bool:
    """Whether XLA compiles training steps: `auto` is on a single GPU. Raises ConfigError for several ranks."""
    import tensorflow as tf

    if ranks.world() > 1:
        if setting == "xla":
            raise ConfigError("compile: XLA can't compile what several processes exchange; set it to auto or off")
        return False
    return setting == "xla" or (setting == "auto" and len(tf.config.list_physical_devices("GPU")) == 1)


def device_name() -> str:
    """The device that trains, in words."""
    import tensorflow as tf

    graphics = tf.config.list_physical_devices("GPU")
    if graphics:
        names = [tf.config.experimental.get_device_details(device).get("device_name", "GPU") for device in graphics]
        return ", ".join(names)
    return f"CPU, {len(usable_cores())} cores"
