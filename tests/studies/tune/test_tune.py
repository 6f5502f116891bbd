"""A search goes on where it was killed, and nothing that the result is measured on has a say in it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradinc.base.errors import UserError
from gradinc.base.signals import Interruption
from gradinc.config.catalog import PACKAGE
from gradinc.config.compose import load_config
from gradinc.config.identity import run_name
from gradinc.records.directory import read_config
from gradinc.records.log import read_log
from gradinc.records.search import found_by
from gradinc.runs.execute import execute
from gradinc.runs.trained import FinishedRun
from gradinc.studies.tune.space import Space, judged, read_space
from gradinc.studies.tune.study import Search

RATES = """
space:
  optimizer.lr: {low: 1e-3, high: 1.0, log: true}
  strategy.window.size: {low: 1, high: 4}
base: [model=linear, data.batch_size=200, budget.epochs=2]
trials: 6
"""


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    words = [sys.executable, "-P", "-m", "gradinc", "tune", *arguments]
    return subprocess.Popen(words, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE)


def test_a_search_that_is_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rates.yaml").write_text(RATES)
    life = start(tmp_path, "rates.yaml", "--n-jobs", "2")
    assert life.stdout is not None
    while not life.stdout.readline().startswith("["):  # the first trial has ended
        assert life.poll() is None
    os.kill(life.pid, signal.SIGKILL)
    life.communicate()
    time.sleep(0.5)
    again = start(tmp_path, "rates.yaml", "--n-jobs", "2")
    printed, _ = again.communicate(timeout=200)
    assert again.returncode == 0, printed
    folder = tmp_path / "outputs" / "rates"
    record = json.loads((folder / "tune.json").read_text())
    ended = [trial for trial in record["trials"] if trial["state"] in ("complete", "pruned")]
    assert len(ended) == 6
    best = max((trial for trial in ended if trial["state"] == "complete"), key=lambda trial: trial["score"])
    assert record["best"]["values"] == best["values"]
    assert record["judged_by"] == {"mode": "validation", "what": "the validation rows"}
    results = [json.loads(path.read_text()) for path in folder.glob("*/result.json")]
    assert {result["test"] is None for result in results} == {True}
    assert not any("test" in line for path in folder.glob("*/metrics.jsonl") for line in read_log(path))
    scores = [result["validation"]["accuracy"] for result in results if result["validation"]]
    assert any(score == best["score"] for score in scores)
    assert all(f"optimizer.lr={trial['values']['optimizer.lr']:.4g}" in printed for trial in ended[-3:])
    words = shlex.split(printed.rpartition("next: gradinc train ")[2])
    assert words[0] == "model=linear"
    assert words[-1] == "search=outputs/rates"
    monkeypatch.chdir(tmp_path)
    config = load_config(words)
    assert execute(config) == 0
    run = FinishedRun.open(run_name(config))
    assert run.result["test"]["accuracy"] > 0
    found = {"mode": "validation", "judged_by": "the validation rows", "folder": "outputs/rates"}
    assert run.result["search"] == {**found, "trials": 6, "score": best["score"]} == run.meta["search"]


def test_what_a_killed_search_leaves_holds_nobody_up(tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "rates"
    space = Space(space={"optimizer.lr": [0.1, 0.2]})
    search = Search(space, folder, 0, [], [])
    search.study.enqueue_trial({"optimizer.lr": 0.2})
    with pytest.raises(UserError, match="is in use by another search"):
        Search(space, folder, 0, [], [])
    with pytest.raises(UserError, match="holds a search with another space"):
        Search(Space(space={"optimizer.lr": [0.1, 0.3]}), folder, 0, [], [])
    search.close()
    (folder / "journal.log.lock").symlink_to("outputs/rates/journal.log")  # as Optuna's own lock
    with open(folder / "journal.log", "a") as journal:
        journal.write('{"op_code": 5, "wor')
    again = Search(space, folder, 0, [], [])
    assert space.values(again.study.ask()) == {"optimizer.lr": 0.2}


def test_test_rows_have_no_say() -> None:
    space = Space(space={"seed": [1]})
    log: list[dict[str, Any]] = [
        {"validation": {"accuracy": 0.5}},
        {"validation": {"accuracy": 0.7}},
        {"test": {"accuracy": 0.1}},
    ]
    found = judged(space, log, sequence=False)
    assert found is not None
    assert (found.looks, found.score) == (2, 0.7)
    other_test = [*log[:2], {"test": {"accuracy": 0.9}}]
    assert judged(space, other_test, sequence=False) == found
    other_validation = [log[0], {"validation": {"accuracy": 0.6}}, log[2]]
    assert judged(space, other_validation, sequence=False) != found


def test_the_later_tasks_of_a_stream_have_no_say() -> None:
    space = Space(space={"optimizer.lr": [1]}, mode="first-tasks", tasks=2)
    log: list[dict[str, Any]] = [
        {"row": [0.5, 0.2, 0.3]},  # before any training
        {"row": [1.0, 0.2, 0.3]},
        {"row": [0.8, 0.6, 0.3]},
        {"row": [0.1, 0.1, 0.9]},
    ]
    found = judged(space, log, sequence=True)
    assert found is not None
    assert (found.looks, found.score) == (2, pytest.approx(0.7))
    assert judged(space, log[:3], sequence=True) == found
    later = [{**line, "row": [*line["row"][:2], 0.0]} for line in log[:3]]
    assert judged(space, later, sequence=True) == found
    first = [*log[:2], {"row": [0.9, 0.6, 0.3]}]
    assert judged(space, first, sequence=True) != found
    together = judged(space, [log[0], log[3]], sequence=True, joint=True)
    assert together is not None
    assert together.score == pytest.approx(1.1 / 3)


@pytest.mark.parametrize("stream", [["stream=iid"], ["stream=split", "stream.tasks=3"]])
def test_a_trial_is_the_same_whatever_the_test_rows_are(tmp_path: Path, stream: list[str]) -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(90, 4)), np.arange(90) % 3
    words = ["data=npz", "model=linear", "budget.epochs=1", "data.batch_size=10", *stream, f"output={tmp_path}"]

    def outcome(rows: str, kind: str) -> tuple[bytes, Any, Any]:
        x_test = np.zeros((30, 4)) if kind == "zeros" else x[:30]
        np.savez(tmp_path / f"{kind}.npz", x_train=x, y_train=y, x_test=x_test, y_test=y[:30])
        more = [f"data.root={tmp_path / kind}.npz", f"evaluate.rows={rows}", f"name={rows}-{kind}"]
        assert execute(load_config([*words, *more])) == 0
        result = json.loads((tmp_path / f"{rows}-{kind}" / "result.json").read_text())
        return (tmp_path / f"{rows}-{kind}" / "metrics.jsonl").read_bytes(), result["test"], result.get("matrix")

    assert outcome("validation", "zeros") == outcome("validation", "learnable")
    assert outcome("validation", "zeros")[1] is None
    looking = outcome("test", "zeros"), outcome("test", "learnable")
    assert looking[0] != looking[1]
    assert looking[0][1] is not None


def searched(tmp_path: Path, **record: Any) -> list[str]:
    folder = tmp_path / "rates"
    folder.mkdir()
    best = {"values": {"optimizer.lr": 0.1, "model": "linear"}, "score": 0.9, "scored_tasks": 3}
    judged_by = {"mode": "first-tasks", "what": "validation rows of the first 2 tasks"}
    content = {"judged_by": judged_by, "best": best, "trials": [{"score": 0.9}, {"score": None}], **record}
    (folder / "tune.json").write_text(json.dumps(content))
    return ["stream=split", "model=linear", "optimizer.lr=0.1", "stream.scored_tasks=3", f"search={folder}"]


def test_what_a_search_found_is_recorded_and_nothing_else(tmp_path: Path) -> None:
    words = searched(tmp_path)
    found = found_by(load_config(words))
    assert found is not None
    assert (found["mode"], found["trials"], found["score"]) == ("first-tasks", 1, 0.9)
    assert found_by(load_config(words[:-1])) is None
    assert found_by(load_config([*words, "seed=4", "stream.scored_tasks=2"])) == found
    for more, line in (
        ("optimizer.lr=0.2", "optimizer.lr=0.2: the search in .* found 0.1"),
        ("model=mlp", "model=mlp: the search in .* found linear"),
        ("stream.scored_tasks=4", "would include tasks that the values were chosen on. Use stream.scored_tasks=3"),
        ("stream.scored_tasks=null", "would include tasks that the values were chosen on"),
        (f"search={tmp_path}", "is not the folder of a search"),
    ):
        with pytest.raises(UserError, match=line):
            found_by(load_config([*words, more]))


def test_a_search_without_an_end_has_found_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no best values yet"):
        found_by(load_config(searched(tmp_path, best=None)))


@pytest.mark.parametrize(
    ("text", "more", "line"),
    [
        (RATES, ["stream=split"], "mode=validation: a stream's later tasks would decide"),
        (RATES, ["data.validation=0"], "evaluate.rows=validation: there are none, since data.validation is 0"),
        (RATES + "mode: first-tasks\n", [], "mode=first-tasks: stream=iid has one task"),
        (RATES + "mode: first-tasks\n", ["stream=split", "stream.data=joint"], "stream.data=joint trains on all"),
        (RATES + "mode: other-data\n", [], "mode=other-data: needs the other data"),
        (RATES + "mode: other-data\nother: [data=digits]\n", [], "data=digits is what the result is measured on"),
        ("space: {data.split_seed: [1, 2]}", [], r"space\.data\.split_seed: decides what the result is measured on"),
        ("space: {optimizer.lr: {low: 1.0, high: -1.0}}", [], r"^optimizer\.lr=-1\.0: need a number > 0"),
        ("space: {optimizer.lr: {low: 1.0, high: 0.5}}", [], r"space\.optimizer\.lr: low must be below high"),
        ("space: {optm.lr: [1.0]}", [], r"^optm\.lr: no such key"),
        ("spice: {}", [], "rates.yaml: space: Field required"),
        ("space: {optimizer.lr: {low: 1, hihg: 2}}", [], r"optimizer\.lr\.Range\.high: Field required"),
    ],
)
def test_what_would_leak_or_is_wrong_is_refused(tmp_path: Path, text: str, more: list[str], line: str) -> None:
    path = tmp_path / "rates.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=line):
        read_space(path, more, [])
    assert list(tmp_path.iterdir()) == [path]


STRATEGIES = """
space:
  strategy: [er, ewc, "[accumulate,er]"]
  strategy.methods.er.memory: [20, 40]
  strategy.methods.ewc.strength: {low: 1.0, high: 2.0}
