"""The command line: mistakes are answered at once, all together, before TensorFlow loads."""

import subprocess
import sys
import textwrap

import pytest

from cnntrain.cli.main import VERBS

LOOK = """
import sys
from cnntrain.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
loaded = [name for name in ("tensorflow", "keras", "hydra") if name in sys.modules]
print("loaded:", *loaded)
sys.exit(code)
"""


def run_apart(*words, cwd=None):
    """A command line in a process of its own: exit code, what it loaded, and what it said."""
    done = subprocess.run([sys.executable, "-c", LOOK, *words], capture_output=True, text=True, cwd=cwd)
    said, _, loaded = (done.stdout + done.stderr).partition("loaded:")
    return done.returncode, done.stdout.rpartition("loaded:")[2].split(), done.stderr or said + loaded


MISTAKES = [
    (["model=lenet"], "model=lenet: no such option: did you mean lenet5?"),
    (["optimizer.lerning_rate=1"], "optimizer.lerning_rate: no such key: did you mean optimizer.learning_rate?"),
    (["+optimizer.foo=1"], "optimizer.foo: no such key"),
    (
        ["optimizer.learning_rate=fast"],
        "optimizer.learning_rate: expected a number greater than 0 or null; received 'fast'",
    ),
    (["data.path=x"], "data.path: no such key with data.source=digits: folder, csv, annotations, idx have it"),
    (["evalute", "run"], "or a verb as first word: did you mean evaluate?"),
    (["model=lenet5,lenet", "-m"], "model=lenet: no such option: did you mean lenet5?"),
    (["seed=1,x", "-m"], "seed: expected a whole number at least 0; received 'x'"),
    (["--config-dir", "nowhere"], "--config-dir: expected a folder of YAML files"),
    (["+hydra.callbacks.x._target_=builtins.print"], "hydra.callbacks: would run code; remove it"),
    (["model._target_=builtins.print"], "model._target_: YAML files can't name code to run; remove it"),
]


@pytest.mark.parametrize(("words", "text"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_is_answered_without_tensorflow(words, text):
    code, loaded, said = run_apart(*words)
    assert code == 2
    assert text in said
    assert not {"tensorflow", "keras"} & set(loaded)


def test_all_mistakes_are_answered_together():
    _, _, said = run_apart("model=lenet", "optimizer.lerning_rate=1", "seed=-1", "dta=digits", "+limits.stops=3")
    assert [line.partition(":")[0] for line in said.strip().splitlines()] == [
        "model=lenet", "dta", "optimizer.lerning_rate", "seed", "limits.stops"
    ]  # fmt: skip


USERS_YAML = """
# @package _global_
defaults:
  - override /model: lenet
  - override /optimizer: sdg
batch_size: many
optimizer:
  lerning_rate: 1
"""


def test_mistakes_in_a_users_yaml_are_answered_too(tmp_path):
    (tmp_path / "experiment").mkdir()
    path = tmp_path / "experiment" / "mine.yaml"
    path.write_text(USERS_YAML)
    code, loaded, said = run_apart("--config-dir", str(tmp_path), "experiment=mine")
    assert (code, loaded) == (2, ["hydra"])
    assert f"{path}: defaults: model: no such option 'lenet': did you mean lenet5?" in said
    assert f"{path}: defaults: optimizer: no such option 'sdg': did you mean sgd?" in said
    path.write_text(USERS_YAML.replace("lenet\n", "lenet5\n").replace("sdg", "sgd"))
    code, loaded, said = run_apart("--config-dir", str(tmp_path), "experiment=mine")
    assert (code, loaded) == (2, ["hydra"])
    assert "batch_size: expected a whole number at least 1; received 'many'" in said
    assert "optimizer.lerning_rate: no such key: did you mean optimizer.learning_rate?" in said


def test_a_users_yaml_can_not_run_code_or_write_files(tmp_path):
    victim = tmp_path / "victim.txt"
    victim.write_text("precious")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "evil.yaml").write_text(
        textwrap.dedent(f"""
        # @package _global_
        hydra:
          callbacks: {{x: {{_target_: tensorflow.io.gfile.remove, path: {victim}}}}}
          job_logging: {{handlers: {{file: {{class: logging.FileHandler, filename: {victim}, mode: w}}}}}}
        model: {{_target_: builtins.open, file: {victim}, mode: w}}
        """)
    )
    code, loaded, said = run_apart("--config-dir", str(tmp_path), "experiment=evil", cwd=tmp_path)
    assert (code, loaded) == (2, ["hydra"])
    for key in ("hydra.callbacks", "hydra.job_logging", "model._target_"):
        assert key in said
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["evaluate", "--help"], ["predict", "--help"],
                                   ["export", "--help"]])
