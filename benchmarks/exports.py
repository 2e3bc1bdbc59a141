#!/usr/bin/env python3
"""Exports of a run beside `predict`: from JPEG files to the probability of each class, in a process without cnntrain.

    python benchmarks/exports.py RUN photos/*.jpg

writes every format into a temporary folder, and prints the largest difference of any probability, how often the
most probable class is the same, and images a second (one after another, reading and decoding included). ONNX,
LiteRT and Keras get the pixels that Pillow decodes, SavedModel the files.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

CLIENT = Path(__file__).parent / "export_client.py"
CNNTRAIN = [sys.executable, "-m", "cnntrain"]
MOST_CLASSES = "1000"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    options = parser.parse_args()
    files = list(map(str, options.images))
    words = [*CNNTRAIN, "predict", options.run, *files, "--json", "--top", MOST_CLASSES]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    expected = {
        answer["path"]: {top["class"]: top["probability"] for top in answer["top"]} for answer in json.loads(said)
    }
    with tempfile.TemporaryDirectory() as folder:
        names = {"saved_model": "saved_model", "onnx": "model.onnx", "litert": "model.tflite", "keras": "model.keras"}
        for form, name in names.items():
            out = Path(folder) / name
            words = [*CNNTRAIN, "export", options.run, "--format", form, "--out", out, "--images", *files]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        done = subprocess.run([sys.executable, CLIENT, folder, *files], check=True, capture_output=True, text=True)
    for form, found in json.loads(done.stdout).items():
        pairs = [(expected[file], found["answers"][file]) for file in files]
        largest = max(abs(ours[name] - theirs[name]) for ours, theirs in pairs for name in ours)
        same = sum(max(ours, key=ours.get) == max(theirs, key=theirs.get) for ours, theirs in pairs)
        rate = found["images_per_second"]
        print(f"{form:<12} difference {largest:.1e}  same class {same} of {len(files)}  {rate:6.1f} images/s")


if __name__ == "__main__":
    main()
