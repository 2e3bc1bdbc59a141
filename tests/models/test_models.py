import functools
import math
import subprocess
import sys

import keras
import numpy as np
import pytest

from cnntrain.models import MODELS
from cnntrain.models.lenet5_1998 import codes
from cnntrain.settings import read

# At the published setting: (trainable, total with moving statistics and fixed codes).
PARAMETERS = {
    ("lenet5",): (369_174, 369_174),
    ("lenet5_1998",): (60_000, 60_840),
    ("lenet5_1998", "output=softmax"): (60_850, 60_850),
    ("alexnet",): (62_378_344, 62_378_344),
    ("alexnet", "groups=2"): (60_965_224, 60_965_224),
    ("zfnet",): (62_357_608, 62_357_608),
    ("nin",): (7_595_176, 7_595_176),
    ("googlenet", "aux=false"): (6_998_552, 6_998_552),
    ("googlenet",): (13_378_280, 13_378_280),
    ("vgg16",): (138_357_544, 138_357_544),
    ("vgg19",): (143_667_240, 143_667_240),
    ("resnet9",): (6_573_130, 6_577_610),
    ("resnet10",): (5_418_792, 5_424_552),
    ("resnet18",): (11_689_512, 11_699_112),
    ("resnet34",): (21_797_672, 21_814_696),
    ("resnet50",): (25_557_032, 25_610_152),
    ("resnet101",): (44_549_160, 44_654_504),
    ("resnet152",): (60_192_808, 60_344_232),
    ("inception_v3",): (23_817_352, 23_851_784),
    ("inception_v4",): (42_679_816, 42_742_984),
    ("inception_resnet_v2",): (55_813_192, 55_873_736),
    ("xception",): (22_855_952, 22_910_480),
    ("mobilenet",): (4_231_976, 4_253_864),
    ("mobilenet_v2",): (3_504_872, 3_538_984),
    ("se_resnet50",): (28_088_024, 28_141_144),
    ("senet154",): (115_088_984, 115_336_536),
    ("se_googlenet", "aux=false"): (7_478_655, 7_478_655),
    ("se_googlenet",): (13_858_383, 13_858_383),
    ("transfer",): (22_855_952, 22_910_480),  # Xception without its top, and a classifier of 1,000
    ("application",): (5_288_548, 5_330_571),  # EfficientNetB0
    ("application", "backbone=ResNet50V2"): (25_568_360, 25_613_800),
}
every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(autouse=True)
def in_float32():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(autouse=True, scope="module")
def nothing_left_behind():
    """Forgets the networks of this file: Keras would allocate their weights when the next file builds one."""
    yield
    keras.utils.clear_session()


def architecture(name, *settings):
    """The named model with settings as the command line writes them."""
    words = {"true": True, "false": False, "2": 2}
    values = dict(setting.split("=") for setting in settings)
    model, problems = read(
        MODELS[name], {key: words.get(value, value) for key, value in values.items()}, "model"
    )
    assert problems == []
    return model


def build_without_weights(model, input_shape, class_count):
    """The network with shapes, but no memory for weights: a hundred times as fast for the large ones."""
    with keras.StatelessScope(initialize_variables=False):
        return model.build(input_shape, class_count)


@functools.cache
def layer_shapes(name):
    """The output shape of each layer at the published setting, without the batch."""
    model = architecture(name)
    network = build_without_weights(
        model, (*model.default_image_size, model.published_channels), model.published_class_count
    )
    return {layer.name: layer.output.shape[1:] for layer in network.layers}


def count(variables):
    return sum(math.prod(variable.shape) for variable in variables)


def test_importing_the_gallery_loads_neither_keras_nor_tensorflow():
    code = "import sys, cnntrain.models; sys.exit(any(m in sys.modules for m in ('keras', 'tensorflow')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_model_has_a_pinned_parameter_count():
    assert {key[0] for key in PARAMETERS} == set(MODELS)


@pytest.mark.parametrize("key", PARAMETERS, ids=" ".join)
def test_parameter_counts_are_the_published_ones(key):
    model = architecture(*key)
    shape = (*model.default_image_size, model.published_channels)
    network = build_without_weights(model, shape, model.published_class_count)
    assert (count(network.trainable_variables), network.count_params()) == PARAMETERS[key]


@every_model
def test_every_model_tells_what_it_is(name):
    model = MODELS[name]()
    assert model.name == name
    assert model.title and 1998 <= model.year <= 2020 and model.paper.startswith("http")
    assert len(model.story) > 200
    assert "Source: " in type(model).__doc__


