"""Single runs, sweeps and measuring again, from the command line to the exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import ENVIRONMENT

from gradinc.base.errors import StorageError, UserError

QUICK = ("model=linear", "budget.steps=5", "progress=plain")


def runs(folder: Path) -> dict[str, dict[str, Any]]:
    """The runs in ``outputs``, each with its result."""
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("outputs/*/result.json")}


def test_a_command_is_a_run_and_the_same_command_again_does_nothing(gradinc: Any, empty: Path) -> None:
    assert gradinc("train", *QUICK).code == 0
    (before,) = runs(empty).values()
    stamp = {path: path.stat().st_mtime_ns for path in empty.glob("outputs/*/*.json*")}
    again = gradinc("train", *QUICK)
    assert (again.code, before["status"], before["steps"]) == (0, "finished", 5)
    assert "is finished already" in again.out
    assert {path: path.stat().st_mtime_ns for path in empty.glob("outputs/*/*.json*")} == stamp


def test_a_run_imports_no_compiler(empty: Path) -> None:
    """PyTorch's compiler takes longer to import than a small run takes, and a run compiles nothing."""
    program = """
import sys
from gradinc.cli.main import main
for optimizer in ("sgd", "nadam", "muon"):
    assert main(["train", *sys.argv[1:], f"optimizer={optimizer}"]) == 0
import torch
assert torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()
sys.exit(f"imported: {heavy}" if (heavy := {"torch._dynamo", "torch._inductor"} & sys.modules.keys()) else 0)
"""
    words = [sys.executable, "-c", program, *QUICK, "model=mlp"]
    done = subprocess.run(words, cwd=empty, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_keeps_the_order_of_methods(gradinc: Any, empty: Path) -> None:
    assert gradinc("train", *QUICK, "strategy=[noise,clip]").code == 0
    (path,) = empty.glob("outputs/*/config.yaml")
    assert list(yaml.safe_load(path.read_text())["strategy"]["methods"]) == ["noise", "clip"]
    assert "noise+clip" in path.parent.name


@pytest.mark.parametrize("arguments", [("--quiet", "train"), ("train", "--quiet"), ("train", "-q")])
def test_quiet_says_nothing(gradinc: Any, empty: Path, arguments: tuple[str, ...]) -> None:
    outcome = gradinc(*arguments, *QUICK)
    assert (outcome.code, outcome.out) == (0, "")
    assert len(runs(empty)) == 1


def test_a_sweep_runs_every_job_and_ends_in_a_table(gradinc: Any, empty: Path) -> None:
    outcome = gradinc("train", "-m", *QUICK, "seed=0,1", "optimizer.lr=0.1,0.2")
    assert outcome.code == 0
    assert len(runs(empty)) == 4
    *table, counts = outcome.out.splitlines()[-6:]
    assert counts == "4 finished"
    assert table[0].split() == ["job", "state", "directory"]
    for line, job in zip(table[1:], ("0 optimizer.lr=0.1", "0 optimizer.lr=0.2", "1 optimizer.lr=0.1"), strict=False):
        assert line.startswith(f"seed={job}  finished, test ")
        assert (empty / line.split()[-1] / "result.json").exists()
    assert "[2/4] seed=0 optimizer.lr=0.2: finished, test " in outcome.out


def test_a_sweep_that_is_done_is_only_told(gradinc: Any, empty: Path) -> None:
    gradinc("train", "-m", *QUICK, "seed=0,1")
    stamps = [path.stat().st_mtime_ns for path in sorted(empty.glob("outputs/*/result.json"))]
    again = gradinc("train", "-m", *QUICK, "seed=0,1,2")
    assert again.code == 0
    assert again.out.count("is finished already") == 2
    assert [path.stat().st_mtime_ns for path in sorted(empty.glob("outputs/*s[01]-*/result.json"))] == stamps
    assert len(runs(empty)) == 3


def test_a_run_in_a_sweep_is_the_run_alone(gradinc: Any, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradinc("train", "-m", *QUICK, "seed=3,4")
    in_sweep = {name: result["weights_digest"] for name, result in runs(empty).items()}
    (empty / "alone").mkdir()
    monkeypatch.chdir(empty / "alone")
    gradinc("train", *QUICK, "seed=4")
    ((name, result),) = runs(empty / "alone").items()
    assert in_sweep[name] == result["weights_digest"]
    assert len(set(in_sweep.values())) == 2


def test_a_diverged_job_is_told_as_that(gradinc: Any, empty: Path) -> None:
    arguments = ("model=mlp", "budget.steps=20", "progress=plain", "dtype=float64")
    outcome = gradinc("train", "-m", *arguments, "optimizer.lr=1e200,0.05")
    assert outcome.code == 1
    assert {result["status"] for result in runs(empty).values()} == {"diverged", "finished"}
    assert "optimizer.lr=1e200: diverged" in outcome.out or "optimizer.lr=1e+200: diverged" in outcome.out


@pytest.mark.parametrize(
    ("failure", "code"),
    [(KeyboardInterrupt(), 130), (UserError("x", "is wrong"), 2), (StorageError("x", "is full"), 1)],
)
def test_the_exit_code_says_what_kind_of_end_it_was(
    gradinc: Any, monkeypatch: pytest.MonkeyPatch, failure: BaseException, code: int
) -> None:
    from gradinc.runs import execute

    def ending(config: Any, display: Any) -> int:
        raise failure

    monkeypatch.setattr(execute, "execute", ending)
    assert gradinc("train", *QUICK).code == code


def test_a_bug_is_not_hidden(gradinc: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradinc.runs import execute

    def broken(config: Any, display: Any) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(execute, "execute", broken)
    with pytest.raises(ZeroDivisionError):  # Python shows it and ends with exit code 1
        gradinc("train", *QUICK)


def test_a_run_is_measured_again(gradinc: Any, empty: Path) -> None:
    gradinc("train", *QUICK)
    ((name, result),) = runs(empty).items()
    for run in (f"outputs/{name}", name):
        measured = json.loads(gradinc("test", run, "--json").out)
        assert measured["test"] == pytest.approx(result["test"])
    assert json.loads(gradinc("test", name, "--best", "device=cpu", "--json").out)["weights"] == "best"
    assert "test accuracy" in gradinc("test", name).out
    other = gradinc("test", name, "data=diabetes")
    assert (other.code, other.err.count("\n")) == (2, 1)
    assert other.err.startswith("data=diabetes: has rows of shape (10,)")
