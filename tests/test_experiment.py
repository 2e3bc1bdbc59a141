"""Every shipped YAML composes and parses; recipes come with a model, and yield to what is said."""

import pytest

from cnntrain.cli.composition import compose
from cnntrain.cli.overrides import Request, conf_dir
from cnntrain.data.augmentation.settings import Augmentation
from cnntrain.errors import ConfigError
from cnntrain.experiment import CHOICES, parse
from cnntrain.models import MODELS
from cnntrain.optimization.optimizers import Adam, AdamW, Sgd
from cnntrain.settings import fields_of

# what an option needs to be given to be complete
NEEDED = {
    **{f"data={name}": ["++data.path=x"] for name in ("folder", "csv", "idx", "annotations")},
    "data=tfds": ["++data.name=x"],
}
SHIPPED = sorted(
    f"{path.parent.relative_to(conf_dir()).as_posix()}={path.stem}" for path in conf_dir().glob("*/*.yaml")
)


def experiment(*overrides):
    return parse(compose(Request(), list(overrides))[0])


@pytest.mark.parametrize("option", SHIPPED)
def test_every_shipped_option_composes_and_parses(option):
    experiment(option, *NEEDED.get(option, []))


@pytest.mark.parametrize("option", SHIPPED)
def test_every_shipped_option_begins_with_its_command(option):
    group, name = option.split("=")
    lines = (conf_dir() / group / f"{name}.yaml").read_text().splitlines()
    comment = [line for line in lines if not line.startswith("# @package")][0]
    assert comment.startswith("# ") and "cnntrain " in comment


def test_every_model_has_an_option_of_its_name():
    assert {path.stem for path in (conf_dir() / "model").glob("*.yaml")} >= set(MODELS)


@pytest.mark.parametrize("group", CHOICES)
def test_the_name_of_a_choice_is_the_default_of_its_class(group):
    key, classes = CHOICES[group]
    for name, cls in classes.items():
        assert key in fields_of(cls)
        assert cls.__dataclass_fields__[key].default == name


@pytest.mark.parametrize("name", MODELS)
def test_every_model_can_be_tried_in_seconds(name):
    built = experiment(f"model={name}", "experiment=smoke")
    assert type(built.model) is MODELS[name]
    assert (built.batch_size, built.limits.steps, built.limits.epochs_per_phase) == (8, 2, 1)


def test_a_model_brings_its_recipe():
    built = experiment("model=lenet5")
    assert isinstance(built.optimizer, AdamW)
    assert built.augmentation == Augmentation(pad_pixels=2)
    assert built.batch_size == 64
    assert built.schedule.phases["all"].learning_rate_schedule == "cosine"


@pytest.mark.parametrize(
    ("overrides", "check"),
    [
        (["optimizer=adam"], lambda e: e.optimizer == Adam()),
        (["optimizer=sgd", "++optimizer.momentum=0.9"], lambda e: e.optimizer == Sgd(momentum=0.9)),
        (["++optimizer.learning_rate=1"], lambda e: e.optimizer == AdamW(learning_rate=1.0, weight_decay=0.01)),
        (["augmentation=none"], lambda e: e.augmentation == Augmentation()),
        (["schedule=from_scratch"], lambda e: e.schedule.phases["all"].learning_rate_schedule == "constant"),
        (["++batch_size=7"], lambda e: e.batch_size == 7),
        (["experiment=smoke"], lambda e: (e.batch_size, e.limits.steps) == (8, 2)),
        (["experiment=smoke", "++batch_size=7"], lambda e: (e.batch_size, e.limits.steps) == (7, 2)),
        (["experiment=chapter_lenet5", "optimizer=sgd"], lambda e: e.optimizer == Sgd()),
    ],
)
def test_what_the_command_line_says_wins_over_the_recipe(overrides, check):
    assert check(experiment("model=lenet5", *overrides))


def test_the_chapters_recipe_is_the_chapters():
    built = experiment("experiment=chapter_lenet5", "data=mnist")
    assert built.optimizer == Adam(learning_rate=5e-4)
    assert (built.schedule.phases["all"].epochs, built.batch_size, built.data.validation) == (10, 32, 0.2)
    assert built.model.preprocess == "unit"
    assert built.augmentation == Augmentation()


def test_tf_flowers_is_split_as_the_chapter_does():
    data = experiment("data=tf_flowers").data
    assert (data.test, data.validation, data.train) == ("train[:10%]", "train[10%:25%]", "train[25%:]")


def test_a_missing_group_is_named_with_an_option():
    with pytest.raises(ConfigError, match="model: is missing; choose an option, such as model=lenet5"):
        parse({"data": {"source": "digits"}, "optimizer": {"name": "adam"}, "schedule": {"phases": {"all": {}}}})
