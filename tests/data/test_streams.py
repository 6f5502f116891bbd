"""Ordinary training is a stream of one task."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from gradinc.config.schema import Data
from gradinc.data.dataset import load
from gradinc.data.stream import open_stream


@pytest.mark.parametrize(("name", "classes"), [("digits", tuple(range(10))), ("diabetes", None)])
def test_iid_is_one_task_with_all_the_data(
    section: Callable[..., Data], name: str, classes: tuple[int, ...] | None
) -> None:
    dataset = load(section(name), "cpu", torch.float32)
    stream = open_stream(SimpleNamespace(stream=SimpleNamespace(name="iid", options={})), dataset)  # type: ignore[arg-type]
    assert stream.dataset is dataset
    assert len(stream) == 1
    (task,) = stream
    assert task is stream[0]
    assert (task.index, task.classes) == (0, classes)
    assert (task.train, task.validation, task.test) == (dataset.train, dataset.validation, dataset.test)
