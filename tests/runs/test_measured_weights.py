"""The weights of a finished run are those that its result was measured with, also if a method trains others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import gradinc
from gradinc.runs import checkpoint

SMALL: dict[str, Any] = {
    "progress": "quiet",
    "threads": 1,
    "stream": "split",
    "model": "mlp",
    "budget": {"samples": 300},
}


def ended(folder: Path, strategy: str) -> tuple[Any, dict[str, Any]]:
    run = gradinc.train(SMALL, strategy=strategy, output=str(folder))
    files = [file for file in (run.path / "ckpt").iterdir() if file.name.isdigit()]
    return gradinc.load(run.path), checkpoint.read(max(files, key=lambda file: int(file.name)), None)


def test_cls_er_s_stable_average_is_tested_and_loaded(tmp_path: Path) -> None:
    run, state = ended(tmp_path, "cls_er")
    assert run.evaluate()["test"] == run.result["test"]
    trained = state["learner"]["model"]
    stable = torch.cat([values.flatten() for values in run.model.state_dict().values()])
    assert torch.equal(stable, state["learner"]["methods"]["cls_er"]["stable"])
    assert not torch.equal(stable, torch.cat([values.flatten() for values in trained.values()]))


def test_weights_are_stored_once_where_the_trained_ones_are_measured(tmp_path: Path) -> None:
    for strategy in ("finetune", "lookahead"):  # a task ends with a step of the slow weights
        run, state = ended(tmp_path, strategy)
        assert "measured" not in state
        assert run.evaluate()["test"] == run.result["test"]


def test_trgp_s_run_is_not_tested_with_one_task_s_weights(tmp_path: Path) -> None:
    run, _ = ended(tmp_path, "trgp")
    with pytest.raises(gradinc.UserError, match="was measured with weights of trgp for each task"):
        run.evaluate()
