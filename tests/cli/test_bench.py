"""The benches as commands: what they print, and what they refuse. No time is asserted."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from gradinc.config import groups
from gradinc.studies.bench.strategies import GOALS, general_methods, rules


def test_the_cost_of_a_strategy_is_one_line(gradinc: Any) -> None:
    outcome = gradinc("bench", "strategies", "--only", "noise", "--rounds", "1", "--json")
    assert outcome.code == 0
    (line,) = json.loads(outcome.out)
    assert (line["name"], line["kind"], line["goal"]) == ("noise", "method", 1.1)
    assert line["ratio"] > 0
    shown = gradinc("bench", "strategies", "--only", "noise", "--rounds", "1").out.splitlines()
    assert shown[0].split() == ["strategy", "kind", "ratio", "±", "half", "range", "goal"]
    assert shown[1].split()[:2] == ["noise", "method"]


def test_every_rule_and_method_can_be_measured(gradinc: Any) -> None:
    strategies = set(groups.names("strategy"))
    assert {*general_methods(), *rules()} - {"sum"} <= strategies
    assert set(GOALS) <= {*general_methods(), *rules(), "diagnostics"}


def test_streams_of_many_tasks_can_be_measured(gradinc: Any) -> None:
    words = ("bench", "incremental", "--rounds", "1", "--tasks", "1", "--rows", "640", "--json", "--only")
    found = [line for only in ("evaluation", "er, late") for line in json.loads(gradinc(*words, only).out)]
    names = ["evaluation, views over copies", "evaluation, needed over all so far"]
    assert [line["name"] for line in found] == [*names, "er, late task over early", "er, late memory over early"]
    assert [line["kind"] for line in found] == ["cost", "cost", "cost", "memory"]
    assert all(line["ratio"] > 0 for line in found)


def test_a_folder_of_images_is_measured_where_torchvision_is_installed(
    gradinc: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("bench", "--only", "image_folder, streamed, workers=0", "--rounds", "1", "--json")
    (line,) = json.loads(gradinc(*words).out)
    assert (line["kind"], line["bound"], line["goal"]) == ("time", "≤", 1.0)
    assert line["ratio"] > 0
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)  # its import fails
    skipped = gradinc(*words)
    assert (skipped.code, json.loads(skipped.out)) == (0, [])
    assert skipped.err.startswith("image_folder, streamed, workers=0: skipped, torchvision cannot be imported (")


def test_the_fisher_information_of_rows_can_be_measured(gradinc: Any) -> None:
    lines = json.loads(gradinc("bench", "--only", "Fisher", "--rounds", "1", "--json").out)
    names = ["a loop over rows", "its closed form by hand"]
    assert [line["name"] for line in lines] == [f"ewc, Fisher information, over {name}" for name in names]
    assert all(line["kind"] == "speed" and line["ratio"] > 0 for line in lines)


def test_wrong_options_get_one_line(gradinc: Any) -> None:
    wrong = gradinc("bench", "strategies", "--only", "nothing")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err.startswith("--only nothing: no such strategy. Choose from: agreement, ")
    assert gradinc("bench", "strategies", "--rounds", "0").err == "--rounds 0: need a whole number ≥ 1.\n"
    assert gradinc("bench", "--only", "nothing").err.startswith("--only nothing: no such bench. Choose from: mlp sgd, ")
