"""Settings that do nothing, or something else than they seem to, get one warning line before a run starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from learners import built, config, finished, steps, stream
from torch import Tensor

from gradinc.cli.main import main
from gradinc.config import groups
from gradinc.config.catalog import load_part
from gradinc.config.compose import load_config
from gradinc.data.dataset import outline
from gradinc.data.stream import open_stream
from gradinc.runs.warnings import (
    given_answers,
    missing_classes,
    resting_norms,
    without_past,
)


def weights_after_a_task(*words: str) -> Tensor:
    tasks = stream("stream=iid")
    return finished(built(tasks, "stream=iid", *words), tasks, count=24, size=4).weights.value


@pytest.mark.parametrize(
    "strategy", [name for name in groups.names("strategy") if groups.methods(groups.content("strategy", name))]
)
def test_a_method_that_says_it_needs_earlier_tasks_is_plain_training_on_one_and_no_other_is(strategy):
    methods = config(f"strategy={strategy}").strategy.methods
    needs = {load_part("method", name)(**options).needs_past for name, options in methods.items()}
    plain = weights_after_a_task()
    own = weights_after_a_task(f"strategy={strategy}", "strategy.window.size=1", "optimizer.lr=0.05")
    assert torch.equal(own, plain) == (needs == {True})


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("stream=iid strategy=agem", "strategy.methods.agem: acts from the second task on, and this run has one: "),
        ("stream=iid strategy=[er,gpm,ewc]", "strategy.methods.gpm, strategy.methods.ewc: act from the second task on"),
        ("stream=split stream.tasks=1 strategy=si", "strategy.methods.si: acts from"),
        ("stream=split strategy=lwf stream.data=joint", "stream.data=joint trains on all tasks as one: "),
        ("stream=iid strategy=joint", "stream.data=joint: acts from"),
        ("stream=iid strategy=stable_sgd", "schedule.task_factor="),
        ("stream=iid stream.restart=weights", "stream.restart=weights: acts from"),
        ("stream=iid strategy=er", None),
        ("stream=split strategy=agem", None),
        ("stream=split strategy=joint", None),
        ("stream=iid", None),
    ],
)
def test_what_acts_from_the_second_task_on_is_warned_of_where_there_is_none(words, line):
    chosen = config(*words.split())
    methods = {name: load_part("method", name)(**options) for name, options in chosen.strategy.methods.items()}
    lines = without_past(chosen, methods, stream(*words.split()))
    assert (lines == []) if line is None else (len(lines) == 1 and line in lines[0])


@pytest.mark.parametrize(
    ("words", "rests"),
    [
        ("model=cnn model.norm=batch strategy=gpm", "gpm leaves the statistics and weights of"),
        ("model=cnn model.norm=batch strategy=ogd", "ogd leaves the statistics of"),
        ("model=cnn model.norm=group strategy=gpm", "gpm leaves the weights of"),
        ("model=cnn model.norm=group strategy=ogd", None),
        ("model=cnn model.norm=batch strategy=ewc", None),
        ("model=mlp strategy=gpm", None),
    ],
)
def test_normalisations_that_rest_after_the_first_task_are_named_and_do_rest(words, rests):
    small = ("stream=permuted", "stream.tasks=2", "model.width=4", *words.split())
    tasks = stream(*small)
    made = built(tasks, *small)
    lines = resting_norms(dict(zip(config(*small).strategy.methods, made.methods, strict=True)), made.model, len(tasks))
    assert (lines == []) if rests is None else lines[0].startswith(rests)
    assert resting_norms({"m": made.methods[0]}, made.model, 1) == []
    # What is said is what is done.
    before: dict[str, Tensor] = {}
    for place in steps(made, tasks):
        if place == (1, 0):
            before = {name: value.clone() for name, value in made.model.state_dict().items()}
    after = made.model.state_dict()
    norms = {name.rpartition(".")[0] for name, value in before.items() if "norm" in name.lower()}
    for part, names in (("statistics", ("running_mean", "running_var")), ("weights", ("weight", "bias"))):
        own = [f"{norm}.{name}" for norm in norms for name in names if f"{norm}.{name}" in before]
        if own:
            assert all(torch.equal(before[name], after[name]) for name in own) == (rests is not None and part in rests)


def test_classes_without_rows_in_a_part_are_named(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(8), [40, 1, 40, 1, 1, 1, 1, 1])
    np.savez(tmp_path / "few.npz", x=np.random.default_rng(0).normal(size=(86, 4)), y=labels)
    chosen = load_config(["data=npz", f"data.root={tmp_path / 'few.npz'}", "data.validation=0"])
    (line,) = missing_classes(open_stream(chosen, outline(chosen.data)))
    assert line == (
        "data=npz: classes without test rows are not tested: "
        "1 (1 in all), 3 (1 in all), 4 (1 in all), 5 (1 in all), 6 (1 in all) and 1 more"
    )
    chosen = load_config(["data=npz", f"data.root={tmp_path / 'few.npz'}"])
    lines = missing_classes(open_stream(chosen, outline(chosen.data)))
    assert [" validation rows have no say" in line for line in lines] == [True, False]
    assert missing_classes(stream("stream=iid")) == []


def test_a_task_without_test_rows_is_refused_before_anything_is_created(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.repeat(np.arange(4), [40, 40, 1, 1])
    np.savez(tmp_path / "few.npz", x=np.random.default_rng(0).normal(size=(82, 4)), y=labels)
    words = ["data=npz", f"data.root={tmp_path / 'few.npz'}", "data.validation=0", "model=mlp", "stream=split"]
    assert main(["train", *words, "stream.tasks=2", f"output={tmp_path / 'out'}"]) == 2
    assert "evaluate.rows=test: there are no test rows of task 2. Set a larger" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("stream.tasks=10 scenario=task", "every task has one class only"),
        ("stream.tasks=10 scenario=domain", "every task has one class only"),
        ("stream.tasks=6 scenario=task stream.heads=masked", "2 of 6 tasks have one class only"),
        ("stream.tasks=6 scenario=domain", None),
        ("stream.tasks=10 scenario=class", None),
        ("stream.tasks=5 scenario=task", None),
    ],
)
def test_tasks_whose_class_is_given_away_are_warned_of(words, line):
    lines = given_answers(stream("stream=split", *words.split()))
    assert (lines == []) if line is None else lines[0].startswith(line)


def test_a_run_says_them_once_below_its_first_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model=linear", "strategy=agem", "budget.steps=2", "device=cpu", "threads=1", f"output={tmp_path}"]
    assert main(["train", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("digits · 10 classes")
    assert lines[1].startswith("warning: strategy.methods.agem: acts from the second task on")
    assert sum(line.startswith("warning") for line in lines) == 1
