"""Predictions of a finished run for raw rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.config.schema import Config
from gradinc.core.criterion import Criterion
from gradinc.data.dataset import open_source, standardizer
from gradinc.data.raw import RawValues
from gradinc.data.stream import Stream
from gradinc.runs.device import autocast_dtype, storage_dtype


class Predictor:
    """Turns raw rows into inputs, outputs and predictions of a run.

    Args:
        config: the run's config.
        record: the run's record of its data.
        model: the trained model, on the CPU, in evaluation mode.
        stream: the run's stream, if it has several tasks.
    """

    def __init__(self, config: Config, record: Mapping[str, Any], model: nn.Module, stream: Stream | None) -> None:
        self._config, self._record, self._model, self._stream = config, record, model, stream
        self._shape = tuple(record["shape"])

    def inputs(self, raw: Any, task: int | None) -> Tensor:
        """Return the model's inputs for raw rows, changed as the stream changes the rows of a task."""
        record, dtype = self._record, storage_dtype(self._config.dtype)
        values = self._values()
        mean, std = (np.array(record[name]) * values.scale for name in ("mean", "std"))
        x = values.inputs(raw, self._shape, standardizer(mean, std, self._shape, torch.device("cpu"), dtype))
        change = None if self._stream is None else self._stream.experiences[self._task(task)].change
        return x if change is None else change(x)

    def outputs(self, raw: Any, task: int | None) -> Tensor:
        """Return the model's outputs, on the CPU; outputs that do not count in testing are -∞."""
        autocast = autocast_dtype(self._config.dtype)
        with torch.inference_mode():
            found = []
            for x in self.inputs(raw, task).split(Criterion.chunk):
                with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None):
                    out = self._model(x)
                found.append(out.float() if autocast is not None else out)
            out = torch.cat(found)
            visible = None if self._stream is None else self._stream.outputs
            if self._stream is None or visible is None:
                return out.clone()
            return visible.tested(out, self._task(task), self._stream.tested - 1).clone()

    def labels(self, out: Tensor, task: int | None) -> Tensor:
        """Return labels of the data set for outputs, or values in the targets' units, shape (rows,) for one target."""
        if self._record.get("classes") is None:
            mean, std = (self._record.get(name) for name in ("target_mean", "target_std"))
            if mean is not None and std is not None:
                out = out * torch.tensor(std, dtype=out.dtype) + torch.tensor(mean, dtype=out.dtype)
            return out.squeeze(1) if out.ndim == 2 and out.shape[1] == 1 else out
        best = out.argmax(1)
        labels = None if self._stream is None else self._stream.labels
        if labels is None:
            return best
        tasks = range(len(labels.classes)) if task is None else [task]
        table = torch.full((labels.outputs,), -1, dtype=torch.int64)
        for each in tasks:
            table[list(labels.of_task[each])] = torch.tensor(labels.classes[each])
        return table[best]

    def _task(self, task: int | None) -> int:
        """Return the task, which may be left out if it changes nothing."""
        stream = self._stream
        assert stream is not None
        if task is not None:
            if not 0 <= task < stream.tested:
                raise UserError(f"task={task}", f"the stream has {stream.tested} tasks", "Tasks count from 0")
            return task
        labels = stream.labels
        why = None
        if any(each.change is not None for each in stream.experiences):
            why = "each task changes the inputs"
        elif stream.protocol is not None and stream.protocol.test_logits == "task":
            why = "each task has its own outputs"
        elif labels is not None:
            owners: dict[int, set[int]] = {}
            for outputs, classes in zip(labels.of_task, labels.classes, strict=True):
                for output, label in zip(outputs, classes, strict=True):
                    owners.setdefault(output, set()).add(label)
            if any(len(each) > 1 for each in owners.values()):
                why = "an output is another class in each task"
        if why is not None:
            raise UserError(f"stream={self._config.stream.name}", why, "Give task=0 for the first task, and so on")
        return 0

    def _values(self) -> RawValues:
        if "raw" in self._record:
            return RawValues.recorded(self._record["raw"])
        data = self._config.data  # a run of an older version
        return RawValues.of(open_source(data.name, data.root, data.options), data.pad)
