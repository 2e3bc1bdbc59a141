"""Whether TensorFlow can compute on the GPUs that are there: tried once, in a process of its own.

A TensorFlow without code for a GPU compiles for half an hour, or dies; drivers that are too old fail in many ways.
"""

import hashlib
import importlib.metadata
import subprocess
import sys

from cnntrain.errors import ConfigError
from cnntrain.runtime.files import cache_folder, write_whole
from cnntrain.runtime.machine import graphics_cards, graphics_cards_in_words

SECONDS = 180.0
PROGRAM = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import tensorflow as tf
cards = tf.config.list_physical_devices("GPU")
if not cards:
    raise SystemExit("TensorFlow sees no GPU: its CUDA libraries are missing (pip install tensorflow[and-cuda])")
for card in cards:
    tf.config.experimental.set_memory_growth(card, True)
for number in range(len(cards)):
    with tf.device(f"GPU:{number}"):
        product = tf.matmul(tf.ones((8, 8)), tf.ones((8, 8)))
    assert float(product[0, 0]) == 8, product
"""


def check() -> None:
    """Raises ConfigError if there are GPUs, and TensorFlow can't compute on them; remembers those on which it can."""
    if not graphics_cards():
        return
    cards = graphics_cards_in_words()
    facts = repr((cards, importlib.metadata.version("tensorflow"), sys.executable))
    known = cache_folder() / "gpus" / hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()
    if known.exists():
        return
    try:
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=SECONDS)  # noqa: S603
        problem = "" if done.returncode == 0 else last_line(done.stderr) or f"it ended with code {done.returncode}"
    except subprocess.TimeoutExpired:
        problem = f"a product of two small matrices took over {SECONDS:g} seconds"
    if problem:
        raise ConfigError(
            f"this TensorFlow can't compute on {cards}: {problem}.\nInstall one that can, or train on the CPU:"
            " devices=cpu"
        )
    known.parent.mkdir(parents=True, exist_ok=True)
    write_whole(known, facts.encode())


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