def test_help_loads_neither_hydra_nor_tensorflow(words):
    code, loaded, _ = run_apart(*words)
    assert (code, loaded) == (0, [])


def test_the_front_page_names_verbs_groups_and_options(cnntrain):
    code, said = cnntrain("--help")
    assert code == 0
    assert all(word in said for word in (*VERBS, "lenet5", "fashion_mnist", "adamw", "smoke", "--cfg job"))


def test_the_page_of_keys_names_every_key(cnntrain):
    said = cnntrain("train", "--keys")[1]
    assert all(key in said for key in ("optimizer.nesterov", "data.memory_limit_mb", "schedule.phases.NAME.epochs"))


DIFFICULT = ["a b", "Bücher (alt)", "x,y", "a#b", "a=b", "it's", 'say "hi"', "back\\slash", "[1]", "{a}", "a:b", "~x"]


@pytest.mark.parametrize("path", DIFFICULT)
def test_paths_that_hydras_grammar_refuses_just_work(cnntrain, path):
    code, said = cnntrain("data=folder", f"data.path=/nowhere/{path}")
    assert (code, said.partition(": does not exist")[0]) == (3, f"data.path=/nowhere/{path}")


def test_a_run_that_fails_at_its_start_leaves_no_folder(cnntrain, tmp_path):
    assert cnntrain("data=folder", "data.path=/nowhere", f"hydra.run.dir={tmp_path / 'run'}")[0] == 3
    assert list(tmp_path.iterdir()) == []


def test_slices_just_work(cnntrain):
    words = ["data.train=train[25%:]", "data.test=train[:10%]", "data.validation=train[10%:25%]"]
    said = cnntrain(*words, "--cfg", "job")[1]
    assert "train: train[25%:]" in said


def test_a_sweep_over_paths_with_spaces_is_split_at_its_commas(cnntrain):
    code, said = cnntrain("-m", "data=folder", "data.path=/nowhere/a b,/nowhere/c d")
    assert code == 3
    assert "data.path=/nowhere/a b: does not exist" in said and "data.path=/nowhere/c d: does not exist" in said


def test_the_composed_configuration_is_shown_without_training(cnntrain):
    code, said = cnntrain("model=lenet5", "optimizer.learning_rate=0.5", "--cfg", "job")
    assert code == 0
    assert "learning_rate: 0.5" in said


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cnntrain ev", {"evaluate"}),
        ("cnntrain mod", {"model="}),
        ("cnntrain train model=le", {"model=lenet5"}),
        ("cnntrain model=lenet5 optimizer=ad", {"optimizer=adam", "optimizer=adamw"}),
    ],
)
def test_completion_knows_verbs_and_groups(cnntrain, monkeypatch, line, expected):
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    code, said = cnntrain("-sc", "query=bash")
    assert code == 0
    assert expected <= set(said.split())


@pytest.mark.parametrize("words", [["model=[lenet5"], ["a b=c"], ["model=lenet5,resnet34"]])
def test_a_word_that_is_no_override_is_answered_as_a_mistake(cnntrain, words):
    code, said = cnntrain(*words)
    assert (code, "Traceback" in said) == (2, False)


TALKATIVE = """
import sys
from cnntrain.cli import main
from cnntrain.runtime.terminal import Terminal
def talk(words):
    for number in range(1000):
        Terminal().line("x" * 1000)
    return 3
main.VERBS["models"] = main.Verb("", talk)
sys.exit(main.main(["models"]))
"""


def test_a_reader_that_has_seen_enough_is_no_mistake():
    process = subprocess.Popen([sys.executable, "-c", TALKATIVE], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"x" * 1000 + b"\n"
    process.stdout.close()
    assert (process.wait(), process.stderr.read()) == (0, b"")
    process.stderr.close()


def test_a_run_folder_that_can_not_be_made_is_named(cnntrain, tmp_path):
    (tmp_path / "file").touch()
    code, said = cnntrain("experiment=smoke", f"hydra.run.dir={tmp_path / 'file'}")
    assert (code, "the run's folder can't be made" in said) == (2, True)
