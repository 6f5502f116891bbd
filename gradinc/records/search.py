"""The search that found a run's values, checked, for the run's record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gradinc.base.errors import UserError
from gradinc.config.identity import strategy_label
from gradinc.config.names import shown, written
from gradinc.config.schema import Config
from gradinc.records.schemas import is_search, read_json
from gradinc.records.seal import CHANGED, is_intact

SEARCH_FILE = "tune.json"
"""Name of a search's file in its folder."""


_AGAIN = "Run the search's gradinc tune again, which writes it, or leave out search"


def found_by(config: Config) -> dict[str, Any] | None:
    """Return the record of the search that a run names with ``search=``; None without a search.

    Returns:
        ``folder``, ``mode``, ``judged_by`` (the mode in words), ``trials`` and the best trial's ``score``.

    Raises:
        UserError: there is no such search, it has no result yet, it found other values, or it scored values on the
            data that this run is measured on.
    """
    if config.search is None:
        return None
    where = written("search", config.search)
    file = Path(config.search) / SEARCH_FILE
    record = read_json(file) or {}
    if not is_intact(record):
        raise UserError(str(file), CHANGED, _AGAIN)
    if "judged_by" not in record:
        raise UserError(
            where, "is not the folder of a search that has ended", "Give the folder that gradinc tune prints"
        )
    if record.get("best") is None:
        raise UserError(where, "has no best values yet", "Resume its gradinc tune first")
    if not is_search(record):
        raise UserError(str(file), "is damaged", _AGAIN)
    judged, best = record["judged_by"], record["best"]
    if config.evaluate.rows == "test":
        _check_scored(config, judged, best)
    for key, found in best["values"].items():
        now = _value(config.document, str(key).split("."))
        if key == "strategy" and best.get(key) == strategy_label(config.document):
            continue
        if now != found:
            what = f"the search in {config.search} found {shown(found)}"
            raise UserError(written(str(key), now), what, "Use that value, or leave out search")
    trials = [trial for trial in record["trials"] if trial.get("score") is not None]
    facts = {"mode": judged["mode"], "judged_by": judged["what"]}
    return {"folder": config.search, **facts, "trials": len(trials), "score": best["score"]}


def _check_scored(config: Config, judged: dict[str, Any], best: dict[str, Any]) -> None:
    """Check that the metrics of a result leave out the tasks that were used to choose its values."""
    own = config.stream.scored_tasks
    if judged["mode"] != "first-tasks":
        return
    most = best["scored_tasks"]
    if own is None or own > most:
        where = written("stream.scored_tasks", own)
        what = "the metrics would include tasks that the values were chosen on"
        raise UserError(where, what, f"Use stream.scored_tasks={most}, or leave out search")


def _value(document: dict[str, Any], key: list[str]) -> Any:
    """Return the value of a key, or the name that represents a whole section, or None."""
    node: Any = document
    for name in key:
        node = node.get(name) if isinstance(node, dict) else None
    return node.get("name") if isinstance(node, dict) else node
