"""Ordinary training."""

from __future__ import annotations

from gradinc.data.dataset import Dataset
from gradinc.data.stream import Stream, Task


def iid(dataset: Dataset) -> Stream:
    """One task with all the data: ordinary training"""
    classes = None if dataset.classes is None else tuple(range(len(dataset.classes)))
    return Stream(dataset, [Task(0, classes, dataset.train, dataset.validation, dataset.test)])
