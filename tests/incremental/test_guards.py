"""Which strategies are warned of before a run starts, and which are not."""

from __future__ import annotations

import pytest

from gradinc.config.catalog import load_part
from gradinc.config.compose import load_config
from gradinc.data.stream import Setting
from gradinc.guards import small_memories, undone_projections


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
