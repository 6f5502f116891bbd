"""`gradinc.results` is the table of `gradinc compare` and `gradinc runs`."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import ENVIRONMENT
from written_runs import write_run

import gradinc as package


@pytest.fixture
def six(empty: Path) -> None:
    for lr in (0.1, 0.2):
        for seed in range(3):
            write_run(empty / "outputs", f"r{lr}-{seed}", test=lr + seed / 10, seed=seed, optimizer__lr=lr, sealed=True)


def test_the_table_has_the_numbers_of_the_command(gradinc: Any, six: None) -> None:
    assert gradinc("compare", "outputs", "--csv", "x.csv", "--sort", "lr").code == 0
    with open("x.csv") as file:
        wanted = list(csv.DictReader(file))
    table = package.results("outputs", against="lr=0.1")
    assert list(table.columns) == list(wanted[0])
    assert table["test"].tolist() == pytest.approx([float(row["test"]) for row in wanted])
    assert table["test"].tolist() == pytest.approx([0.2, 0.3])
    assert table["test_difference"].tolist()[1] == pytest.approx(float(wanted[1]["test_difference"])) == 0.1
    assert table["optimizer.lr"].tolist() == [0.1, 0.2]
    with pytest.raises(
        package.UserError, match=r"^against=er: names 0 of the settings\. Choose from: lr=0\.1, lr=0\.2"
    ):
        package.results("outputs", against="er")


def test_conditions_metrics_and_runs(six: None) -> None:
    table = package.results("outputs", "optimizer.lr<0.2", by="run", metrics=["test.loss", "seconds"])
    assert table["seed"].tolist() == [0, 1, 2]
    assert table["test.loss"].tolist() == pytest.approx([0.9, 0.8, 0.7])
    with pytest.raises(package.UserError, match="acurracy: no run has this number"):
        package.results("outputs", metrics=["test.accuracy", "acurracy"])


def test_reading_results_imports_no_torch(six: None) -> None:
    code = "import gradinc, sys; gradinc.results('outputs'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=ENVIRONMENT).returncode == 0
