"""Export formats: how each is written, and how to run it in its own runtime."""

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnntrain.errors import ConfigError, DataError
from cnntrain.runtime.backend import silent_standard_error

if TYPE_CHECKING:
    from cnntrain.export.serving import Serving

CLASS_NAMES = "class_names"
OPSET = 18


class Runtime(NamedTuple):
    """An export, run in the format's own runtime: functions that return predictions (see `side_by_side`).

    `from_pixels` takes uint8 images (batch, height, width, channels), `from_files` the contents of JPEG and PNG
    files; it is None if the format takes no files.
    """

    from_pixels: Callable[[np.ndarray], np.ndarray]
    from_files: Callable[[list[bytes]], np.ndarray] | None = None


@dataclass(frozen=True)
class Format:
    """A format: how a network is written (the default name says whether it is a file or a folder), and how it is read.

    `packages` are the additional packages that it needs.
    """

    file_name: str
    write: Callable[["Serving", Path], None]
    load: Callable[[Path], Runtime]
    packages: tuple[str, ...] = ()

    @property
    def is_folder(self) -> bool:
        """Whether the export is a folder."""
        return not Path(self.file_name).suffix

    def check_packages(self) -> None:
        """Raises ConfigError if a package is missing."""
        missing = [package for package in self.packages if find_spec(package) is None]
        if missing:
            them = "them" if len(missing) > 1 else "it"
            raise ConfigError(f"--format: needs {' and '.join(missing)}; pip install 'cnntrain[export]' brings {them}")


def write_saved_model(serving: "Serving", path: Path) -> None:
    """Writes a SavedModel folder; the class names are in its predictions, and in their own signature."""
    from cnntrain.export import saved_model

    saved_model.write(serving, path)


def load_saved_model(path: Path) -> Runtime:
    """The runtime of tf.saved_model."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    from_pixels, from_files = loaded.signatures["serving_default"], loaded.signatures["files"]
    return Runtime(
        lambda images: side_by_side(from_pixels(images=tf.constant(images))),
        lambda files: side_by_side(from_files(files=tf.constant(files))),
    )


def write_keras(serving: "Serving", path: Path) -> None:
    """Writes a Keras file that starts from pixels; the class names are a JSON file inside it."""
    serving.from_pixels().save(path)
    add_class_names(serving, path)


def add_class_names(serving: "Serving", path: Path) -> None:
    """Adds class_names.json to a zip file, or appends a zip file with it to another file."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{CLASS_NAMES}.json", json.dumps(serving.class_names, ensure_ascii=False))


def load_keras(path: Path) -> Runtime:
    """The Keras runtime, in safe mode."""
    import keras

    model = keras.models.load_model(path, compile=False, safe_mode=True)
    return Runtime(lambda images: side_by_side(model(images, training=False)))


def write_onnx(serving: "Serving", path: Path) -> None:
    """Writes an ONNX file; the class names are JSON in its metadata."""
    import onnx
    import tensorflow as tf
    import tf2onnx

    function = traced(serving)
    with silent_standard_error():
        model, _ = tf2onnx.convert.from_function(
            function,
            input_signature=function.input_signature,
            opset=OPSET,
            custom_op_handlers={"Erfc": (erfc_by_erf, [])},
        )
    used = {name for node in model.graph.node for name in node.input}
    del model.graph.input[1:]  # layer constants, which the converter takes for additional inputs
    for value, inside in function.get_concrete_function().graph.captures:
        if inside.name in used and value.dtype != tf.resource:
            model.graph.initializer.append(onnx.numpy_helper.from_array(value.numpy(), inside.name))
    model.metadata_props.add(key=CLASS_NAMES, value=json.dumps(serving.class_names, ensure_ascii=False))
    onnx.save(model, path)


def erfc_by_erf(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """Converts TensorFlow's Erfc, used in its GELU, to 1 - Erf, since ONNX has no Erfc."""
    one = graph.make_const(f"{name}_one", np.array(1, np.float32))
    node.type = "Erf"
    graph.insert_new_node_on_output("Sub", node.output[0], inputs=[one.output[0], node.output[0]])


def load_onnx(path: Path) -> Runtime:
    """ONNX Runtime, on the CPU."""
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, NotImplemented

    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except (Fail, InvalidGraph, NotImplemented) as error:
        raise unwritable("ONNX", error) from error
    names = [output.name for output in session.get_outputs()]
    return Runtime(lambda images: side_by_side(dict(zip(names, session.run(names, {"images": images}), strict=True))))


def write_litert(serving: "Serving", path: Path) -> None:
    """Writes a LiteRT file; the class names are a JSON file in a zip file appended to it, where TFLite's metadata
    keeps its files."""
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    module = tf.Module()  # without it, the converter loses the names of inputs and outputs
    module.variables_of_network = [variable.value for variable in serving.network.variables]
    with silent_standard_error():
        function = traced(serving).get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
        try:
            path.write_bytes(converter.convert())
        except ConverterError as error:
            raise unwritable("LiteRT", error) from error
    add_class_names(serving, path)


def load_litert(path: Path) -> Runtime:
    """The LiteRT runtime, without TensorFlow."""
    from ai_edge_litert.interpreter import Interpreter

    with silent_standard_error():  # where it reports which kernels it uses
        interpreter = Interpreter(str(path))
        interpreter.allocate_tensors()
    signature = interpreter.get_signature_runner()
    return Runtime(lambda images: side_by_side(signature(images=images)))


def unwritable(form: str, error: Exception) -> DataError:
    """The error for a network that a format can't represent."""
    reason = str(error).strip().splitlines()[0][:300]
    return DataError(f"this network can't be written as {form}: {reason}\nTry --format saved_model, which takes any")


def traced(serving: "Serving") -> Any:
    """The network from pixels as a TensorFlow function, `images` to `probabilities` and, with boxes, `box`."""
    import tensorflow as tf

    network = serving.from_pixels()
    signature = [tf.TensorSpec([None, None, None, None], tf.uint8, name="images")]

    def predict(images: tf.Tensor) -> dict[str, tf.Tensor]:
        predictions = network(images, training=False)
        return predictions if isinstance(predictions, dict) else {"probabilities": predictions}

    function = tf.function(predict, input_signature=signature)
    tf.config.run_functions_eagerly(True)  # else Keras compiles grouped convolutions, which no converter can read
    try:
        function.get_concrete_function()
    finally:
        tf.config.run_functions_eagerly(False)
    return function


def side_by_side(predictions: Any) -> np.ndarray:
    """Probabilities (batch, classes) or, if the network predicts boxes, both side by side (batch, classes + 4)."""
    if not isinstance(predictions, Mapping):
        return np.asarray(predictions)
    return np.concatenate([predictions[name] for name in ("probabilities", "box") if name in predictions], axis=1)


FORMATS = {
    "saved_model": Format("saved_model", write_saved_model, load_saved_model),
    "onnx": Format("model.onnx", write_onnx, load_onnx, packages=("tf2onnx", "onnx", "onnxruntime")),
    "litert": Format("model.tflite", write_litert, load_litert, packages=("ai_edge_litert",)),
    "keras": Format("model.keras", write_keras, load_keras),
}
