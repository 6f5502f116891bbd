"""``--cfg``, ``--info`` and completion are Hydra's own answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gradinc.cli.main import COMMANDS
from gradinc.config.compose import load_config
from gradinc.config.validation import validate


def test_the_job_that_is_shown_is_the_job_that_would_run(gradinc: Any, empty: Path) -> None:
    arguments = ["model=mlp", "strategy=accumulate", "+optimizer.lr=0.3", "data.root=/a (1)", "name=007", "~seed"]
    outcome = gradinc("train", *arguments, "--cfg", "job")
    assert (outcome.code, outcome.err) == (0, "")
    shown = yaml.safe_load(outcome.out)
    assert shown.pop("cluster")["name"] == "local", "where a sweep runs is part of the command and not of the run"
    assert "hydra" not in shown
    assert validate(shown) == load_config(arguments)
    assert list(empty.iterdir()) == []


def test_a_section_is_shown_alone_and_resolved_on_demand(gradinc: Any) -> None:
    flags = ["train", "-c", "job", "-p", "optimizer", "optimizer.lr=${log.steps}"]
    assert yaml.safe_load(gradinc(*flags).out)["lr"] == "${log.steps}"
    assert yaml.safe_load(gradinc(*flags, "--resolve").out)["lr"] == 50
    assert gradinc(*flags).out.startswith("# @package optimizer\n")


def test_hydra_s_own_node_is_shown_where_it_is_asked_for(gradinc: Any) -> None:
    assert set(yaml.safe_load(gradinc("train", "--cfg", "hydra").out)) == {"hydra"}
    assert {"hydra", "model"} < set(yaml.safe_load(gradinc("train", "--cfg", "all").out))


def test_files_of_one_s_own_are_shown_too(gradinc: Any, tmp_path: Path) -> None:
    folder = tmp_path / "it's mine" / "model"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text("name: cnn\nwidth: 5\n")
    shown = gradinc("train", "-cd", str(folder.parent), "model=own", "--cfg", "job")
    assert yaml.safe_load(shown.out)["model"]["width"] == 5
    assert str(folder.parent) in gradinc("train", "-cd", str(folder.parent), "--info", "searchpath").out


@pytest.mark.parametrize("what", ["config", "defaults", "defaults-tree", "plugins", "searchpath", "all"])
def test_hydra_says_how_it_composes(gradinc: Any, what: str) -> None:
    outcome = gradinc("train", "model=mlp", "--info", what)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out


def test_hydra_s_help_is_there(gradinc: Any) -> None:
    assert "Hydra" in gradinc("train", "--hydra-help").out


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gradinc ", set(COMMANDS)),
        ("gradinc tr", {"train"}),
        ("gradinc list stra", {"strategies"}),
        ("gradinc data dig", {"digits"}),
        ("gradinc bench ", set()),
        ("gradinc train experiment=art", {"experiment=article_linear"}),
        ("gradinc train model=mlp model.wi", {"model.width="}),
        ("gradinc train model=mlp -m optimizer=nad", {"optimizer=nadam"}),
    ],
)
def test_the_shell_completes(gradinc: Any, monkeypatch: pytest.MonkeyPatch, line: str, expected: set[str]) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    outcome = gradinc("-sc", "query=bash")
    assert (outcome.code, outcome.err) == (0, "")
    assert set(outcome.out.split()) == expected


def test_runs_complete_by_their_directories(gradinc: Any, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty / "outputs" / "a-run").mkdir(parents=True)
    (empty / "outputs" / "a-run" / "config.yaml").write_text("")
    (empty / "outputs" / "no-run").mkdir()
    monkeypatch.setenv("COMP_LINE", "gradinc test ")
    assert gradinc("-sc", "query=bash").out.split() == ["outputs/a-run"]


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_completion_is_installed_for_gradinc_by_either_way(gradinc: Any, shell: str) -> None:
    script = gradinc("-sc", f"install={shell}").out
    assert "gradinc" in script
    assert gradinc("train", "-sc", f"install={shell}").out == script
