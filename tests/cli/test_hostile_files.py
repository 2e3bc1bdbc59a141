"""Files of unknown origin run no code, write nothing elsewhere, and take no memory to speak of."""

import gzip
import json
import os
import resource
import shutil
import struct
import zipfile

import h5py
import keras
import pytest

from cnntrain.cli.main import main
from cnntrain.models.keras_file import UNLOADABLE, check_weights, load_network
from tests.conftest import write_photos
from tests.data.image_files.difficult_files import huge_png

GROWTH_KIB = 300 * 1024


def peak_kib():
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run."""
    run = tmp_path_factory.mktemp("trained") / "run"
    assert main(["experiment=smoke", "report=false", f"hydra.run.dir={run}"]) == 0
    return run


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it, for harm."""
    return shutil.copytree(trained, tmp_path / "run")


def lambda_network(path):
    """A network whose layer is code: it would make a file."""
    victim = path.with_name("made")
    images = keras.Input((28, 28, 1))
    code = keras.layers.Lambda(lambda x, name=str(victim): [x, os.makedirs(name, exist_ok=True)][0])
    features = keras.layers.Flatten()(code(images))
    keras.Model(images, keras.layers.Dense(10, name="class")(features)).save(path)
    victim.rmdir()
    return victim


def test_a_network_with_code_in_it_is_not_loaded(run, cnntrain):
    victim = lambda_network(run / "model.keras")
    code, said = cnntrain("evaluate", run)
    assert (code, "model.keras: can't be loaded" in said) == (3, True)
    words = ["model=transfer", "model.backbone=null", f"model.weights={run / 'model.keras'}", "model.preprocess=unit"]
    code, said = cnntrain("experiment=smoke", "report=false", *words, f"hydra.run.dir={run.with_name('other')}")
    assert (code, "its network can't be loaded" in said) == (3, True)
    assert not victim.exists()


def zip_bomb(path, model):
    """Half a gigabyte of zeros as weights, in half a megabyte."""
    with zipfile.ZipFile(model) as whole, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in ("metadata.json", "config.json"):
            bomb.writestr(name, whole.read(name))
        with bomb.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(512):
                member.write(bytes(2**20))


def array_bomb(path, model):
    """Weights of which one array is said to have 40 gigabytes, none of them stored."""
    weights = path.with_suffix(".h5")
    with h5py.File(weights, "w") as file:
        file.create_dataset("layers/conv2d/vars/0", shape=(10**5, 10**5), dtype="f4", chunks=(10, 10))
    with zipfile.ZipFile(model) as whole, zipfile.ZipFile(path, "w") as bomb:
        for name in ("metadata.json", "config.json"):
            bomb.writestr(name, whole.read(name))
        bomb.write(weights, "model.weights.h5")


