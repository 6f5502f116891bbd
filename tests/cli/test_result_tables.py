"""Tables of results fit the terminal, and other programs read their files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas
import pytest
from pandas import read_csv, read_parquet
from written_runs import write_run


@pytest.fixture
def sixty(empty: Path) -> Path:
    """Three families, four learning rates, five seeds."""
    for strategy in ("finetune", "er", "experience_replay_with_a_long_name"):
        for number, lr in enumerate((0.1, 0.03, 0.01, 0.003)):
            for seed in range(5):
                acc = 0.5 + number / 10 + seed / 100
                metrics = {"acc": acc, "bwt": -0.1, "forgetting": 0.1, "aia": acc}
                write_run(
                    empty / "outputs",
                    f"digits-mlp-split-{strategy}-s{seed}-{abs(hash((strategy, lr, seed))) % 16**8:08x}",
                    test=acc,
                    sealed=True,
                    seed=seed,
                    result={"metrics": metrics, "protocol": None},
                    strategy__name=strategy,
                    strategy__methods={} if strategy == "finetune" else {strategy: {}},
                    optimizer__lr=lr,
                )
    return empty / "outputs"


@pytest.mark.parametrize(
    "words",
    [
        ["runs"],
        ["runs", "--metrics", "acc,aia,bwt,forgetting,test,loss,seconds"],
        ["runs", "--by", "setting", "--metrics", "acc,aia,bwt,forgetting,test.loss"],
        ["compare", "outputs"],
        ["compare", "seed=0", "optimizer.lr=0.1", "--by", "run"],
    ],
)
def test_tables_fit_80_columns(gradinc: Any, sixty: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = gradinc(*words)
    assert (outcome.code, outcome.err) == (0, "")
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_pandas_reads_the_csv_and_the_parquet_file(gradinc: Any, sixty: Path) -> None:
    assert gradinc("runs", "--csv", "runs.csv", "--parquet", "runs.parquet").code == 0
    runs = read_csv("runs.csv")
    assert len(runs) == 60
    pandas.testing.assert_frame_equal(runs["acc"].to_frame(), read_parquet("runs.parquet")["acc"].to_frame())
    assert gradinc("compare", "outputs", "--csv", "settings.csv").code == 0
    settings = read_csv("settings.csv")
    assert len(settings) == 12
    mean = runs.groupby(["strategy", "optimizer.lr"])["acc"].agg(["mean", "std"]).reset_index()
    both = settings.merge(mean, on=["strategy", "optimizer.lr"])
    assert both["acc"].to_numpy() == pytest.approx(both["mean"].to_numpy())
    assert both["acc_sd"].to_numpy() == pytest.approx(both["std"].to_numpy())


def test_latex_has_a_row_for_each_setting_and_a_column_for_each_metric(gradinc: Any, sixty: Path) -> None:
    text = gradinc("compare", "outputs", "optimizer.lr=0.1", "--metrics", "acc,forgetting", "--latex").out
    assert all(word in text for word in (r"\toprule", r"\midrule", r"\bottomrule", r"acc (\%)"))
    rows = re.findall(r"^(.+?) & \$(.+?)\$ & \$(.+?)\$ \\\\$", text, re.MULTILINE)
    names = {"er", "finetune", r"experience\_replay\_with\_a\_long\_name"}
    assert {row[0] for row in rows} == names
    assert all(row[1:] == (r"52.00 \pm 1.58", r"10.00 \pm 0.00") for row in rows)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["runs", "--parquet"], "--parquet: needs a file. Give --parquet FILE.parquet.\n"),
        (["runs", "--csv", "x.txt"], "--csv x.txt: does not end in .csv. Give FILE.csv.\n"),
        (["compare", "outputs", "--against", "zz"], "--against zz: names 0 of the settings. Choose from:"),
        (["compare", "outputs", "acc>2"], "gradinc compare: needs two runs or more."),
    ],
)
def test_bad_input_is_one_line(gradinc: Any, sixty: Path, words: list[str], line: str) -> None:
    outcome = gradinc(*words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(line)
    assert outcome.err.count("\n") == 1


def test_a_format_without_a_file_is_printed_and_takes_no_word_of_the_command(gradinc: Any, sixty: Path) -> None:
    assert gradinc("runs", "--csv", "strategy=er").out.count("\n") == 21
    assert gradinc("compare", "--csv", "outputs").out.count("\n") == 13
