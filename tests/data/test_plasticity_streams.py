"""Streams that never end: new labels for the same rows, and bits that flip one at a time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from learners import config, digits, stream
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.data.dataset import load_dataset, open_source
from gradinc.data.rows import Rows
from gradinc.data.stream import Stream, open_stream


def inputs(rows: Rows) -> Tensor:
    return next(rows.chunks(len(rows)))[0]


def flipping(*words: str) -> Stream:
    chosen = config("data=bit_flipping", "data.rows=200", "stream=slowly_changing", *words)
    return open_stream(chosen, load_dataset(chosen.data, "cpu", torch.float64))


def test_relabelled_tasks_have_the_same_rows_and_labels_that_are_drawn_anew() -> None:
    tasks = stream("stream=relabelled", "stream.tasks=4", "stream.rows=300")
    xs, ys = zip(*((inputs(tasks[t].train), tasks[t].train.y) for t in range(4)), strict=True)
    assert all(torch.equal(x, xs[0]) and len(x) == 300 for x in xs)
    for first in range(4):
        for second in range(first):
            agree = float((ys[first] == ys[second]).double().mean())
            assert 0.02 < agree < 0.2, "independent labels of ten classes agree in a tenth of the rows"
    assert [task.classes for task in tasks] == [tuple(range(10))] * 4
    again = stream("stream=relabelled", "stream.tasks=4", "stream.rows=300")
    assert torch.equal(again[3].train.y, ys[3])
    assert not torch.equal(stream("stream=relabelled", "stream.rows=300", "seed=1")[3].train.y, ys[3])


def test_permuted_labels_rename_whole_classes_in_every_part() -> None:
    tasks = stream("stream=relabelled", "stream.tasks=3", "stream.labels=permuted")
    for index in range(3):
        names: dict[int, int] = {}
        for part in ("train", "validation", "test"):
            for old, new in zip(
                getattr(digits(), part).y.tolist(), getattr(tasks[index], part).y.tolist(), strict=True
            ):
                assert names.setdefault(old, new) == new
        assert sorted(names.values()) == list(range(10))


def test_more_rows_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match=r"stream\.rows=5000: data=digits has \d+ training rows"):
        stream("stream=relabelled", "stream.rows=5000")


def test_memories_and_heads_take_the_new_labels() -> None:
    remembered = stream("stream=relabelled", "stream.tasks=2", "stream.data=memory", "stream.memory=50")
    assert remembered[1].train.y.bincount(minlength=10).tolist() == [5] * 10
    heads = stream("stream=relabelled", "stream.tasks=3", "stream.rows=50", "scenario=task")
    assert heads[2].train.y.min() >= 20


def test_one_slow_bit_flips_between_two_tasks_and_the_others_change_from_row_to_row() -> None:
    tasks = flipping("stream.tasks=30")
    states = []
    for index in range(30):
        x = inputs(tasks[index].train)
        assert torch.equal(x[:, :15], x[:1, :15].expand(len(x), -1)), "constant in a task"
        assert 0.3 < float(x[:, 15:].mean()) < 0.7
        states.append(x[0, :15])
    assert {int((a != b).sum()) for a, b in pairwise(states)} == {1}


def test_the_target_is_one_fixed_network_of_threshold_units_whatever_the_task() -> None:
    """By hand, for each row: count the weights of a unit that agree, and compare with its threshold."""
    tasks = flipping("stream.tasks=3")
    law = open_source("bit_flipping", None, {"rows": 200}).law
    random = np.random.default_rng(0)
    hidden, offset, out = (random.choice((-1.0, 1.0), size=shape) for shape in ((20, 100), 100, 101))
    for index in range(3):
        x, y = inputs(tasks[index].train), tasks[index].train.y
        assert law is not None
        for row, target in zip(x[:20].numpy(), y[:20, 0].tolist(), strict=True):
            value = out[100]
            for unit in range(100):
                threshold = 0.7 * 21 - (20 - hidden[:, unit].sum() + offset[unit]) / 2
                value += out[unit] * (row @ hidden[:, unit] + offset[unit] > threshold)
            assert target == value
    assert len({tuple(tasks[index].train.y.flatten().tolist()) for index in range(3)}) == 3
    assert float(tasks[0].train.y.std()) > 0.3


def test_normalised_bits_have_the_same_targets() -> None:
    plain, normalised = (flipping("stream.tasks=2", f"data.normalize={how}") for how in ("none", "channel"))
    assert torch.equal(plain[1].test.y, normalised[1].test.y)
    assert not torch.equal(inputs(plain[1].test), inputs(normalised[1].test))


def test_a_memory_with_balanced_classes_needs_classes() -> None:
    with pytest.raises(UserError, match=r"stream\.data=memory: balances classes"):
        flipping("stream.data=memory")


def test_other_data_have_no_targets_for_flipped_bits(tmp_path: Path) -> None:
    chosen = config("data=diabetes", "stream=slowly_changing")
    with pytest.raises(UserError, match="stream=slowly_changing: needs targets for changed inputs"):
        open_stream(chosen, load_dataset(chosen.data, "cpu", torch.float64))
    with pytest.raises(UserError, match=r"stream\.slow=21: a row of data=bit_flipping has 20 bits"):
        flipping("stream.slow=21")