base: [model=linear, stream=split, stream.tasks=3, data.batch_size=200, budget.epochs=1, strategy.methods.er.replay=5]
mode: first-tasks
trials: 6
"""


def test_an_option_is_tried_with_the_strategies_that_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(STRATEGIES)
    monkeypatch.chdir(tmp_path)
    space, _ = read_space(path, [], [])
    said: list[str] = []
    with closing(Search(space, tmp_path / "found", 0, [], [])) as search:
        search.run(1, Interruption(), said.append)
    record = json.loads((tmp_path / "found" / "tune.json").read_text())
    assert len(record["trials"]) == 6 == len(said)
    for trial in record["trials"]:
        own = {"ewc": "ewc.strength"}.get(trial["values"]["strategy"], "er.memory")
        assert set(trial["values"]) == {"strategy", f"strategy.methods.{own}"}
    assert len({trial["values"]["strategy"] for trial in record["trials"]}) > 1
    runs = [read_config(file.parent).strategy for file in tmp_path.glob("found/*/config.yaml")]
    assert all(len(strategy.methods) == 1 for strategy in runs)
    found = found_by(load_config(record["best"]["run"]))
    assert found is not None
    assert found["score"] == record["best"]["score"]
    kept = [word for word in record["best"]["run"] if not word.startswith("strategy")]
    with pytest.raises(UserError, match=r"strategy=.*: the search in .* found"):
        found_by(load_config([*kept, "strategy=finetune"]))


def test_an_option_of_a_strategy_that_is_not_searched_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("space: {strategy: [er, ewc], strategy.methods.sam.rho: [0.1, 0.2]}\n")
    with pytest.raises(UserError, match=r"^strategy\.methods\.sam\.rho: strategy=er has no method sam"):
        read_space(path, [], [])
    path.write_text("space: {strategy: [er, ewc], strategy.methods.ewc.strength: [1.0, -1.0]}\n")
    with pytest.raises(UserError, match=r"^strategy\.methods\.ewc\.strength=-1\.0: need a number"):
        read_space(path, [], [])
    path.write_text("space: {optimizer.lr: []}\n")
    with pytest.raises(UserError, match=r"space\.optimizer\.lr: is a list without values"):
        read_space(path, [], [])
