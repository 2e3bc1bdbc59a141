#!/usr/bin/env python3
"""A client of exported networks that knows nothing of cnntrain: from image files to probabilities by class name.

    python benchmarks/export_client.py RUN/export photo.jpg …

prints JSON: for each format that is in the folder the answers (by file, then by class) and images a second.
ONNX Runtime and LiteRT answer before TensorFlow is loaded: they don't need it.
"""

import argparse
import json
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def onnx(path, files):
    """A function from nothing to probabilities, and the names of the classes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
    return lambda: [session.run(["probabilities"], {"images": pixels(file)})[0][0] for file in files], names


def litert(path, files):
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(path).get_signature_runner()
    return lambda: [run(images=pixels(file))["probabilities"][0] for file in files], names_inside(path)


def saved_model(path, files):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    classes = loaded.signatures["class_names"]()["class_names"].numpy()
    run = loaded.signatures["files"]  # whole files in, as a server gets them
    return (
        lambda: [run(files=tf.constant([file.read_bytes()]))["probabilities"].numpy()[0] for file in files],
        [name.decode() for name in classes],
    )


def keras(path, files):
    import keras

    model = keras.models.load_model(path, safe_mode=True)
    return lambda: [model(pixels(file)).numpy()[0] for file in files], names_inside(path)


def pixels(file):
    """uint8 (1, height, width, 3)."""
    return np.asarray(Image.open(file).convert("RGB"))[np.newaxis]


def names_inside(path):
    return json.loads(zipfile.ZipFile(path).read("class_names.json"))


def main(folder, *names):
    files = list(map(Path, names))
    found = {}
    written = {onnx: "model.onnx", litert: "model.tflite", saved_model: "saved_model", keras: "model.keras"}
    for form, name in written.items():
        if not (folder / name).exists():
            continue
        answer, class_names = form(str(folder / name), files)
        assert ("tensorflow" in sys.modules) == (form in (saved_model, keras))  # noqa: S101
        answer()
        start = time.perf_counter()
        rows = answer()
        answers = [dict(zip(class_names, map(float, row), strict=True)) for row in rows]
        seconds = time.perf_counter() - start
        found[form.__name__] = {
            "answers": dict(zip(names, answers, strict=True)),
            "images_per_second": len(files) / seconds,
        }
    assert "cnntrain" not in sys.modules  # noqa: S101
    print(json.dumps(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="RUN/export", help="the folder of exported networks")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    options = parser.parse_args()
    main(options.folder, *options.images)
