"""Bad input: one line on stderr that names the key and the fix, exit code 2, nothing created."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

WRONG = [
    # what was typed, and how the answer begins
    (("tarin",), "tarin: no such command. Did you mean train?"),
    (("xyzzy",), "xyzzy: no such command. One of train, tune, test, "),
    (("model=cnn",), "model=cnn: is not a command. Did you mean gradinc train model=cnn?"),
    (("train", "cnn"), "cnn: gradinc takes key=value. Did you mean model=cnn?"),
    (("train", "xyzzy"), "xyzzy: gradinc takes key=value. See gradinc train --help."),
    (("train", ""), "'': gradinc takes key=value."),
    (("train", "=3"), "=3: gradinc takes key=value."),
    (("train", "--seed", "3"), "gradinc takes key=value: seed=3."),
    (("train", "--seed=3"), "gradinc takes key=value: seed=3."),
    (("train", "--lr", "0.1"), "gradinc takes key=value: optimizer.lr=0.1."),
    (("train", "--learning-rate"), "--learning-rate: no such option."),
    (("train", "-x"), "-x: no such option."),
    (("train", "--config-name", "x"), "--config-name: no such option."),
    (("train", "--experimental-rerun", "x.pickle"), "--experimental-rerun: no such option."),
    (("train", "--config-dir", "nowhere"), "--config-dir nowhere: no such folder."),
    (("train", "--config-dir"), "gradinc train: argument --config-dir/-cd: expected one argument."),
    (("train", "--cfg", "jib"), "gradinc train: argument --cfg/-c: invalid choice: 'jib'"),
    (("train", "--cfg", "job", "-m"), "--cfg --multirun: contradict each other."),
    (("train", "--resolve"), "--resolve: needs --cfg."),
    (("train", "--cfg", "job", "-p", "nothing"), "--package nothing: no such section."),
    (("train", "-sc", "install=cmd"), "--shell-completion: needs install="),
    (("train", "optm.lr=0.1"), "optm.lr: no such key. Did you mean optimizer.lr?"),
    (("train", "lr=0.1"), "lr: no such key. Did you mean optimizer.lr?"),
    (("train", "+lr=0.1"), "lr: no such key. Did you mean optimizer.lr?"),
    (("train", "++optimizer.lrr=0.1"), "optimizer.lrr: no such key. Did you mean optimizer.lr?"),
    (("train", "modle=cnn"), "modle: no such key. Did you mean model?"),
    (
        ("train", "model.heads=3"),
        "model.heads: model=cnn has no such option. It is one of model=decoder, model=encoder, model=vit.",
    ),
    (("train", "table=article"), "table: no such key."),
    (
        ("train", "strategy=acumulate"),
        "strategy=acumulate: unknown. Did you mean accumulate? Choose from: accumulate, ",
    ),
    (
        ("train", "strategy=[sgd,acumulate]"),
        "strategy=acumulate: unknown. Did you mean accumulate? Choose from: accumulate, ",
    ),
    (("train", "strategy=[sgd,sgd]"), "strategy=[sgd,sgd]: sgd is repeated."),
    (("train", "model=CNN"), "model=CNN: unknown. Choose from: cnn, "),
    (("train", "model=../model/cnn"), "model=../model/cnn: unknown."),
    (("train", "model=[cnn,mlp]"), "model=[cnn,mlp]: takes one model."),
    (("train", "model=null"), "model=null: unknown."),
    (("train", "model@other=cnn"), "model@other: every group has one place."),
    (
        ("train", "experiment=articel_linear"),
        "experiment=articel_linear: unknown. Did you mean article_linear? Choose from: article_linear, ",
    ),
    (("train", "~model"), "~model: every run has one."),
    (("train", "~optimizer.lr"), "optimizer.lr: is missing."),
    (("train", "~optimizer.lrr"), "~optimizer.lrr: no such key. Did you mean ~optimizer.lr?"),
    (("train", "data.batch_size=many"), "data.batch_size=many: need a whole number ≥ 1."),
    (("train", "data.batch_size=0"), "data.batch_size=0: need a whole number ≥ 1."),
    (("train", "data.batch_size=1.5"), "data.batch_size=1.5: need a whole number ≥ 1."),
    (("train", "data.batch_size="), "data.batch_size=: need a whole number ≥ 1."),
    (("train", f"data.batch_size={10**22}"), f"data.batch_size={10**22}: is too large. Give a whole number ≥ 1, below"),
    (("train", f"seed={10**22}"), f"seed={10**22}: need a whole number ≥ 0 and < "),
    (("train", "threads=5000"), "threads=5000: need auto or a whole number ≥ 1 and ≤ 4096."),
    (("train", f"init={'x' * 300}"), "x" * 300),
    (("train", f"data.root={'x' * 5000}"), "x" * 500 + " … "),
    (("test", "x" * 300), "x" * 300),
    (("verify", "x" * 300), "x" * 300),
    (("train", "optimizer.lr=-0.1"), "optimizer.lr=-0.1: need a number > 0."),
    (("train", "optimizer.lr=nan"), "optimizer.lr=nan: need a number > 0."),
    (("train", "optimizer.lr=true"), "optimizer.lr=true: need a number > 0."),
    (("train", "optimizer.lr='0.1'"), "optimizer.lr=0.1: need a number > 0, and this is text. Leave out the quotes."),
    (("train", "optimizer.lr=0.1,0.2"), "optimizer.lr=0.1,0.2: has several values. Add -m"),
    (("train", "optimizer.lr=(0.1"), "optimizer.lr=(0.1: cannot be read. Put the value in quotes"),
    (("train", "optimizer.lr=${lr}"), "optimizer.lr: Interpolation key 'lr' not found."),
    (("train", "optimizer.lr=${nothing:1}"), "optimizer.lr: Unsupported interpolation type nothing."),
    (("train", "optimizer.lr=???"), "optimizer.lr: is missing."),
    (("train", "optimizer..lr=1"), "optimizer..lr: is not a key."),
    (("train", "seed=-1"), "seed=-1: need a whole number ≥ 0"),
    (("train", "seed.x=1"), "seed={x:1}: need a whole number ≥ 0"),
    (("train", "model.activation=rleu"), "model.activation=rleu: unknown. Did you mean relu? Choose from: relu, "),
    (("train", "data.augment=[flop]"), "data.augment=[flop]: unknown. Did you mean flip? Choose from: flip, crop."),
    (("train", "device=gpu"), "device=gpu: need auto, cpu, cuda or cuda:N."),
    (("train", "fresh=maybe"), "fresh=maybe: unknown. Choose from: true, false."),
    (("train", "budget.epochs=null"), "budget: every limit is null"),
    (("train", "budget.accuracy=0.9", "data.validation=0"), "budget.accuracy=0.9: needs validation rows"),
    (("train", "name=../x"), "name=../x: need letters, digits"),
    (("train", "name=/tmp/x"), "name=/tmp/x: need letters, digits"),
    (("train", "name=" + "x" * 300), "name=xxx"),
    (("train", "hydra.run.dir=x"), "hydra.run.dir: gradinc runs the jobs itself"),
    (("train", "hydra/launcher=joblib"), "hydra/launcher: gradinc runs the jobs itself"),
    (("train", "hydra.mode=RUNN"), "hydra.mode=RUNN: unknown. Choose from: RUN, MULTIRUN."),
    (("train", "-m", "seed=1,-1"), "seed=-1: need a whole number ≥ 0"),
    (("train", "-m", "seed=interval(0,1)"), "seed=interval(0,1): has endless values."),
    (("train", "-m", "model=glob(q*)"), "model=glob(q*): has no value."),
    (("train", "-m", "name=x,y", "seed=1,2"), "name=x: two runs of the sweep would share a directory."),
    (("list", "modles"), "modles: unknown. Did you mean models? Choose from: models, "),
    (("list", "models", "--jsn"), "--jsn: gradinc list does not take it. Did you mean --json?"),
    (("list", "models", "data"), "data: gradinc list does not take it."),
    (("data", "digit"), "digit: no such data set. Did you mean digits? Choose from: digits, "),
    (("data", "digits", "--rot", "x"), "--rot: gradinc data does not take it. Did you mean --root?"),
    (("test",), "gradinc test: names no run."),
    (("test", "data=mnist"), "data=mnist: names no run."),
    (("test", "outputs/nothing"), "outputs/nothing: no such run."),
]


@pytest.mark.parametrize(("arguments", "answer"), WRONG, ids=[" ".join(arguments)[:60] for arguments, _ in WRONG])
def test_a_wrong_command_is_answered_in_one_line(
    gradinc: Any, empty: Path, arguments: tuple[str, ...], answer: str
) -> None:
    outcome = gradinc(*arguments)
    assert outcome.code == 2
    assert outcome.err.startswith(answer)
    assert outcome.err.count("\n") == 1
    assert outcome.err.endswith("\n")
    assert outcome.out == ""
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [("train", "optm.lr=0.1"), ("train", "--seed", "3"), ("tarin",), ("list", "modles")]
)
def test_a_process_of_its_own_says_the_same_and_shows_no_traceback(
    process: Any, empty: Path, arguments: tuple[str, ...]
) -> None:
    outcome = process(*arguments)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith(dict(WRONG)[arguments])
    assert list(empty.iterdir()) == []


def test_what_is_wrong_drives_no_terminal(gradinc: Any) -> None:
    for argument in ("\x1b]0;title\x07=1", "seed=\x1b[31mred", "model=[red]x", "name=\x1b[2J"):
        outcome = gradinc("train", argument)
        assert outcome.code == 2
        assert outcome.err.rstrip("\n").isprintable()


@pytest.mark.parametrize("key", ["device=cuda:99", "device=cuda"])
def test_a_device_that_is_not_there_is_bad_input(gradinc: Any, empty: Path, key: str) -> None:
    import torch

    if key == "device=cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    outcome = gradinc("train", key, "model=linear")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert outcome.err.startswith(key)
    assert list(empty.iterdir()) == []
