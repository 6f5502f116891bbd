"""A part of any kind from another package is listed, checked and run like one of gradinc's own."""

from __future__ import annotations

import json

import pytest
from lab import Lab

RUNS = {
    "model": (["model=net", "model.width=5"], "model.widht=5"),
    "data": (["data=dots", "data.rows=90"], "data.rows=0"),
    "stream": (["stream=turned", "stream.tasks=3"], "stream.tasks=0"),
    "method": (["strategy=halve", "strategy.methods.halve.share=0.25"], "strategy.methods.halve.share=0"),
    "rule": (["strategy=doubled", "strategy.window.doubled.times=3"], "strategy.window.doubled.times=0"),
    "due": (["strategy=growing", "strategy.window.growing.after=1"], "strategy.window.growing.after=0"),
    "optimizer": (["optimizer=plain", "optimizer.lr=0.1"], "optimizer.momentum=0.9"),
    "schedule": (["schedule=halving", "schedule.every=2"], "schedule.every=0"),
}
"""For each kind a run with such a part, and a word that its signature refuses."""


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_is_trained_with_it(lab: Lab, kind: str) -> None:
    words, wrong = RUNS[kind]
    end = lab.train(*words, "name=mine")
    assert (end.code, end.err) == (0, "")
    result = json.loads((lab.folder / "outputs/mine/result.json").read_text())
    assert (result["status"], result["steps"] % 6) == ("finished", 0)
    meta = json.loads((lab.folder / "outputs/mine/meta.json").read_text())
    assert list(meta["plugins"]) == ["mylab"]
    assert meta["segments"][0]["plugins"] == f"mylab {meta['plugins']['mylab'][:12]}"
    end = lab.train(*words, wrong, "name=wrong")
    assert end.code == 2
    assert end.err.startswith(wrong.partition("=")[0])
    assert not (lab.folder / "outputs/wrong").exists()


def test_a_schedule_of_another_package_sets_the_rate(lab: Lab) -> None:
    def log(*words: str) -> list[str]:
        assert lab.train(*words, "log.steps=1", "name=mine", "fresh=true").code == 0
        return (lab.folder / "outputs/mine/metrics.jsonl").read_text().splitlines()

    assert log("schedule=halving", "schedule.every=3") == log("schedule=step", "schedule.every=3", "schedule.gamma=0.5")
    assert log("schedule=halving", "schedule.every=3") != log("schedule=constant")


def test_a_sweep_runs_on_a_cluster_of_another_package_with_parts_of_all_kinds(lab: Lab) -> None:
    words = ["model=net", "data=dots", "optimizer=plain", "schedule=halving", "strategy=[doubled,growing,halve]"]
    end = lab.train("-m", *words, "stream=iid,turned", "cluster=inline", "patience=2", "name=all")
    assert (end.code, end.err) == (0, ""), end
    results = [json.loads(path.read_text()) for path in lab.folder.glob("outputs/all/*/result.json")]
    assert [result["status"] for result in results] == ["finished", "finished"]
    assert lab.train(*words, "cluster.patience=0", "cluster=inline").err.startswith("cluster.patience=0: need a whole")


def test_parts_of_another_package_are_listed_with_their_help(lab: Lab) -> None:
    for group, name, line in (("schedules", "halving", "Half the rate"), ("models", "net", "A small network")):
        end = lab.gradinc("list", group, *lab.config_dir)
        assert end.code == 0
        assert any(name in row and line in row for row in end.out.splitlines()), end
    assert lab.train("schedule=halvng").err.startswith(
        "schedule=halvng: unknown. Did you mean halving? Choose from: halving"
    )