@every_model
def test_every_model_takes_its_smallest_images_gray_ones_any_class_count_and_a_box(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = MODELS[name](localization=True)
    network = build_without_weights(model, (*model.minimum_image_size, 1), 3)
    outputs = network.output if isinstance(network.output, dict) else {"class": network.output}
    assert outputs["box"].shape == (None, 4)
    assert {output.shape for output_name, output in outputs.items() if output_name != "box"} == {(None, 3)}
    assert {output.dtype for output in outputs.values()} == {"float32"}  # whatever the precision
    assert outputs.keys() == model.loss_weights.keys()


@pytest.mark.parametrize(
    "key",
    [(name,) for name in MODELS] + [("googlenet", "aux=false"), ("resnet18", "stem=small")],
    ids=" ".join,
)
def test_smaller_images_are_refused_with_the_smallest_size_that_works(key):
    model = architecture(*key)
    height, width = model.minimum_image_size
    for size in ((height - 1, width), (height, width - 1)):
        with pytest.raises(ValueError, match=rf"at least \[{height}, {width}\].*set model.image_size="):
            model.build((*size, 3), 10)
        with pytest.raises(ValueError, match="at least"):
            type(model)(**{**vars(model), "image_size": size})


OWN_MODELS = [(name,) for name, model in MODELS.items() if not model.pretrained]


@pytest.mark.parametrize(
    "key", [*OWN_MODELS, ("googlenet", "aux=false"), ("resnet18", "stem=small")], ids=" ".join
)
def test_below_the_smallest_size_a_stride_has_nothing_to_skip(key):
    model = architecture(*key)
    height, width = model.minimum_image_size
    assert not strides_on_one_pixel(model, (height, width))
    assert strides_on_one_pixel(model, (height - 1, width - 1))


def strides_on_one_pixel(model, size):
    """Whether the network can't be built at a size, or strides over maps of one pixel."""
    images = keras.Input((*size, 3))
    try:
        with keras.StatelessScope(initialize_variables=False):
            network = keras.Model(images, model.outputs(images, 10))
    except ValueError:
        return True
    strided = [layer for layer in network.layers if max(getattr(layer, "strides", (1,))) > 1]
    return any(layer.input.shape[1] < 2 for layer in strided)


def test_lenet5_of_1998_has_the_papers_parameters_layer_by_layer():
    network = build_without_weights(architecture("lenet5_1998"), (28, 28, 1), 10)
    counts = {layer.name: count(layer.trainable_variables) for layer in network.layers}
    assert [counts[name] for name in ("c1", "s2", "c3", "s4", "c5", "f6", "output")] == [
        156, 12, 1516, 32, 48_120, 10_164, 0,
    ]  # fmt: skip


def test_lenet5_of_1998_has_the_shapes_of_the_chapters_table():
    shapes = layer_shapes("lenet5_1998")
    assert [shapes[name] for name in ("pad", "c1", "s2", "c3", "s4", "c5", "f6", "class")] == [
        (32, 32, 1), (28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16), (1, 1, 120), (84,), (10,),
    ]  # fmt: skip


def test_lenet5_has_the_shapes_of_the_chapters_code():
    shapes = layer_shapes("lenet5")
    assert [shapes[name] for name in ("c1", "s2", "c3", "s4", "flatten", "c5", "f6", "class")] == [
        (28, 28, 32), (14, 14, 32), (10, 10, 48), (5, 5, 48), (1200,), (256,), (84,), (10,),
    ]  # fmt: skip


def test_alexnet_has_the_shapes_of_the_chapters_table():
    shapes = layer_shapes("alexnet")
    assert {name: shapes[name] for name in ("c1", "s2", "c3", "s4", "c5", "c6", "c7", "s8")} == {
        "c1": (55, 55, 96),
        "s2": (27, 27, 96),
        "c3": (27, 27, 256),
        "s4": (13, 13, 256),
        "c5": (13, 13, 384),
        "c6": (13, 13, 384),
        "c7": (13, 13, 256),
        "s8": (6, 6, 256),
    }
    assert [shapes[name] for name in ("f9", "f10", "class")] == [(4096,), (4096,), (1000,)]
    names = list(shapes)
    for convolution, pooling in (("c1", "s2"), ("c3", "s4")):
        assert names.index(f"{convolution}_lrn") == names.index(convolution) + 1 == names.index(pooling) - 1


def test_zfnet_has_the_shapes_of_figure_3():
    shapes = layer_shapes("zfnet")
    assert [shapes[name] for name in ("c1", "s2", "c3", "s4", "c7", "s8")] == [
        (110, 110, 96), (55, 55, 96), (26, 26, 256), (13, 13, 256), (13, 13, 256), (6, 6, 256),
    ]  # fmt: skip


def test_googlenet_has_the_shapes_of_table_1():
    shapes = layer_shapes("googlenet")
    expected = {
        "conv1": (112, 112, 64),
        "pool1": (56, 56, 64),
        "conv2": (56, 56, 192),
        "pool2": (28, 28, 192),
        "inception_3a": (28, 28, 256),
        "inception_3b": (28, 28, 480),
        "pool_3b": (14, 14, 480),
        "inception_4a": (14, 14, 512),
        "inception_4b": (14, 14, 512),
        "inception_4c": (14, 14, 512),
        "inception_4d": (14, 14, 528),
        "inception_4e": (14, 14, 832),
        "pool_4e": (7, 7, 832),
        "inception_5a": (7, 7, 832),
        "inception_5b": (7, 7, 1024),
        "average": (1024,),
        "class": (1000,),
        "auxiliary_1_pool": (4, 4, 512),
        "auxiliary_2_pool": (4, 4, 528),
    }
    assert {name: shapes[name] for name in expected} == expected


def test_resnet34_has_the_shapes_of_table_1():
    shapes = layer_shapes("resnet34")
    expected = {
        "conv1_relu": (112, 112, 64),
        "pool1": (56, 56, 64),
        "conv2_3_relu": (56, 56, 64),
        "conv3_4_relu": (28, 28, 128),
        "conv4_6_relu": (14, 14, 256),
        "conv5_3_relu": (7, 7, 512),
        "average": (512,),
        "class": (1000,),
    }
    assert {name: shapes[name] for name in expected} == expected
    assert sum(name.endswith("_conv") and "shortcut" not in name for name in shapes) + 1 == 34


def test_symmetric_padding_changes_no_shape():
    same, symmetric = (
        build_without_weights(architecture("resnet50", f"padding={padding}"), (224, 224, 3), 1000)
        for padding in ("same", "symmetric")
    )
    named = {layer.name: layer.output.shape for layer in symmetric.layers}
    assert all(named[layer.name] == layer.output.shape for layer in same.layers if layer.name != "image")


def test_googlenet_without_auxiliary_classifiers_has_one_output():
    model = architecture("googlenet", "aux=false")
    assert model.loss_weights == {"class": 1.0}
    assert not isinstance(build_without_weights(model, (32, 32, 3), 10).output, dict)
    assert architecture("googlenet").loss_weights == {"class": 1.0, "auxiliary_1": 0.3, "auxiliary_2": 0.3}


def test_a_mistyped_setting_is_answered_with_the_nearest_one():
    _, problems = read(MODELS["resnet34"], {"padding": "symetric"}, "model")
    assert problems == [
        "model.padding: expected same or symmetric; received 'symetric'; did you mean symmetric?"
    ]
    _, problems = read(MODELS["application"], {"backbone": "EfficientNetB8"}, "model")
    assert "did you mean EfficientNetB7?" in problems[0] or "did you mean EfficientNetB0?" in problems[0]


def test_digit_codes_are_drawings_and_other_codes_are_repeatable():
    digits = np.array(codes(10))
    assert digits.shape == (10, 84) and set(digits.ravel()) == {-1, 1}
    assert (digits[8].reshape(12, 7) == 1).sum() > (digits[1].reshape(12, 7) == 1).sum()
    for class_count in (10, 2, 26):
        given = np.array(codes(class_count))
        differing = (given[:, None] != given[None]).sum(-1)[~np.eye(class_count, dtype=bool)]
        assert differing.min() >= 6
        assert codes(class_count) == given.tolist()


def test_the_fewer_differences_to_a_code_the_likelier_its_class():
    keras.utils.clear_session()  # else Keras first allocates the weights that the tests above left without memory
    network = architecture("lenet5_1998").build((28, 28, 1), 10)
    head = keras.Model(network.get_layer("f6").output, network.output)
    probabilities = head.predict(np.array(codes(10), "float32"), verbose=0)
    np.testing.assert_array_equal(probabilities.argmax(-1), np.arange(10))


@pytest.mark.slow
@pytest.mark.parametrize(
    "key", [*((name,) for name in MODELS), ("alexnet", "groups=2"), ("resnet18", "stem=small")], ids=" ".join
)
def test_every_model_overfits_32_images_and_predicts_the_same_once_loaded(key, tmp_path):
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    model = architecture(*key)
    network = model.build((*model.minimum_image_size, 3), 4)
    images = np.random.default_rng(0).uniform(size=(32, *network.input_shape[1:])).astype("float32")
    labels = np.arange(32) % 4
    names = list(model.loss_weights)
    network.compile(
        keras.optimizers.Adam(3e-4),
        loss="sparse_categorical_crossentropy"
        if len(names) == 1
        else dict.fromkeys(names, "sparse_categorical_crossentropy"),
        loss_weights=None if len(names) == 1 else model.loss_weights,
        metrics=["accuracy"] if len(names) == 1 else {"class": ["accuracy"]},
    )
    metric = "accuracy" if len(names) == 1 else "class_accuracy"
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda _, logs: setattr(network, "stop_training", logs[metric] >= 0.95)
    )
    targets = labels if len(names) == 1 else dict.fromkeys(names, labels)
    history = network.fit(images, targets, batch_size=32, epochs=150, callbacks=[stop], verbose=0).history
    print(key, "steps", len(history[metric]), "accuracy", history[metric][-1])
    assert history[metric][-1] >= 0.95
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    before, after = network.predict(images, verbose=0), loaded.predict(images, verbose=0)
    for ours, theirs in zip(keras.tree.flatten(before), keras.tree.flatten(after), strict=True):
        np.testing.assert_array_equal(ours, theirs)
