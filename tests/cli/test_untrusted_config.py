"""No config can run code: not by an import path, not through Hydra's own node, not by a YAML tag."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = [
    "+_target_=os.system",
    "model={name:cnn,_target_:os.system}",
    "+model._target_=os.system",
    "+optimizer.x._target_=os.system",
    "+optimizer.x.y.z={_target_:os.system,command:'touch pwned'}",
    "+data.list=[{_target_:os.system,command:'touch pwned'}]",
    "+strategy.methods.clip._target_=os.system",
    "+hydra.callbacks.e={_target_:os.system,command:'touch pwned'}",
    "hydra.launcher._target_=os.system",
    "hydra.sweeper._target_=os.system",
    "hydra.job_logging={formatters:{x:{(): os.system}}}",
    "hydra.hydra_logging.handlers.console.class=os.system",
    "hydra.searchpath=[pkg://antigravity]",
    "hydra={callbacks:{e:{_target_:os.system}}}",
    "hydra/callbacks=x",
]

FILES = {
    "model": "name: cnn\n_target_: os.system\ncommand: touch pwned\n",
    "data": "name: digits\nx: {y: {_target_: os.system, command: touch pwned}}\n",
    "strategy": "methods: {clip: {_target_: os.system, command: touch pwned}}\n",
    "experiment": "# @package _global_\n_target_: os.system\ncommand: touch pwned\n",
}

EXPERIMENTS = {
    "callback": "hydra: {callbacks: {e: {_target_: os.system, command: touch pwned}}}",
    "launcher": "hydra: {mode: MULTIRUN, launcher: {_target_: os.system, command: touch pwned}}",
    "sweeper": "hydra: {mode: MULTIRUN, sweeper: {_target_: os.system, command: touch pwned}}",
    "parameter": "hydra: {mode: MULTIRUN, sweeper: {params: {_target_: os.system, command: touch pwned}}}",
    "logging": "hydra: {job_logging: {version: 1, formatters: {x: {(): os.system, command: touch pwned}}}}",
    "searchpath": "hydra: {searchpath: ['pkg://antigravity']}",
    "environment": "hydra: {job: {env_set: {PATH: /nowhere}}}",
    "directory": "hydra: {run: {dir: ../pwned}}",
    "tag": "seed: !!python/object/apply:os.system ['touch pwned']",
}


@pytest.mark.parametrize("multirun", [[], ["-m"]])
@pytest.mark.parametrize("argument", ARGUMENTS)
def test_an_argument_that_names_code_is_refused(gradinc: Any, empty: Path, argument: str, multirun: list[str]) -> None:
    outcome = gradinc("train", *multirun, argument)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "_target_: a config cannot name code to run" in outcome.err or outcome.err.startswith("hydra")
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("flags", [[], ["-m"], ["--cfg", "job"], ["--cfg", "all"], ["--info"], ["--hydra-help"]])
@pytest.mark.parametrize("group", FILES)
def test_a_file_that_names_code_is_refused(
    gradinc: Any, empty: Path, tmp_path: Path, group: str, flags: list[str]
) -> None:
    folder = tmp_path / "mine" / group
    folder.mkdir(parents=True)
    (folder / "evil.yaml").write_text(FILES[group])
    outcome = gradinc("train", *flags, "--config-dir", str(folder.parent), f"{group}=evil")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "_target_: a config cannot name code to run" in outcome.err
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_cannot_reach_what_hydra_would_import(
    gradinc: Any, empty: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "evil.yaml").write_text(f"# @package _global_\n{EXPERIMENTS[name]}\n")
    (folder / "good.yaml").write_text("# @package _global_\nseed: 3\n")
    outcome = gradinc("train", "--config-dir", str(folder.parent), "experiment=evil", "model=linear")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert list(empty.iterdir()) == []
    assert gradinc("train", "--config-dir", str(folder.parent), "experiment=good", "--cfg", "job").code == 0


@pytest.mark.parametrize(
    "text", ["name: [cnn\n", "name: cnn\nwidth: 3\nwidth: 4\n", "- a\n", "\x00", "name: cnn\n\tx: 1\n", "a: &a [*a]\n"]
)
def test_a_damaged_file_of_one_s_own_is_bad_input(gradinc: Any, empty: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "damaged.yaml").write_text(text)
    outcome = gradinc("train", "--config-dir", str(tmp_path / "mine"), "model=damaged")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "model" in outcome.err
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("group", ["model", "table", "experiment", "data"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(gradinc: Any, empty: Path, tmp_path: Path, group: str) -> None:
    (tmp_path / "mine" / group).mkdir(parents=True)
    os.mkfifo(tmp_path / "mine" / group / "pipe.yaml")
    words = ("table", "pipe") if group == "table" else ("train", f"{group}=pipe")
    outcome = gradinc(*words, "--config-dir", str(tmp_path / "mine"))
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "pipe" in outcome.err
    assert list(empty.iterdir()) == []
