"""The name that was most likely meant by a mistyped one, or by one from another program."""

import difflib
from collections.abc import Iterable

# names in other programs, and the equivalent here
ELSEWHERE = {
    "lr": "optimizer.learning_rate",
    "lr0": "optimizer.learning_rate",
    "wd": "optimizer.weight_decay",
    "opt": "optimizer",
    "bs": "batch_size",
    "batch": "batch_size",
    "epochs": "schedule.phases.all.epochs",
    "num_epochs": "schedule.phases.all.epochs",
    "max_epochs": "schedule.phases.all.epochs",
    "warmup_epochs": "schedule.phases.all.warmup_epochs",
    "patience": "schedule.phases.all.early_stopping_patience",
    "img_size": "model.image_size",
    "imgsz": "model.image_size",
    "input_size": "model.image_size",
    "pretrained": "model.weights=imagenet",
    "weights": "model.weights",
    "dropout": "model.dropout",
    "amp": "precision=mixed_bfloat16",
    "fp16": "precision=mixed_float16",
    "half": "precision=mixed_float16",
    "workers": "parallel_calls",
    "num_workers": "parallel_calls",
    "output_dir": "hydra.run.dir",
    "save_dir": "hydra.run.dir",
}
ELSEWHERE_ANSWERS = {
    "num_classes": "the number of classes comes from the data; leave it out",
    "device": "TensorFlow's first GPU is used, or else the CPU; CUDA_VISIBLE_DEVICES chooses",
    "resume": "a run that stopped goes on with cnntrain resume RUN",
}


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The valid name that was most likely meant by a mistyped one."""
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return found[0] if found else None


def unknown(what: str, name: str, names: Iterable[str], *, guesses: Iterable[str] = ()) -> str:
    """The error text for a name that does not exist, with the nearest one, or else with all of them.

    `guesses` are further names to suggest if one is close.
    """
    valid = sorted(names)
    guess = nearest(name, [*valid, *guesses])
    hint = f"did you mean {guess}?" if guess else f"valid: {', '.join(valid) or 'none'}"
    return f"{what}: {hint}"


def unknown_key(key: str, value: object, keys: Iterable[str], *, guesses: Iterable[str] = ()) -> str:
    """The error text for a full key that does not exist, with its meaning in other programs, or the nearest one."""
    what, name = f"{key}: no such key", key.rpartition(".")[2]
    if name in ELSEWHERE_ANSWERS:
        return f"{what}: {ELSEWHERE_ANSWERS[name]}"
    if name not in ELSEWHERE:
        return unknown(what, key, keys, guesses=guesses)
    target = ELSEWHERE[name]
    if target == "model.image_size" and isinstance(value, int):
        value = [value, value]
    if "=" not in target and isinstance(value, int | float | str | list):
        target = f"{target}={value}".replace(" ", "")
    return f"{what}: did you mean {target}?"
