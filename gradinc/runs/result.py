"""The result of a run, computed from its position."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from gradinc.config.schema import Config
from gradinc.core.learner import Learner
from gradinc.core.next_token import perplexity
from gradinc.data.stream import Stream
from gradinc.records.matrix import Filled
from gradinc.records.metrics import measured_metrics, measured_tasks
from gradinc.runs import checkpoint
from gradinc.runs.baselines import baselines
from gradinc.runs.position import Position


def counts(learner: Learner, batch_size: int) -> dict[str, Any]:
    """Return the amounts that a run has used so far: samples, updates, tokens, rows through the model, passes."""
    work = learner.work
    return {"samples": work.samples, "steps": learner.updates, **work.record(batch_size)}


def finished(config: Config, stream: Stream, learner: Learner, position: Position, seconds: float) -> dict[str, Any]:
    """Return the part of ``result.json`` that follows from the training, after the last task."""
    last = position.tasks[-1]
    return {
        "status": "finished",
        **{name: last[name] for name in ("test", "validation", "best", "ended_by", "epochs")},
        **({"oracle": last["oracle"]} if last.get("oracle") else {}),
        **counts(learner, config.data.batch_size),
        "seconds": round(seconds, 3),
        "weights_digest": checkpoint.digest(learner.measured() or learner.model.state_dict()),
        "kept_bytes": sum(method.nbytes for method in learner.methods),
        **_tasks(config, stream, position),
        **({"baselines": found} if (found := baselines(stream, config.evaluate.rows)) is not None else {}),
    }


def stopped(
    status: str, config: Config, learner: Learner, position: Position, seconds: float, **reason: Any
) -> dict[str, Any]:
    """Return ``result.json`` of a run that stopped before the end of its last task: interrupted, diverged or failed.

    Args:
        reason: further keys that give the reason.
    """
    return {
        "status": status,
        **reason,
        "test": None,
        "validation": position.validation or None,
        **counts(learner, config.data.batch_size),
        "seconds": round(seconds, 3),
        "weights_digest": None,
    }


def _tasks(config: Config, stream: Stream, position: Position) -> dict[str, Any]:
    """Return the accuracy matrices of a stream of tasks, the online measure of each task, and their metrics."""
    if not stream.is_sequence:
        return {}
    values: dict[str, float | None] = {}
    found: dict[str, Any] = {"metrics": values, "undefined": {}, "online": position.online}
    if stream.has_matrix:
        measured = measured_tasks(config.evaluate.tasks, len(stream))
        of_matrix, reasons = measured_metrics(Filled(position.matrix, stream.tested), stream.scored, measured)
        values |= of_matrix
        found |= {"protocol": None if stream.protocol is None else stream.protocol.record(), "undefined": reasons}
        found |= {"matrix": position.matrix} if position.matrix else {}
    if position.task_matrix:
        in_task, _ = measured_metrics(Filled(position.task_matrix, stream.tested), stream.scored)
        found |= {"task_matrix": position.task_matrix, "task_metrics": in_task}
    if position.loss_matrix:
        perplexities = [
            [None if loss is None else perplexity(loss) for loss in row]
            for row in Filled(position.loss_matrix, stream.tested)
        ]
        found |= {"loss_matrix": position.loss_matrix, "perplexity_matrix": perplexities}
    if position.bits_matrix:
        found["bits_per_byte_matrix"] = position.bits_matrix
    if position.anytime[0] and not stream.regression:
        values["aaa"] = position.anytime[1] / position.anytime[0]
    scored = position.online[stream.scored.start :] or position.online
    online = [value for value in scored if value is not None]
    values["online_mse" if stream.regression else "online"] = fmean(online) if online else None
    return found
