"""``gradinc.load``: a run directory, opened in Python."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from gradinc.api.own import digest_of, label_of, maker
from gradinc.api.rows import given_parts
from gradinc.base.errors import UserError
from gradinc.base.objects import Held
from gradinc.config.documents import flat
from gradinc.data.sets.arrays import arrays_digest
from gradinc.runs.trained import FinishedRun


def load(
    run: str | os.PathLike[str], *, model: Any = None, criterion: Any = None, metric: Any = None, **rows: Any
) -> FinishedRun:
    """Open a run directory in Python: its config, record and trained model.

    A run of your own objects needs them where it uses them: ``model`` for `FinishedRun.model` and
    `FinishedRun.predict`, and all data, as they were given in training, for `FinishedRun.evaluate`. Their digests are
    compared with the run's record. The model's weights don't matter: the run's own are loaded.

    Args:
        run: path of a run directory, or the name of one under ``outputs``.
        model, criterion, metric: your own model and functions, as in `gradinc.train`.
        rows: ``data``, ``stream``, ``test`` and ``validation``, as in `gradinc.train`.

    Raises:
        gradinc.UserError: there is no such run, its checkpoint is damaged, or it was trained with other objects.
    """
    opened = FinishedRun.open(run)
    objects = [] if model is None else [_model(opened, model)]
    for kind, function in (("criterion", criterion), ("metric", metric)):
        if function is not None:
            objects.append(_function(opened, kind, function))
    if rows:
        objects.append(_data(opened, rows))
    return replace(opened, objects=objects) if objects else opened


def _model(run: FinishedRun, model: Any) -> Held:
    section = run.config.model
    if section.name != "module":
        raise UserError("model", f"{run.path} has model={section.name} of gradinc", "Leave it out")
    digest = str(section.options["digest"])
    found = digest if digest.startswith("none-") else digest_of("model", model, None)
    if found != digest:
        what = f"has the digest {found}, and {run.path} was trained with {section.options['net']}, {digest}"
        raise UserError(f"model={label_of(model)}", what, "Give the object of that code")
    weights = section.options["weights"]
    return Held("model", f"{digest}-{weights}" if weights else digest, maker(model))


def _function(run: FinishedRun, kind: str, function: Any) -> Held:
    label = label_of(function)
    keys = dict(flat(run.config.document))
    key = "criterion.digest" if kind == "criterion" else "evaluate.metric"
    digest = str(keys.get(key) or "").rpartition("-" if kind == "metric" else "\0")[2]
    if not digest:
        raise UserError(kind, f"{run.path} has no {kind} of a Python program", "Leave it out")
    found = digest if str(keys[key]).startswith("none-") else digest_of(kind, function, None)
    if found != digest:
        what = f"has the digest {found}, and {run.path} was trained with {digest}"
        raise UserError(f"{kind}={label}", what, "Give the function of that code")
    return Held(kind, digest, function)


def _data(run: FinishedRun, rows: dict[str, Any]) -> Held:
    section = run.config.data
    if section.name != "arrays":
        raise UserError(next(iter(rows)), f"{run.path} has data={section.name} of gradinc", "Leave it out")
    for name in set(rows) - {"data", "stream", "test", "validation"}:
        raise UserError(name, "is no argument of gradinc.load", "Give model, data, stream, test or validation")
    parts = given_parts(**rows)
    digest = str(section.options["digest"])
    if (found := arrays_digest(parts)) != digest:
        what = f"has the digest {found}, and {run.path} was trained with {digest}"
        raise UserError(next(iter(rows)), what, "Give all arrays as in training, with the same test and validation")
    return Held("data", digest, parts)
