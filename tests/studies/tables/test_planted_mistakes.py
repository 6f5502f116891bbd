"""A method with a planted mistake gets the verdict "differs", and the right method does not.

The budget is small: the printed numbers are of the right methods on this budget, with other seeds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import Command
from small_table import write_table

from gradinc.studies.tables.cells import open_table
from gradinc.studies.tables.reading import read_table

MISTAKES = Path(__file__).parents[1] / "mistakes"
MNIST = Path(__file__).parents[4] / "shared" / "data" / "mnist"

ER = ["memory=200", "replay=10", "optimizer.lr=0.1"]
AGEM = ["memory=200", "sample=128", "optimizer.lr=0.03"]
DIGITS = {  # accuracies of seeds 0 to 4
    ("er", "87.40 ± 1.85"): {"er": ER, "er_first": ER},
    ("agem", "29.14 ± 2.78"): {"agem": AGEM, "agem_sign": AGEM},
}


def table(rows: dict[tuple[str, str], dict[str, list[str]]], *protocol: str) -> dict[str, Any]:
    found = {}
    for (_, printed), methods in rows.items():
        for method, options in methods.items():
            keys = [each if each.startswith("optimizer") else f"strategy.methods.{method}.{each}" for each in options]
            found[method] = {
                "title": method,
                "overrides": [f"strategy={method}", *keys],
                "published": {"class": printed},
            }
    return {
        "title": "Planted mistakes on a small budget",
        "citation": {"authors": "Us", "title": "Seeds 0 to 4", "arxiv": "2004.07211", "table": "none"},
        "data": protocol[0].removeprefix("data="),
        "grade": "A",
        "spread": "sd",
        "n": 5,
        "budget": "cpu minutes",
        "seeds": [10, 11, 12],
        "protocol": [
            *protocol,
            *("stream=split", "stream.tasks=5", "scenario=class", "data.batch_size=10", "data.normalize=unit"),
            *("model=mlp", "model.width=100", "model.depth=2", "model.init=xavier_plain"),
            *("optimizer=sgd", "optimizer.momentum=0.0", "threads=1", "evaluate.tasks=seen", "device=cpu"),
        ],
        "columns": {"class": {"title": "accuracy", "quantity": "metrics.acc", "unit": "%", "tolerance": 25}},
        "rows": found,
    }


def verdicts(gradinc: Command, folder: Path, document: dict[str, Any], *more: str) -> dict[str, str]:
    write_table(folder / "conf", document, "small")
    outcome = gradinc("table", "small", "--with", str(MISTAKES), "--config-dir", "conf", *more, "--json")
    rows = json.loads(outcome.out)["rows"]
    return {row["row"]: row["cells"][0]["reason"] or row["cells"][0]["verdict"] for row in rows}


def test_the_verdict_sees_planted_mistakes_on_digits(gradinc: Command, tmp_path: Path) -> None:
    found = verdicts(gradinc, tmp_path, table(DIGITS, "data=digits", "budget.epochs=3"))
    right = [method for method, _ in DIGITS]
    for method, verdict in found.items():
        assert verdict == ("reproduced" if method in right else "differs"), method


@pytest.mark.skipif(not MNIST.is_dir(), reason="needs MNIST in ../shared/data/mnist")
def test_the_verdict_sees_a_planted_mistake_on_mnist(gradinc: Command, tmp_path: Path) -> None:
    rows = {("er", "72.98 ± 7.31"): {"er": ER, "er_latest": ER}}
    document = table(rows, "data=mnist", "budget.epochs=1", "stream.samples_per_task=500")
    found = verdicts(gradinc, tmp_path, document, f"data.root={MNIST}")
    assert found == {"er": "reproduced", "er_latest": "differs"}


def test_each_mistake_has_a_row_beside_the_right_method_as_published() -> None:
    published = open_table("der_split")
    with_mistakes = read_table("mistakes", yaml.safe_load((MISTAKES / "conf" / "table" / "mistakes.yaml").read_text()))
    assert with_mistakes.protocol == published.protocol
    assert with_mistakes.digest == published.digest
    assert with_mistakes.seeds == published.seeds[:3]
    assert with_mistakes.columns.keys() == published.columns.keys()
    as_published = [(row.overrides, row.published) for row in published.rows.values()]
    rows = with_mistakes.rows
    planted = {name: row for name, row in rows.items() if "." in name}
    assert len(planted) >= 8
    for name, row in planted.items():
        right = rows[name.partition(".")[0]]
        assert (right.overrides, right.published) in as_published
        assert row.published == right.published
        assert row.overrides != right.overrides
    used = " ".join(text for row in rows.values() for text in row.overrides or ())
    assert [path.stem for path in (MISTAKES / "methods").glob("*.py") if path.stem not in used] == []
