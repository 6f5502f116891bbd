"""Ordinary training is a stream of one task."""

from __future__ import annotations

import pytest
import torch

from gradinc.config.compose import load_config
from gradinc.data.dataset import load_dataset
from gradinc.data.stream import open_stream


@pytest.mark.parametrize(("name", "classes"), [("digits", tuple(range(10))), ("diabetes", None)])
def test_iid_is_one_task_with_all_the_data(name: str, classes: tuple[int, ...] | None) -> None:
    config = load_config([f"data={name}", "model=linear"])
    dataset = load_dataset(config.data, "cpu", torch.float32)
    stream = open_stream(config, dataset)
    assert len(stream) == stream.tested == 1
    assert not stream.is_sequence
    (task,) = stream
    assert task is stream[0]
    assert (task.index, task.classes) == (0, classes)
    assert (task.train, task.validation, task.test) == (dataset.train, dataset.validation, dataset.test)
