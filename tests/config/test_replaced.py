"""Options that a later strategy made pointless go away; those that somebody wrote down do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradinc.base.errors import UserError
from gradinc.config.compose import load_config
from gradinc.config.composer import Composer
from gradinc.config.identity import identity_digest
from gradinc.config.overrides import parse


@pytest.mark.parametrize(
    "arguments",
    [
        ["strategy=[trimmed,median]"],
        ["strategy=[trimmed,agreement,median]"],
        ["strategy=trimmed", "strategy.window.rule=median"],
    ],
)
def test_the_last_rule_counts_and_takes_the_options_of_those_before_it_away(arguments: list[str]) -> None:
    config, median = load_config(arguments), load_config(["strategy=median"])
    assert config == median
    assert identity_digest(config) == identity_digest(median)
    assert load_config(["strategy=[median,trimmed]"]) == load_config(["strategy=trimmed"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["strategy=[trimmed,median]", "strategy.window.trimmed.trim=0.25"],
        ["strategy.window.trimmed.trim=0.1"],
        ["strategy=median", "strategy.window.trimmed={trim:0.25}"],
    ],
)
def test_an_option_that_was_typed_is_refused(arguments: list[str]) -> None:
    with pytest.raises(UserError, match=r"^strategy\.window\.trimmed\.trim: is for rule trimmed, and strategy"):
        load_config(arguments)


def test_an_option_that_a_file_sets_for_a_rule_it_does_not_choose_is_refused(tmp_path: Path) -> None:
    (tmp_path / "strategy").mkdir()
    path = tmp_path / "strategy" / "mine.yaml"
    path.write_text("window:\n  rule: median\n  trimmed:\n    trim: 0.1\n")
    with pytest.raises(UserError, match=r"^strategy\.window\.trimmed\.trim: is for rule trimmed, and strategy"):
        load_config(["strategy=mine"], [tmp_path])
    path.write_text("window:\n  rule: trimmed\n  trimmed:\n    trim: 0.1\n")
    assert load_config(["strategy=[mine,median]"], [tmp_path]) == load_config(["strategy=median"])


def test_due_kinds_that_were_replaced_are_no_trouble_either(tmp_path: Path) -> None:
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "rows.yaml").write_text("window:\n  due: items\n  items:\n    rows: 64\n")
    config = load_config(["strategy=rows", "strategy.window.due=size"], [tmp_path])
    assert config == load_config()
    assert load_config(["strategy=rows"], [tmp_path]).strategy.window.due_options == {"rows": 64}


def test_hydra_is_told_to_leave_them_out_too() -> None:
    composer = Composer()
    assert "~strategy.window.trimmed" in composer.arguments([parse("strategy=[trimmed,median]")])
    assert "~strategy.window.trimmed" not in composer.arguments([parse("strategy=trimmed")])
