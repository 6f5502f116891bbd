"""`evaluate.tasks=needed` measures less, trains the same, and says what it leaves undefined."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lives import Nursery
from test_saving import opened, trained

from gradinc.records.logged_rows import all_rows
from gradinc.records.matrix import accuracy_matrix, forgetting_curve, mean_accuracy
from gradinc.records.recorded import RecordedRun
from gradinc.runs import checkpoint
from gradinc.runs.checkpoint import BEST
from gradinc.runs.run import Run
from gradinc.studies.heatmap import heat_map

UNDEFINED = "not measured with evaluate.tasks=needed"


def pair(output: Path, *words: str) -> tuple[Run, Run]:
    """The same run with every accuracy on tasks so far, and with those that are needed."""
    seen = trained(output / "seen", "evaluate.tasks=seen", *words)
    return seen, trained(output / "needed", "evaluate.tasks=needed", *words)


def full(rows: list[Any], tasks: int) -> list[list[float | None]]:
    """Rows of a result, with None for what was not measured."""
    return [[row.get(str(j)) for j in range(tasks)] if isinstance(row, dict) else row for row in rows]


@pytest.mark.parametrize(
    "words",
    [
        ("stream=permuted", "stream.tasks=5", "strategy=er"),
        ("stream=rotated", "stream.tasks=5", "strategy=agem", "stream.samples_per_task=64"),
        ("stream=split", "scenario=class"),
    ],
    ids=["permuted", "rotated", "split"],
)
def test_the_diagonal_the_next_task_and_the_last_row_are_those_of_seen(tmp_path: Path, words: tuple[str, ...]) -> None:
    both = [run.result() for run in pair(tmp_path, *words)]
    assert both[0]["weights_digest"] == both[1]["weights_digest"]
    assert both[0]["test"] == both[1]["test"]
    for kind in ("matrix", "task_matrix") if words[0] == "stream=split" else ("matrix",):
        seen, needed = (full(result[kind], 5) for result in both)
        assert (needed[0], needed[5]) == (seen[0], seen[5])
        for done in range(1, 5):
            assert [j for j in range(5) if needed[done][j] is not None] == [*range(done - 1, done + 1)]
            assert [j for j in range(5) if seen[done][j] is not None] == [*range(done + 1)]
            assert needed[done][done - 1 : done + 1] == seen[done][done - 1 : done + 1]
    metrics, undefined = both[1]["metrics"], both[1]["undefined"]
    for name in ("acc", "la", "bwt", "fwt"):
        assert metrics[name] == both[0]["metrics"][name] is not None
    assert (metrics["aia"], metrics["forgetting"], undefined) == (
        None,
        None,
        {"aia": UNDEFINED, "forgetting": UNDEFINED},
    )
    assert both[0]["undefined"] == {}


def test_forward_transfer_of_scored_tasks_has_the_accuracies_that_it_needs(tmp_path: Path) -> None:
    seen, needed = (run.result()["metrics"] for run in pair(tmp_path, "stream=split", "stream.scored_tasks=3"))
    assert {name: needed[name] for name in ("acc", "la", "bwt")} == {n: seen[n] for n in ("acc", "la", "bwt")}
    assert needed["fwt"] is not None, "of every scored task, as it was before the first of them"
    everything = trained(tmp_path / "all", "evaluate.tasks=all", "stream=split", "stream.scored_tasks=3").result()
    assert needed["fwt"] == everything["metrics"]["fwt"]


def test_joint_training_measures_every_task_either_way(tmp_path: Path) -> None:
    seen, needed = (run.result() for run in pair(tmp_path, "stream=permuted", "stream.tasks=3", "strategy=joint"))
    assert {**seen, "seconds": 0} == {**needed, "seconds": 0}


def test_a_checkpoint_of_many_tasks_is_as_large_as_one_of_few(tmp_path: Path) -> None:
    sizes, logs = [], []
    for tasks in (3, 40):
        words = ("stream=permuted", f"stream.tasks={tasks}", "stream.samples_per_task=40", "evaluate.tasks=needed")
        trained(tmp_path / f"{tasks}", *words, "data.validation=0")
        run = tmp_path / f"{tasks}" / "mine"
        (mark, *_) = checkpoint.marks(run / "ckpt")
        sizes.append((run / "ckpt" / str(mark)).stat().st_size)
        logs.append((run / "metrics.jsonl").stat().st_size)
    assert abs(sizes[1] - sizes[0]) <= 128, "larger numbers, and the alignment of tensors"
    assert logs[1] > 5 * logs[0]


def test_a_checkpoint_with_the_rows_of_all_tasks_is_still_read(tmp_path: Path) -> None:
    words = ("stream=split", "stream.tasks=3")
    run = trained(tmp_path, *words)
    folder = tmp_path / "mine" / "ckpt"
    (mark, *_) = checkpoint.marks(folder)
    state = checkpoint.read(folder / str(mark), None)
    (last,) = state["position"]["tasks"]
    state["position"] |= {"tasks": [last] * 3, "matrix": run.position.matrix, "task_matrix": run.position.task_matrix}
    checkpoint.write(folder, str(mark), state.pop("run"), state)
    again = opened(tmp_path, *words)
    assert again.position.matrix == run.position.matrix
    assert {**again.result(), "seconds": 0} == {**run.result(), "seconds": 0}
    again.close()


def test_what_shows_a_run_says_what_was_not_measured(tmp_path: Path, gradinc: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("model=linear", "budget.epochs=1", "stream=permuted", "stream.tasks=4", "progress=plain")
    shown = {}
    for tasks in ("seen", "needed"):
        shown[tasks] = gradinc("train", *words, f"evaluate.tasks={tasks}", f"name={tasks}")
        assert shown[tasks].code == 0
    assert "after task 3: · · " in shown["needed"].out
    assert f"– ({UNDEFINED.split()[0]} {UNDEFINED.split()[1]}" in shown["needed"].out
    assert "not measured" not in shown["seen"].out
    assert "nan" not in shown["needed"].out.lower()
    compared = gradinc("compare", "outputs/seen", "outputs/needed").out.splitlines()
    (line,) = (line for line in compared if line.startswith("forgetting  "))
    assert line.split()[-2:] == ["not", "measured"]
    run, other = (RecordedRun.open(tmp_path / "outputs" / tasks) for tasks in ("needed", "seen"))
    matrix, whole = accuracy_matrix(run), accuracy_matrix(other)
    assert matrix is not None
    assert whole is not None
    assert (mean_accuracy(matrix), forgetting_curve(matrix)) == ([], [])
    assert (len(mean_accuracy(whole)), len(forgetting_curve(whole))) == (4, 3)
    names = [name for row in all_rows(run) for name in row.values if name.startswith("row/")]
    assert names[4:-4][-2:] == ["row/task 3", "row/task 4"]
    assert "·" in heat_map(run.result["matrix"], 80).plain
    for options in (("report", "outputs/needed"), ("report", "outputs")):
        assert gradinc(*options).code == 0
    page = next(tmp_path.glob("reports/*outputs*.md"), None) or next(tmp_path.glob("reports/*.md"))
    assert "not measured with evaluate.tasks=needed" in page.read_text()
    logged = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    rows = [line for line in logged if "row" in line]
    assert ["test" in line for line in rows] == [False, True, False, False, True]
    assert not (run.path / "ckpt" / BEST).is_dir()


def test_a_cell_of_a_table_that_needs_more_is_refused(gradinc: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    refused = gradinc("table", "agem_permuted", "--rows", "van", "evaluate.tasks=needed")
    assert (refused.code, refused.out) == (2, "")
    what = "metrics.forgetting is not measured with evaluate.tasks=needed. Use evaluate.tasks=seen."
    assert refused.err == f"table agem_permuted: rows.van, column forgetting: {what}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_stream_that_measures_no_task_ends_with_its_summary(nursery: Nursery, tmp_path: Path) -> None:
    words = ("model=linear", "stream=split", "stream.tasks=2", "evaluate.tasks=none", "budget.steps=1")
    end = nursery.run(tmp_path, *words, "progress=plain", "name=mine")
    assert end.code == 0, end.err
    assert "validation, last task" in end.out
    measured = nursery.run(tmp_path, *words, "evaluate.tasks=all", "progress=plain", "name=measured")
    assert "validation, task 2" in measured.out