def climbing(path, model):
    """A member that would be unpacked outside of the folder that it is unpacked to."""
    shutil.copy(model, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/../../../x", "made")


@pytest.mark.parametrize(
    ("make", "text"),
    [(zip_bomb, "is taken for a bomb"), (array_bomb, "is taken for a bomb"), (climbing, "would lie outside")],
)
def test_archives_that_unpack_to_more_or_elsewhere_are_refused(run, cnntrain, make, text):
    make(run / "bomb.keras", run / "model.keras")
    os.replace(run / "bomb.keras", run / "model.keras")
    before = peak_kib()
    code, said = cnntrain("evaluate", run)
    assert (code, text in said) == (3, True)
    assert peak_kib() - before < GROWTH_KIB


def test_weights_in_other_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", shape=(4,), dtype="u1", external=[("/etc/passwd", 0, 4)])
    with pytest.raises(ValueError, match="lies in another file"):
        check_weights(tmp_path / "x.h5")


def test_a_network_that_names_other_modules_is_refused(run):
    model = run / "model.keras"
    with zipfile.ZipFile(model) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config |= {"module": "os", "class_name": "system", "registered_name": None, "config": {"command": "true"}}
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(model, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(UNLOADABLE):
        load_network(model)


def test_classes_whose_names_are_paths_make_no_files(cnntrain, tmp_path):
    photos = write_photos(tmp_path / "photos", {"a": 6, "b": 6})
    names = {"a": "../../x", "b": "/tmp/../y\n[red]z"}  # noqa: S108
    files = [(folder.name, file.name) for folder in photos.iterdir() for file in folder.iterdir()]
    lines = [f'{folder}/{file},"{names[folder]}"' for folder, file in files]
    (photos / "labels.csv").write_text("image,label\n" + "\n".join(lines))
    before = {path for path in tmp_path.rglob("*")}
    words = ["experiment=smoke", "report=false", "data=csv", f"data.path={photos / 'labels.csv'}"]
    code, said = cnntrain(*words, f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 0, said
    made = {path.relative_to(tmp_path).parts[0] for path in {*tmp_path.rglob("*")} - before}
    assert made == {"run"}
    assert cnntrain("predict", tmp_path / "run", photos / "a")[0] == 0
    assert not (tmp_path.parent / "x").exists()


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../secret.png"])
def test_paths_in_a_csv_can_not_leave_its_folder(cnntrain, tmp_path, name):
    photos = write_photos(tmp_path / "photos", {"a": 2, "b": 2})
    shutil.copy(photos / "a" / "1.png", tmp_path / "secret.png")
    (photos / "labels.csv").write_text(f"image,label\na/1.png,a\n{name},b\n")
    code, said = cnntrain("data=csv", f"data.path={photos / 'labels.csv'}", f"hydra.run.dir={tmp_path / 'run'}")
    assert (code, "line 3: expected the path of a file in data.root" in said) == (3, True)


def test_a_picture_that_is_huge_takes_no_memory(trained, cnntrain, tmp_path):
    (tmp_path / "huge.png").write_bytes(huge_png())
    before = peak_kib()
    code, said = cnntrain("predict", trained, tmp_path)
    assert (code, "huge.png: 20000×20000 pixels, more than" in said) == (3, True)
    assert peak_kib() - before < GROWTH_KIB
    of_decoders = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # at first that of this process, forked
    assert of_decoders < peak_kib() + GROWTH_KIB


def test_a_small_idx_file_that_unpacks_to_a_huge_one_is_refused(cnntrain, tmp_path):
    with gzip.open(tmp_path / "train-images-idx3-ubyte.gz", "wb", compresslevel=9) as file:
        file.write(struct.pack(">IIII", 0x803, 512, 1024, 1024))
        for _ in range(512):
            file.write(bytes(2**20))
    before = peak_kib()
    code, said = cnntrain("data=idx", f"data.path={tmp_path}", f"hydra.run.dir={tmp_path / 'run'}")
    assert (code, "unpacks to more than 100 times its size" in said) == (3, True)
    assert peak_kib() - before < GROWTH_KIB


def yaml_bomb():
    """A billion values in ten lines."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for below, name in zip("abcdefghi", "bcdefghij", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]")
    return "\n".join(lines)


def test_a_run_folder_of_unknown_origin_runs_nothing(run, cnntrain, tmp_path):
    (run / "config.yaml").write_text(f"!!python/object/apply:os.mknod ['{tmp_path / 'made'}']\n")
    assert cnntrain("resume", run)[0] == cnntrain("evaluate", run)[0] == 3
    assert not (tmp_path / "made").exists()
    (run / "config.yaml").write_text(yaml_bomb())
    code, said = cnntrain("evaluate", run)
    assert (code, "is taken for a bomb" in said) == (3, True)


def test_configurations_that_unfold_without_an_end_are_refused(cnntrain, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ndefaults: [bomb]\n")
    (tmp_path / "experiment" / "bomb.yaml").write_text(f"# @package _global_\n{yaml_bomb()}\n")
    before = peak_kib()
    code, said = cnntrain("--config-dir", tmp_path, "experiment=mine")
    assert (code, "bomb.yaml: its aliases stand for" in said) == (2, True)
    assert peak_kib() - before < GROWTH_KIB
