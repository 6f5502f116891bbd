"""Which strategies are warned of before a run starts, and which are not."""

from __future__ import annotations

import shlex

import pytest
from learners import built, stream

from gradinc.base.errors import UserError
from gradinc.config.catalog import load_part
from gradinc.config.compose import load_config
from gradinc.data.task import Setting
from gradinc.runs.warnings import short_epochs, small_memories, undone_projections


def lines(*words: str) -> list[str]:
    config = load_config(["data=digits", *words])
    methods = {name: load_part("method", name)(**options) for name, options in config.strategy.methods.items()}
    return undone_projections(methods, config.optimizer.name, config.optimizer.options)


@pytest.mark.parametrize(
    ("strategy", "words", "mend"),
    [
        ("gpm", "optimizer=adam", "optimizer=sgd optimizer.momentum=0"),
        ("agem", "optimizer=adamw", "optimizer=sgd optimizer.momentum=0"),
        ("ogd", "optimizer.weight_decay=0.1", "optimizer.weight_decay=0"),
        ("gem", "optimizer.momentum=0.9", "optimizer.momentum=0"),
    ],
)
def test_a_projection_that_the_optimizer_undoes_is_warned_of(strategy, words, mend):
    (line,) = lines(f"strategy={strategy}", *words.split())
    assert line.startswith(f"{strategy} projects the gradient")
    assert line.endswith(f"Use {mend}")


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
            "go on from epoch to epoch, and the last one ends with its task (last=carry)",
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
            "strategy.window.due=noise_scale: there are 41 micro-batches in an epoch, so no update follows once "
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
        "strategy.window.size=41 strategy.window.last=drop",
        "strategy.window.due=items strategy.window.items.rows=1294",
        "strategy.window.size=4 strategy.window.due=noise_scale",
        "strategy.window.size=4 strategy.window.due=norm_test",
        "strategy.window.size=4 strategy.window.due=stages 'strategy.window.stages={begin:[5],sizes:[8]}'",
        "strategy.window.due=noise_scale strategy.window.last=drop strategy.window.noise_scale.largest=41",
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
    fits = -(-least // 7)
    for size, refused in ((fits, False), (fits + 1, True)):
        words = ("stream=split", "strategy.window.last=drop", "data.batch_size=7", f"strategy.window.size={size}")
        if refused:
            with pytest.raises(UserError, match=r"last=drop: an epoch of the smallest task has fewer than the "):
                built(tasks, *words)
        else:
            built(tasks, *words)
