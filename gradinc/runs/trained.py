"""Existing runs: their weights, their record, and repeated measurements."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.base.objects import Held
from gradinc.base.text import printable
from gradinc.config.catalog import load_part
from gradinc.config.code import edited
from gradinc.config.identity import identity_digest
from gradinc.config.schema import Config, CriterionSection
from gradinc.core.method import Method
from gradinc.data import dataset as data
from gradinc.data.stream import open_stream
from gradinc.data.text import Tokens
from gradinc.records.directory import AGAIN, find_run, read_config
from gradinc.records.log import read_log
from gradinc.records.matrix import Filled
from gradinc.records.schemas import read_meta
from gradinc.records.seal import check_seal
from gradinc.runs.build import Shape, build_criterion, build_model
from gradinc.runs.class_weights import with_class_weights
from gradinc.runs.device import autocast_dtype, choose_device
from gradinc.runs.evaluate import evaluate, metric_of
from gradinc.runs.logged import Curve, logged_curve
from gradinc.runs.prediction import Predictor
from gradinc.runs.reading import load_rows
from gradinc.runs.saved_weights import BEST_FILE, best_weights, newest_weights, read_ended, tell_unsealed


@dataclass(frozen=True)
class FinishedRun:
    """A run directory, opened for reading.

    Attributes:
        path: the directory.
        config: the run's config.
        result: ``result.json``; its ``status`` says how the run ended.
        meta: ``meta.json``: data, software, hardware.
        objects: objects of the calling program that its config names by digests.
    """

    path: Path
    config: Config = field(repr=False)
    result: dict[str, Any] = field(repr=False)
    meta: dict[str, Any] = field(repr=False)
    objects: Sequence[Held] = field(default=(), repr=False)

    @classmethod
    def open(cls, run: str | os.PathLike[str], objects: Sequence[Held] = ()) -> FinishedRun:
        """Open the run at a path, or with a name under ``outputs``.

        Args:
            objects: objects of the calling program that the run's config names.

        Warnings on standard error report an ended run without a seal, or a run of other code.

        Raises:
            UserError: the run does not exist, its config is not readable or not its own, or the files of an ended run
                differ from the files that it ended with.
        """
        path = find_run(run)
        config, meta = read_config(path), read_meta(path / "meta.json") or {}
        if meta and meta["identity"] != identity_digest(config):
            raise UserError(str(path / "config.yaml"), "is not the config that the run was started with", AGAIN)
        result = read_ended(path)
        for name, what in check_seal(result, path).items():
            if name != BEST_FILE:
                newest_weights(path)  # raises with the step that the run can resume from, if any
                raise UserError(str(path / name), what, "Restore it, or run the experiment again with fresh=true")
        tell_unsealed(path, result)
        if meta and (whose := edited(meta, config.document)) is not None:
            line = f"warning: {path} was made by another version of {whose} code: its model may be another one now."
            sys.stderr.write(printable(line) + "\n")
        return cls(path, config, result, meta, tuple(objects))

    @property
    def status(self) -> str:
        """Return how the run ended: ``finished``, ``diverged``, ``interrupted``, ``failed``, or ``unfinished``."""
        return str(self.result.get("status", "unfinished"))

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl``."""
        return read_log(self.path / "metrics.jsonl")

    def curves(self, key: str, over: str = "updates") -> Curve:
        """Return the logged values of a key, such as ``train.loss``, ``validation.accuracy`` or ``lr``.

        Args:
            over: the other axis: ``updates``, ``samples``, ``rows``, ``passes`` or ``seconds``.

        Returns:
            Two arrays, ``x`` and ``y``: ``plt.plot(*run.curves("train.loss"))`` draws them.

        Raises:
            UserError: the log has no such key, or there is no such axis.
        """
        return logged_curve(self.path, key, over)

    @cached_property
    def matrix(self) -> np.ndarray | None:
        """The accuracy of each task (columns) before the first task and after each task (rows), a share of 1.

        NaN where it was not measured; None for a run without a stream of tasks. Tasks that were trained on together
        have two rows.
        """
        rows = self.result.get("matrix")
        return None if rows is None else np.array(list(Filled(rows)), dtype=float)

    @cached_property
    def model(self) -> nn.Module:
        """The model with the weights of the newest checkpoint, on the CPU, in evaluation mode.

        It takes inputs as in training: raw values, divided by the set's scale, minus ``meta["data"]["mean"]``, divided
        by ``meta["data"]["std"]``. `predict` takes raw rows.
        """
        return self.with_weights(best=False)

    @cached_property
    def best(self) -> nn.Module:
        """The model with the weights of the best validation, on the CPU, in evaluation mode. It takes inputs as `model`
        does."""
        return self.with_weights(best=True)

    def predict(self, rows: Any, task: int | None = None) -> Any:
        """Return the labels of raw rows, or the values of a regression in the units of its targets.

        Args:
            rows: a tensor or an array, shape (rows, …), with the data set's raw values: uint8 images from 0 to 255, or
                the same numbers as floats; rows of features as they are in the set. They are normalised as in training.
            task: number of the task, from 0, in a stream whose tasks change the inputs or have their own outputs.

        Returns:
            int64 labels, shape (rows,), or values, shape (rows,) or (rows, targets); an array for an array, else a
            tensor.

        Raises:
            UserError: the rows have another shape, are outside the range of the set, or a task is necessary.
        """
        found = self._predictor.labels(self._predictor.outputs(rows, task), task)
        return found if isinstance(rows, Tensor) else found.numpy()

    def outputs(self, rows: Any, task: int | None = None) -> Any:
        """Return the model's outputs for raw rows, which it takes as `predict` does: logits, or normalised values.

        Outputs that do not count in testing are -∞.
        """
        found = self._predictor.outputs(rows, task)
        return found if isinstance(rows, Tensor) else found.numpy()

    @cached_property
    def _predictor(self) -> Predictor:
        shape = self.shape  # raises if there is no record
        stream = None if self.config.stream.name == "iid" else open_stream(self.config, self.dataset(), self.dataset)
        return Predictor(self.config, {**self.meta["data"], "shape": shape.inputs}, self.model, stream)

    def with_weights(self, *, best: bool, device: torch.device | str = "cpu") -> nn.Module:
        """The model with the run's last or best weights.

        Raises:
            UserError: the run has no such checkpoint, it is damaged, or it is of another model than the config's.
        """
        model = build_model(self.config, self.shape, torch.device(device))
        weights = best_weights(self.path, device) if best else newest_weights(self.path, device)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            what = "does not describe the model that the run's weights are of"
            fix = "Restore the old file, or run it again with fresh=true"
            raise UserError(str(self.path / "config.yaml"), what, fix) from error
        return model.eval()

    @property
    def shape(self) -> Shape:
        """The shape of the model's inputs and the number of its outputs."""
        record = self.meta.get("data")
        if record is None:
            fix = "Restore it, or run the experiment again with fresh=true"
            raise UserError(str(self.path / "meta.json"), "is missing or damaged", fix)
        text = record.get("text")
        named = None if text is None else Tokens(text["tokens"], text["each"], text["packed"])
        return Shape(tuple(record["shape"]), record["outputs"], named)

    def dataset(self, config: data.DataSection | None = None, device: torch.device | str = "cpu") -> data.Dataset:
        """The run's data set, with the run's split, or another data set."""
        return load_rows(self.config, torch.device(device), config or self.config.data)

    def evaluate(
        self, config: data.DataSection | None = None, *, best: bool = False, device: str = "auto"
    ) -> dict[str, Any]:
        """Measure the run on the test rows of its data set, or of another one.

        Returns:
            ``run``, ``data``, ``weights`` (``last`` or ``best``), ``rows`` and ``test``, the measures.

        Raises:
            UserError: the other set's rows do not fit the model.
        """
        for name in self.config.strategy.methods:
            method: Any = load_part("method", name)
            if method.weights_by_task:
                what = f"was measured with weights of {name} for each task, and its last weights are of the last task"
                raise UserError(str(self.path), what, "See the run's own result")
            if method.classifier is not Method.classifier:
                what = f"was measured with the classifier of {name}, which needs the memory of the run"
                raise UserError(str(self.path), what, "See the run's own result")
        chosen = choose_device(device)
        dataset = self.dataset(config, chosen)
        if self.config.stream.name != "iid":
            return self._evaluate_tasks(config, dataset, best=best, device=chosen)
        other = config is not None and config != self.config.data
        if other and dataset.text is not None and dataset.text.words is not None:
            what = "would number its words by its own vocabulary, not by the run's"
            raise UserError(f"data={dataset.name}", what, "Train with data.tokenizer=bytes, or test on the run's data")
        own = replace(self.config, data=config or self.config.data)
        stream = open_stream(own, dataset, partial(self.dataset, device=chosen))
        fits = Shape.of(dataset, stream)
        if fits != self.shape:
            what = (
                f"has rows of shape {fits.inputs} and {fits.outputs} outputs; "
                f"the run was trained for {self.shape.inputs} and {self.shape.outputs}"
            )
            raise UserError(f"data={dataset.name}", what, "Choose a set of the same shape")
        model = self.with_weights(best=best, device=chosen)
        criterion = build_criterion(dataset, None, self._criterion, metrics=self.config.metrics)
        metric = metric_of(self.config.evaluate)
        measures = evaluate(model, stream.part("test", 0), criterion, autocast_dtype(self.config.dtype), metric=metric)
        weights = "best" if best else "last"
        return {
            "run": str(self.path),
            "data": dataset.name,
            "weights": weights,
            "rows": len(dataset.test),
            "test": measures,
        }

    @property
    def _criterion(self) -> CriterionSection:
        """The ``criterion`` section, with balanced weights of the rows that the run was trained on."""
        if self.config.criterion.class_weights != "balanced":
            return self.config.criterion
        return with_class_weights(self.config.criterion, open_stream(self.config, self.dataset()))

    def _evaluate_tasks(
        self, config: data.DataSection | None, dataset: data.Dataset, *, best: bool, device: torch.device
    ) -> dict[str, Any]:
        """Evaluate a run on a stream of tasks as `evaluate` does, on the test rows of each task."""
        own = replace(self.config, data=config or self.config.data)
        stream = open_stream(own, dataset, partial(self.dataset, device=device))
        fits = Shape.of(dataset, stream)
        if fits != self.shape:
            what = f"makes tasks of shape {fits.inputs} with {fits.outputs} outputs; the run was trained for"
            where = f"data={dataset.name}"
            raise UserError(
                where, f"{what} {self.shape.inputs} and {self.shape.outputs}", "Choose a set like the run's"
            )
        model = self.with_weights(best=best, device=device)
        count, more = stream.setting.outputs, self.config.evaluate
        criterion = build_criterion(dataset, stream.outputs, self._criterion, count, self.config.metrics)
        autocast, last = autocast_dtype(self.config.dtype), stream.tested - 1
        row = [
            evaluate(model, stream.part("test", task), criterion, autocast, task=task, now=last, metric=metric_of(more))
            for task in range(stream.tested)
        ]
        scored = [row[task] for task in stream.scored]
        return {
            "run": str(self.path),
            "data": dataset.name,
            "weights": "best" if best else "last",
            "rows": sum(len(stream.part("test", task)) for task in range(stream.tested)),
            "test": {name: sum(each[name] for each in scored) / len(scored) for name in scored[0]},
            "row": [each[criterion.score] for each in row],
        }
