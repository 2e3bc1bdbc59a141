"""What a user can get wrong: a table of command lines, exit codes and messages; never a traceback."""

import json
import shutil

import numpy as np
import pytest

from cnntrain.checkpoints.checkpoint import State, checkpoints_in, write_state
from cnntrain.cli.main import main
from cnntrain.runtime.run_dir import RunDir
from tests.conftest import write_photos

TRANSFER = "experiment=smoke model=transfer"

CONFIGURATION = [
    ("model=lenet", 2, "model=lenet: no such option: did you mean lenet5?"),
    ("data=minst", 2, "data=minst: no such option: did you mean mnist?"),
    ("experiment=smok", 2, "experiment=smok: no such option: did you mean smoke?"),
    ("optimizer.lerning_rate=1", 2, "no such key: did you mean optimizer.learning_rate?"),
    ("learning_rate=1", 2, "learning_rate: no such key: did you mean optimizer.learning_rate?"),
    ("optimizer.lr=0.1", 2, "optimizer.lr: no such key: did you mean optimizer.learning_rate=0.1?"),
    ("lr=0.1 bs=64", 2, "bs: no such key: did you mean batch_size=64?"),
    ("epochs=10", 2, "epochs: no such key: did you mean schedule.phases.all.epochs=10?"),
    ("imgsz=64", 2, "imgsz: no such key: did you mean model.image_size=[64,64]?"),
    ("model.pretrained=true", 2, "model.pretrained: no such key: did you mean model.weights=imagenet?"),
    ("num_classes=10", 2, "num_classes: no such key: the number of classes comes from the data; leave it out"),
    ("device=cuda", 2, "device: no such key: TensorFlow's first GPU is used, or else the CPU"),
    ("amp=true workers=4", 2, "workers: no such key: did you mean parallel_calls=4?"),
    ("resume=true", 2, "a run that stopped goes on with cnntrain resume RUN"),
    ("optimizer.momentum=0.9", 2, "optimizer.momentum: no such key with optimizer.name=adamw: sgd"),
    ("optimizer.learning_rate=fast", 2, "expected a number greater than 0 or null; received 'fast'"),
    ("optimizer.learning_rate=0", 2, "optimizer.learning_rate: expected a number greater than 0"),
    ("optimizer.learning_rate=.inf", 2, "optimizer.learning_rate: expected a number greater than 0"),
    ("optimizer.clip_norm=1 optimizer.clip_value=1", 2, "expected one of them; received both"),
    ("batch_size=0", 2, "batch_size: expected a whole number at least 1; received 0"),
    ("batch_size=32.5", 2, "batch_size: expected a whole number at least 1; received 32.5"),
    ("seed=-1", 2, "seed: expected a whole number at least 0; received -1"),
    ("precision=float16", 2, "expected auto or float32 or mixed_bfloat16 or mixed_float16; received 'float16'"),
    ("label_smoothing=2", 2, "label_smoothing: expected a number from 0 to 1; received 2"),
    ("class_weights=balance", 2, "class_weights: expected balanced or a mapping or null; received 'balance'"),
    ("model.image_size=28", 2, "model.image_size: expected a list of a whole number"),
    ("model.image_size=28", 2, "received 28; did you mean [28,28]?"),
    ("model.image_size=[5,5]", 2, "LeNet-5 needs images of at least [12, 12]"),
    ("schedule.phases.all.epochs=0", 2, "schedule.phases.all.epochs: expected a whole number at least 1"),
    ("schedule.phases.all.trainable=haed", 2, "schedule.phases.all.trainable: no layer is named 'haed'"),
    ("schedule.phases.all.trainable=[]", 2, "expected all, head, or names of layers; received an empty list"),
    ("schedule.phases.all.learning_rate_schedule=cosin", 2, "did you mean cosine?"),
    ("augmentation=crop", 2, "augmentation=crop: no such option"),
    ("augmentation.rotate_degrees=lots", 2, "augmentation.rotate_degrees: expected a number"),
    ("model=transfer model.weights=/nope.keras", 3, "there is nothing at /nope.keras"),
    ("checkpoint.keep=0", 2, "checkpoint.keep: expected a whole number at least 1; received 0"),
    ("checkpoint.min_seconds=-1", 2, "checkpoint.min_seconds: expected a number at least 0; received -1"),
    ("checkpoint.every_minutes=0", 2, "checkpoint.every_minutes: expected a number greater than 0 or null"),
    ("on_nan=ignore", 2, "on_nan: expected stop or rollback; received 'ignore'"),
    ("rollback.learning_rate_factor=2", 2, "rollback.learning_rate_factor: expected a number"),
    ("model._target_=os.system", 2, "model._target_: YAML files can't name code to run"),
    ("--config-dir {tmp}/conf experiment=broken", 2, "broken.yaml: can't be read as YAML"),
    ("--config-dir {tmp}/conf experiment=strange", 2, "batch_size: expected a whole number at least 1; received 'm"),
]
COMMAND_LINE = [
    ("evalute RUN", 2, "or a verb as first word: did you mean evaluate?"),
    ("lenet5", 2, "lenet5: expected key=value"),
    ("model=[lenet5", 2, "model=[lenet5: can't be read"),
    ("model=lenet5,alexnet", 2, "several options need -m"),
    ("seed=1,2", 2, "seed: expected a whole number at least 0; received '1,2'; several values need -m"),
    ("--config-dir {tmp}/nowhere", 2, "--config-dir: expected a folder of YAML files"),
    ("--config-name", 2, "--config-name: expected a value after it"),
    ("hydra.run.dir={tmp}/a_file", 2, "hydra.run.dir: the run's folder can't be made"),
    ("hydra.run.dir={run}", 2, "holds a run already, and a run never overwrites another"),
    ("evaluate", 2, "the following arguments are required: RUN"),
    ("evaluate {run} --split holdout", 2, "invalid choice: 'holdout'"),
    ("predict {run}", 2, "the following arguments are required: IMAGE"),
    ("predict {run} {tmp}/photos --top 0", 2, "expected at least 1; received 0"),
    ("resume", 2, "the following arguments are required: RUN"),
    ("resume {run} --forced", 2, "unrecognized arguments: --forced"),
    ("resume {run} model=resnet9", 2, "a run keeps its options"),
    ("resume {run} seed=1", 2, "seed: 1, was 0"),
    ("resume {run} sed=1", 2, "sed: no such key: did you mean seed?"),
    ("models lenet", 2, "did you mean lenet5?"),
    ("inspect -m seed=1,2", 2, "expected one configuration, without -m; received 2"),
    ("inspect data=digits --out {tmp}/page.pdf", 2, "page.pdf"),
    ("bench --fast", 2, "--fast: no such flag"),
]
DATA = [
    ("data=folder", 2, "data.path: is missing; expected a path"),
    ("data=folder data.path={tmp}/nowhere", 3, "nowhere: does not exist; expected a folder with one folder per class"),
    ("data=folder data.path={tmp}/a_file", 3, "a_file: is a file; expected a folder with one folder per class"),
    ("data=folder data.path={tmp}/empty", 3, "expected at least two folders, one a class; found none"),
    ("data=folder data.path={tmp}/one_class", 3, "expected at least two folders, one a class; found ['only']"),
    ("data=folder data.path={tmp}/hollow", 3, "no image in b; remove the class or fill it"),
    ("data=folder data.path={tmp}/no_images", 3, "3 of 3 files can't be used"),
    ("data=folder data.path={tmp}/photos data.max_pixels=9", 3, "more than data.max_pixels=9"),
    ("data=folder data.path={tmp}/photos data.train=trian", 3, "trian"),
    ("data=folder data.path={tmp}/photos data.train=train[50%", 2, "data.train: "),
    ("data=folder data.path={tmp}/photos data.test=1.5", 2, "data.test: "),
    ("data=folder data.path={tmp}/photos data.validation=0.5 data.test=0.5", 2, "fractions that add up to less than 1"),
    ("data.folds=5 data.fold=5", 2, "fold: expected 0 to 4, below data.folds; received 5"),
    ("data=csv data.path={tmp}/nowhere.csv", 3, "nowhere.csv: can't be read: No such file or directory"),
    ("data=csv data.path={tmp}/no_column.csv", 3, "data.image_column=image: {tmp}/no_column.csv has no such column"),
    ("data=csv data.path={tmp}/ragged.csv", 3, "ragged.csv, line 3: expected 2 columns; found 1"),
    ("data=csv data.path={tmp}/missing.csv", 3, "line 3: there is no file"),
    ("data=csv data.path={tmp}/latin.csv", 3, "expected at least two classes; found ['süß']"),
    ("data=idx data.path={tmp}/empty", 3, "expected a file train-images-idx3-ubyte"),
    ("data=idx data.path={tmp}/bad_idx", 3, "expected an idx file of 3 dimensions"),
    ("data=tfds data.name=mnits", 2, "TensorFlow Datasets has no set 'mnits': did you mean mnist?"),
    ("class_weights={{7:2,eleven:1}}", 2, "class_weights.eleven: no such class"),
]
RUN_FOLDERS = [
    ("evaluate {tmp}/nowhere", 3, "expected a run's folder, as cnntrain writes one; it is not a folder"),
    ("evaluate {tmp}/empty", 3, "expected a run's folder, as cnntrain writes one; it has no config.yaml in it"),
    ("resume {tmp}/nowhere", 3, "expected a run's folder"),
    ("resume {tmp}/runs/held schedule.phases.all.epochs=9", 2, "another process trains in this folder"),
    ("resume {tmp}/runs/garbled", 3, "config.yaml: can't be read"),
    ("evaluate {tmp}/runs/garbled", 3, "config.yaml: can't be read"),
    ("evaluate {tmp}/runs/old", 3, "config.yaml: was written by another version of cnntrain"),
    ("resume {tmp}/runs/old", 3, "config.yaml: was written by another version of cnntrain"),
    ("evaluate {tmp}/runs/no_record", 3, "run.json: can't be read"),
    ("evaluate {tmp}/runs/strange_record", 3, "run.json: is not what cnntrain writes"),
    ("evaluate {tmp}/runs/strange_input", 3, "run.json: was changed, or written by another version"),
    ("evaluate {tmp}/runs/no_model", 3, "model.keras: is missing"),
    ("evaluate {tmp}/runs/cut_model", 3, "model.keras: can't be loaded"),
    ("predict {tmp}/runs/cut_model {tmp}/photos", 3, "model.keras: can't be loaded"),
    ("resume {tmp}/runs/no_checkpoints schedule.phases.all.epochs=9", 2, "no checkpoint is left"),
    ("resume {tmp}/runs/strange_state seed=0 schedule.phases.all.epochs=9", 3, "another version of cnntrain"),
    ("resume {tmp}/runs", 3, "expected the folder of a run or of a multirun; it only holds runs"),
    ("resume {tmp}/bad_multirun", 3, "multirun.json: can't be read"),
    ("predict {run} {tmp}/none.png", 3, "{tmp}/none.png: no such file"),
    ("predict {run} {tmp}/empty", 3, "expected images in this folder; there are none"),
    ("predict {run} {tmp}/no_images", 3, "no_images/a/1.png: not an image of a known format"),
]
WEIGHTS = [
    (f"{TRANSFER} model.backbone=null model.weights={{tmp}}/nowhere.keras model.preprocess=unit", 3, "nothing at"),
    (f"{TRANSFER} model.backbone=null model.weights={{tmp}}/text.keras model.preprocess=unit", 3, "text.keras"),
    (f"{TRANSFER} model.backbone=null model.weights={{tmp}}/text.keras", 2, "how its network wants pixels"),
    (f"{TRANSFER} model.backbone=null model.weights={{tmp}}/text.h5", 2, "only a .keras file or a run's folder"),
    (f"{TRANSFER} model.backbone=null model.weights=null", 2, "model.backbone: expected a network"),
    (f"{TRANSFER} model.backbone=MobileNet model.weights={{tmp}}/text.h5", 3, "does not fit MobileNet"),
    (f"{TRANSFER} model.backbone=MobileNte", 2, "did you mean MobileNet?"),
    (f"{TRANSFER} model.backbone=null model.weights={{tmp}}/empty", 3, "run.json can't be read"),
    (f"{TRANSFER} model.backbone=null model.weights={{tmp}}/runs/cut_model", 3, "its network can't be loaded"),
]
MISTAKES = CONFIGURATION + COMMAND_LINE + DATA + RUN_FOLDERS + WEIGHTS


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a finished run and all kinds of things that are wrong."""
    tmp = tmp_path_factory.mktemp("world")
    assert main(["experiment=smoke", "report=false", f"hydra.run.dir={tmp / 'run'}"]) == 0
    make_data(tmp)
    held = make_runs(tmp)
    yield tmp
    held.close()


def make_data(tmp):
    """Data sets and files with mistakes."""
    write_photos(tmp / "photos", {"dark": 6, "light": 6})
    write_photos(tmp / "one_class", {"only": 2})
    write_photos(tmp / "hollow", {"a": 2})
    for folder in ("empty", "hollow/b", "no_images/a", "no_images/b", "bad_idx", "conf/experiment", "bad_multirun"):
        (tmp / folder).mkdir(parents=True, exist_ok=True)
    for name in ("a/1.png", "a/2.png", "b/1.jpg", "b/2.txt"):
        (tmp / "no_images" / name).write_text("no picture")
    for name in ("a_file", "text.keras", "text.h5"):
        (tmp / name).write_text("text")
    (tmp / "no_column.csv").write_text("img,label\nphotos/dark/0.jpg,a\n")
    (tmp / "ragged.csv").write_text("image,label\nphotos/dark/0.jpg,a\nphotos\n")
    (tmp / "missing.csv").write_text("image,label\nphotos/dark/0.jpg,a\nphotos/none.jpg,b\n")
    (tmp / "latin.csv").write_bytes("image,label\nphotos/dark/0.jpg,süß\n".encode("latin-1"))
    (tmp / "bad_idx" / "train-images-idx3-ubyte").write_bytes(b"hello")
    (tmp / "conf/experiment/broken.yaml").write_text("a: [")
    (tmp / "conf/experiment/strange.yaml").write_text("# @package _global_\nbatch_size: many\n")
    (tmp / "bad_multirun" / "multirun.json").write_text("{")


def make_runs(tmp):
    """Copies of the run, each with something wrong; gives the one that is held by its lock."""
    names = ("held", "garbled", "old", "no_record", "strange_record", "strange_input", "no_model", "cut_model",
             "no_checkpoints", "strange_state")  # fmt: skip
    runs = {name: shutil.copytree(tmp / "run", tmp / "runs" / name) for name in names}
    (runs["garbled"] / "config.yaml").write_text("model: [")
    with open(runs["old"] / "config.yaml", "a") as file:
        file.write("setting_of_old: 1\n")
    (runs["no_record"] / "run.json").unlink()
    (runs["strange_record"] / "run.json").write_text("[]")
    record = json.loads((tmp / "run" / "run.json").read_text())
    (runs["strange_input"] / "run.json").write_text(json.dumps(record | {"input": {"image_size": [8, 8]}}))
    (runs["no_model"] / "model.keras").unlink()
    model = (tmp / "run" / "model.keras").read_bytes()
    (runs["cut_model"] / "model.keras").write_bytes(model[: len(model) // 2])
    shutil.rmtree(runs["no_checkpoints"] / "checkpoints")
    checkpoint = checkpoints_in(runs["strange_state"] / "checkpoints")[0]
    write_state(checkpoint, State({"a": np.zeros(3)}, {"phase": "all", "unknown": 1}))
    return RunDir.reopen(runs["held"])


@pytest.mark.parametrize(("line", "code", "text"), MISTAKES, ids=[line for line, _, _ in MISTAKES])
def test_a_mistake_is_answered_in_words(world, cnntrain, monkeypatch, line, code, text):
    monkeypatch.chdir(world)
    names = {"tmp": world, "run": world / "run"}
    before = {path: path.stat().st_mtime_ns for path in (world / "run").rglob("*")}
    found, said = cnntrain(*line.format(**names).split())
    assert (found, "Traceback" in said) == (code, False), said
    assert text.format(**names) in said
    assert {path: path.stat().st_mtime_ns for path in (world / "run").rglob("*")} == before
    assert not any(path.is_file() for path in (world / "outputs").rglob("*"))


def test_there_are_mistakes_of_every_kind():
    assert len(MISTAKES) >= 60
    assert all(len(rows) >= 9 for rows in (CONFIGURATION, COMMAND_LINE, DATA, RUN_FOLDERS, WEIGHTS))


def test_a_traceback_is_for_our_own_mistakes_and_says_where_to_report_them(cnntrain, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("our own")

    monkeypatch.setattr("cnntrain.cli.overrides.read_request", broken)
    code, said = cnntrain("seed=1")
    assert code == 1
    assert "ZeroDivisionError: our own" in said
    assert "This is a mistake in cnntrain" in said and "please report it" in said
