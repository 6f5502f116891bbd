"""Settings that do nothing, or something else than they seem to, get one warning line before a run starts."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from learners import built, config, finished, steps, stream
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.cli.main import main
from gradinc.config import groups
from gradinc.config.catalog import load_part
from gradinc.config.compose import load_config
from gradinc.data.dataset import outline
from gradinc.data.stream import open_stream
from gradinc.data.task import Setting
from gradinc.runs.warnings import (
    given_answers,
    missing_classes,
    resting_norms,
    rows_alone,
    short_epochs,
    small_memories,
    undone_projections,
    uneven_rings,
    without_other_key,
    without_past,
)


def weights_after_a_task(*words: str) -> Tensor:
    tasks = stream("stream=iid")
    return finished(built(tasks, "stream=iid", *words), tasks, count=24, size=4).weights.value


SOON = {
    "redo": ("strategy.methods.redo.every=2", "strategy.methods.redo.threshold=1.0"),
    "continual_backprop": (
        "strategy.methods.continual_backprop.maturity=0",
        "strategy.methods.continual_backprop.rate=0.5",
    ),
}
"""Options with which methods that wait for many updates act within the few here."""


@pytest.mark.parametrize(
    "strategy", [name for name in groups.names("strategy") if groups.methods(groups.content("strategy", name))]
)
def test_a_method_that_says_it_needs_earlier_tasks_is_plain_training_on_one_and_no_other_is(strategy):
    methods = config(f"strategy={strategy}").strategy.methods
    needs = {load_part("method", name)(**options).needs_past for name, options in methods.items()}
    plain = weights_after_a_task()
    soon = SOON.get(strategy, ())
    own = weights_after_a_task(f"strategy={strategy}", "strategy.window.size=1", "optimizer.lr=0.05", *soon)
    assert torch.equal(own, plain) == (needs == {True})


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("stream=iid strategy=agem", "strategy.methods.agem: acts from the second task on, and this run has one: "),
        ("stream=iid strategy=[er,gpm,ewc]", "strategy.methods.gpm, strategy.methods.ewc: act from the second task on"),
        ("stream=split stream.tasks=1 strategy=si", "strategy.methods.si: acts from"),
        ("stream=split strategy=lwf stream.data=joint", "stream.data=joint trains on all tasks as one: "),
        ("stream=iid strategy=joint", "stream.data=joint: acts from"),
        ("stream=iid strategy=stable_sgd", "schedule.task_factor=0.8, schedule.task_floor=0.0005: act from"),
        ("stream=iid schedule.task_factor=0.8", "schedule.task_factor=0.8: acts from"),
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
        ("model=cnn model.norm=batch strategy=gpm", "gpm does not change the statistics and weights of"),
        ("model=cnn model.norm=batch strategy=ogd", "ogd does not change the statistics of"),
        ("model=cnn model.norm=group strategy=gpm", "gpm does not change the weights of"),
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


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("model=vit strategy=ewc", "ewc needs each row's gradient, and the model (VisionTransformer) is no layer"),
        ("model=vit strategy=[gss,mas]", "gss and mas need"),
        ("model=vit strategy=dp", "dp needs"),
        ("model=vit strategy=ewc strategy.methods.ewc.fisher=batch", None),
        ("model=vit strategy=agem", None),
        ("model=mlp strategy=ewc", None),
    ],
)
def test_a_model_whose_rows_have_gradients_one_by_one_is_named(words: str, line: str | None) -> None:
    small = ("stream=permuted", "stream.tasks=2", *words.split())
    made = built(stream(*small), *small)
    lines = rows_alone(made.named, config(*small).strategy.window.rule, made)
    assert (lines == []) if line is None else lines[0].startswith(line)


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
    assert [" validation rows do not count" in line for line in lines] == [True, False]
    assert missing_classes(stream("stream=iid")) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("schedule.task_floor=0.5", "schedule.task_floor=0.5: has no effect without schedule.task_factor below 1"),
        ("schedule.task_floor=0.5 schedule.task_factor=1.5", "schedule.task_floor=0.5: has no effect without"),
        ("strategy=stable_sgd schedule.task_factor=1", "schedule.task_floor=0.0005: has no effect without"),
        ("schedule.task_floor=0.5 schedule.task_factor=0.9", None),
        ("schedule.warmup_factor=0.1", "schedule.warmup_factor=0.1: has no effect without schedule.warmup"),
        ("schedule.warmup_factor=0.1 schedule.warmup=3", None),
        ("schedule.updates=9", "schedule.updates=9: has no effect with schedule=constant"),
        ("schedule=step schedule.updates=9", "schedule.updates=9: has no effect with schedule=step"),
        ("schedule=cosine_restarts schedule.updates=9", "schedule.updates=9: has no effect with schedule=cosine_re"),
        ("schedule=cosine schedule.updates=1", None),
        ("schedule=linear schedule.updates=9", None),
        ("strategy=er stream.memory=200", "stream.memory=200: has no effect without stream.data=memory"),
        ("strategy=gdumb stream.memory=200", None),
    ],
)
def test_a_key_that_another_key_makes_idle_is_warned_of(words, line):
    lines = without_other_key(config("stream=split", *words.split()))
    assert (lines == []) if line is None else (len(lines) == 1 and lines[0].startswith(line))


def test_more_samples_than_any_task_has_are_refused_and_more_than_some_have_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(*words: str) -> tuple[int, str]:
        small = ["model=linear", "budget.steps=1", "device=cpu", "threads=1", f"output={tmp_path / 'out'}"]
        code = main(["train", *small, *words])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    sizes = stream("stream=split").lengths
    least, most = min(sizes), max(sizes)
    assert least < most
    fix = f"Use {most} at most, or leave it out."
    code, said = train("stream=split", f"stream.samples_per_task={most + 1}")
    assert (code, said.strip()) == (
        2,
        f"stream.samples_per_task={most + 1}: the largest task has {most} training rows. {fix}",
    )
    code, said = train("stream.samples_per_task=1295")
    assert (code, said.strip().partition(". ")[0]) == (
        2,
        "stream.samples_per_task=1295: there are 1,294 training rows",
    )
    assert not (tmp_path / "out").exists()
    code, said = train("stream=split", f"stream.samples_per_task={most}")
    few = sum(size < most for size in sizes)
    assert code == 0
    assert (
        f"warning: stream.samples_per_task={most}: {few} of 5 tasks have fewer training rows, the smallest {least}; "
        in said
    )
    for words in (["stream=split", f"stream.samples_per_task={least}"], ["stream.samples_per_task=1294"]):
        code, said = train(*words)
        assert code == 0
        assert "warning" not in said


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


# ---- strategies, windows and memories ----


def lines(*words: str) -> list[str]:
    config = load_config(["data=digits", *words])
    methods = {name: load_part("method", name)(**options) for name, options in config.strategy.methods.items()}
    return undone_projections(methods, config.optimizer.name, config.optimizer.options)


@pytest.mark.parametrize(
    ("strategy", "words", "fix"),
    [
        ("gpm", "optimizer=adam", "optimizer=sgd optimizer.momentum=0"),
        ("agem", "optimizer=adamw", "optimizer=sgd optimizer.momentum=0"),
        ("ogd", "optimizer.weight_decay=0.1", "optimizer.weight_decay=0"),
        ("gem", "optimizer.momentum=0.9", "optimizer.momentum=0"),
    ],
)
def test_a_projection_that_the_optimizer_undoes_is_warned_of(strategy, words, fix):
    (line,) = lines(f"strategy={strategy}", *words.split())
    assert line.startswith(f"{strategy} projects the gradient")
    assert line.endswith(f"Use {fix}")


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ("agem", "optimizer.momentum=0"),
        ("gpm", "optimizer.momentum=0.9"),  # a sum of gradients in one space, and cleared when that shrinks
        ("adam_nscl", "optimizer=adam"),  # projects the update itself
        ("ewc", "optimizer=adam"),
        ("sgd", "optimizer=adam"),
    ],
)
def test_others_are_not(strategy, words):
    assert lines(f"strategy={strategy}", *words.split()) == []


def memories(rows: int, unit: str) -> list[str]:
    methods = {name: load_part("method", name)(memory=rows) for name in ("gem", "agem", "er", "ogd")}
    return small_memories(methods, Setting(5, memory_unit=unit), 16)


def test_a_memory_of_less_than_a_batch_of_each_task_is_warned_of_and_no_other():
    assert [line.split(" holds")[0] for line in memories(79, "total")] == [
        "the memory of gem",
        "the memory of agem",
        "the memory of er",
    ], "the directions that ogd keeps are no rows to train on"
    assert "79 examples for 5 tasks, less than one batch of 16 for each" in memories(79, "total")[0]
    assert memories(80, "total") == memories(16, "task") == []
    assert len(memories(15, "task")) == 3


@pytest.mark.parametrize("strategy", ["er", "er_ace", "hal"])
@pytest.mark.parametrize(
    ("unit", "memory", "stored", "fix"),
    [
        ("total", 500, "480 of 500 rows", "480 or 510"),
        ("total", 45, "30 of 45 rows", "30 or 60"),
        ("task", 15, "30 of 45 rows", "10 or 20 for each task"),
        ("class", 4, "30 of 40 rows", "3 or 6 for each class"),
    ],
)
def test_a_ring_that_stores_fewer_rows_than_it_may_is_warned_of_and_the_numbers_that_are_named_are_not(
    strategy: str, unit: str, memory: int, stored: str, fix: str
) -> None:
    setting = Setting(3, 10, unit, classes=10, pairs=30)

    def found(rows: int, kind: str = "ring") -> list[str]:
        return uneven_rings({strategy: load_part("method", strategy)(memory=rows, kind=kind)}, setting)

    assert found(memory) == [
        f"strategy.methods.{strategy}.memory={memory}: a ring stores the same number of rows of each of 30 classes of "
        f"3 tasks: {stored}. Use {fix} to have them all"
    ]
    lower, _, higher, *_ = fix.split()
    assert found(int(lower)) == found(int(higher)) == found(memory, "balanced") == found(memory, "reservoir") == []


def test_what_a_ring_is_warned_to_store_is_what_it_stores() -> None:
    words = ("strategy=er", "strategy.methods.er.kind=ring", "strategy.methods.er.memory=15", "stream.memory_unit=task")
    words += ("stream=permuted", "stream.tasks=3")
    tasks = stream(*words)
    made = built(tasks, *words)
    (line,) = uneven_rings(made.named, tasks.setting)
    assert "30 of 45 rows" in line
    assert len(finished(made, tasks, count=80).methods[0].memory) == 30
    regression = Setting(1, 1)
    assert uneven_rings(made.named, regression) == []


def short(*words: str, lengths: tuple[int, ...] = (1294,), processes: int = 1) -> list[str]:
    config = load_config(["data=digits", *words])
    window = config.strategy.window
    return short_epochs(config, load_part("due", window.due)(**window.due_options), lengths, processes)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "strategy.window.size=1000",
            "strategy.window.size=1000: there are 41 micro-batches in an epoch for windows of 1,000, so every "
            "window ends with its epoch (last=flush)",
        ),
        (
            "strategy.window.size=1000 strategy.window.last=carry",
            "strategy.window.size=1000: there are 41 micro-batches in an epoch for windows of 1,000, so windows "
            "continue from epoch to epoch, and the last one ends with its task (last=carry)",
        ),
        (
            "strategy.window.size=4 'strategy.window.layers={hidden1.*:400}'",
            "strategy.window.layers={hidden1.*:400}: there are 41 micro-batches in an epoch for windows of 400, so "
            "every window ends with its epoch (last=flush)",
        ),
        (
            "strategy.window.size=4 strategy.window.due=items",
            "strategy.window.size=4: has no effect, since due=items makes windows of 8 micro-batches",
        ),
        (
            "strategy.window.size=4 strategy.window.due=stages 'strategy.window.stages={begin:[0,5],sizes:[2,8]}'",
            "strategy.window.size=4: has no effect, since due=stages makes the first windows of 2 micro-batches",
        ),
        (
            "strategy.window.due=items strategy.window.items.rows=9999",
            "strategy.window.due=items: there are 41 micro-batches in an epoch for windows of 313, so every window "
            "ends with its epoch (last=flush)",
        ),
        (
            "strategy.window.due=noise_scale strategy.window.last=drop",
            "strategy.window.due=noise_scale: there are 40 full micro-batches in an epoch, so no update follows once "
            "windows have grown beyond that, up to 64 (last=drop)",
        ),
        (
            "data.batch_size=100000",
            "data.batch_size=100000: there are 1,294 training rows, so each micro-batch has all rows of its task",
        ),
    ],
)
def test_a_size_that_an_epoch_is_too_short_for_or_that_has_no_effect_is_one_line(words: str, line: str) -> None:
    assert short(*shlex.split(words)) == [line]


@pytest.mark.parametrize(
    "words",
    [
        "strategy.window.size=41",
        "strategy.window.size=40 strategy.window.last=drop",
        "strategy.window.due=items strategy.window.items.rows=1294",
        "strategy.window.size=4 strategy.window.due=noise_scale",
        "strategy.window.size=4 strategy.window.due=norm_test",
        "strategy.window.size=4 strategy.window.due=stages 'strategy.window.stages={begin:[5],sizes:[8]}'",
        "strategy.window.due=noise_scale strategy.window.last=drop strategy.window.noise_scale.largest=40",
        "data.batch_size=1294",
    ],
)
def test_sizes_that_fit_are_not_warned_of(words: str) -> None:
    assert short(*shlex.split(words)) == []


def test_in_a_stream_the_smallest_task_counts_and_on_several_processes_all_of_them() -> None:
    lengths = (300, 90, 200)
    assert short("data.batch_size=100", lengths=lengths) == [
        "data.batch_size=100: the smallest task has 90 training rows, so each micro-batch has all rows of its task"
    ]
    assert short("data.batch_size=400", lengths=lengths)[0].startswith(
        "data.batch_size=400: a task has at most 300 training rows"
    )
    (line,) = short("strategy.window.size=4", lengths=lengths)
    assert line.startswith(
        "strategy.window.size=4: the smallest task has 3 micro-batches in an epoch for windows of 4,"
    )
    assert short("strategy.window.size=3", lengths=lengths) == []
    (line,) = short("strategy.window.size=2", lengths=lengths, processes=2)
    assert line.startswith("strategy.window.size=2: the smallest task has 3 micro-batches in an epoch for windows of 4")


def test_a_task_whose_every_window_would_be_dropped_is_refused() -> None:
    tasks = stream("stream=split")
    least = min(tasks.lengths)
    assert least < max(tasks.lengths) == tasks.longest
    fits = least // 7
    assert least % 7, "a window of one more micro-batch would end in a short one"
    for size, refused in ((fits, False), (fits + 1, True)):
        words = ("stream=split", "strategy.window.last=drop", "data.batch_size=7", f"strategy.window.size={size}")
        if refused:
            with pytest.raises(UserError, match=r"last=drop: an epoch of the smallest task has fewer than the "):
                built(tasks, *words)
        else:
            built(tasks, *words)
