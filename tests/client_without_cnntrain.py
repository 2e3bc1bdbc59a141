"""A client of exported networks: FOLDER IMAGE… in; by format the best class of each image out. No cnntrain."""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def saved_model(path, files, images):
    """From the files' contents, as a server gets them."""
    import tensorflow as tf

    signatures = tf.saved_model.load(path).signatures
    answers = signatures["files"](files=tf.constant([file.read_bytes() for file in files]))
    names = [name.decode() for name in signatures["class_names"]()["class_names"].numpy()]
    probabilities = answers["probabilities"].numpy()
    assert [name.decode() for name in answers["class"].numpy()] == [names[row.argmax()] for row in probabilities]
    return names, probabilities


def onnx(path, files, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
    return names, np.concatenate([session.run(["probabilities"], {"images": image})[0] for image in images])


def litert(path, files, images):
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(path).get_signature_runner()
    return names_inside(path), np.concatenate([run(images=image)["probabilities"] for image in images])


def keras(path, files, images):
    import keras

    model = keras.models.load_model(path, safe_mode=True)
    return names_inside(path), np.concatenate([model(image).numpy() for image in images])


def names_inside(path):
    return json.loads(zipfile.ZipFile(path).read("class_names.json"))


NAMES = {onnx: "model.onnx", litert: "model.tflite", saved_model: "saved_model", keras: "model.keras"}
folder, *files = map(Path, sys.argv[1:])
images = [np.asarray(Image.open(file).convert("RGB"))[np.newaxis] for file in files]
best = {}
for answer, name in NAMES.items():
    if answer is saved_model:
        assert "tensorflow" not in sys.modules  # the others' runtimes are their own
    names, probabilities = answer(str(folder / name), files, images)
    rows = zip(files, probabilities, strict=True)
    best[answer.__name__] = {str(file): [names[row.argmax()], float(row.max())] for file, row in rows}
assert "cnntrain" not in sys.modules
print(json.dumps(best))
