"""Tables of results fit the terminal, and other programs read their files."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pandas
import pytest
from latex import latex_tables
from pandas import read_csv, read_parquet
from written_runs import write_run

from gradinc import results


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


def test_files_have_the_differences_of_the_terminal(gradinc: Any, sixty: Path) -> None:
    words = ("compare", "outputs", "strategy=er", "--against", "0.03", "--metrics", "acc")
    assert gradinc(*words, "--csv", "x.csv", "--parquet", "x.parquet").code == 0
    found = {each["setting"]: each for each in json.loads(gradinc(*words, "--json").out)["differences"]}
    table = read_csv("x.csv")
    pandas.testing.assert_frame_equal(table, read_parquet("x.parquet"), check_dtype=False)
    pandas.testing.assert_frame_equal(
        table.sort_values("setting", ignore_index=True),
        results("outputs", "strategy=er", metrics=["acc"], against="0.03").sort_values("setting", ignore_index=True),
        check_dtype=False,
    )
    assert table["against"].tolist().count("lr=0.03") == 3 == len(found)
    for _, row in table[table["against"].notna()].iterrows():
        ends = [row[f"acc_{end}"] for end in ("difference", "difference_low", "difference_high", "pairs")]
        assert ends == pytest.approx([found[row["setting"]][key] for key in ("mean", "low", "high", "pairs")])
        assert ends[0] == pytest.approx(row["acc"] - 0.62)
    own = table[table["setting"] == "lr=0.03"]
    assert own["acc_difference"].isna().all()
    assert not any("difference" in name for name in read_csv(StringIO(gradinc("runs", "--by", "setting", "--csv").out)))


def test_latex_has_a_row_for_each_setting_with_its_n_and_the_chosen_spread(gradinc: Any, sixty: Path) -> None:
    words = ("compare", "outputs", "optimizer.lr=0.1", "--metrics", "acc,forgetting", "--latex")
    sd, half = 0.025**0.5, 2.7764451051977987 * 0.005**0.5  # of 0, 1, … 4 %: in percent, Student's t of 4
    for spread, width in {"sd": 10 * sd, "sem": 10 * 0.005**0.5, "ci95": 10 * half}.items():
        settings, differences = latex_tables(gradinc(*words, "--spread", spread).out)
        assert settings[0] == ["", "$n$", r"acc (\%)", r"forgetting (\%)"]
        assert {row[0] for row in settings[1:]} == {"er", "finetune", r"experience\_replay\_with\_a\_long\_name"}
        assert all(row[1:] == ["5", rf"$52.00 \pm {width:.2f}$", r"$10.00 \pm 0.00$"] for row in settings[1:])
        assert [row[:3] for row in differences[1:]] == [
            [name[0], "5", "$+0.00$ [$+0.00$, $+0.00$]"] for name in settings[2:]
        ]
    assert latex_tables(gradinc(*words).out)[0] == latex_tables(gradinc(*words, "--spread", "sd").out)[0]


def test_an_interval_of_width_0_is_explained(gradinc: Any, sixty: Path) -> None:
    """Every run has the same bwt and no two have the same acc; er and finetune are the same in both."""
    words = ("compare", "outputs", "strategy=er,finetune", "optimizer.lr=0.1", "--against", "er", "-m", "acc,bwt")
    notes = ["all runs are equal: bwt of 2 settings", "all pairs are equal: acc of finetune, bwt of finetune"]
    assert gradinc(*words).out.splitlines()[-2:] == notes
    for note in notes:
        assert rf"{{\footnotesize {note}}}" in gradinc(*words, "--latex").out
    assert "equal" not in gradinc("compare", "outputs", "strategy=er", "--metrics", "acc").out.partition("all pairs")[0]
    assert "all runs are equal: bwt of" in gradinc("runs", "strategy=er", "optimizer.lr=0.1", "--by", "setting").out


def test_labels_replace_names_of_settings_and_metrics(gradinc: Any, sixty: Path) -> None:
    words = ("compare", "outputs", "strategy=er", "--metrics", "acc,bwt", "--against", "0.03")
    labels = ("--label", "lr=0.03=middle & slow", "--label", "0.1=fast", "--label", "acc=Accuracy")
    shown = gradinc(*words, *labels).out
    assert "Differences from middle & slow, paired" in shown
    assert "Accuracy, %" in shown
    names = {line.partition("  ")[0] for line in shown.splitlines()}
    assert {"lr=0.01", "fast"} <= names
    assert not {"lr=0.1", "lr=0.03"} & names
    settings, differences = latex_tables(gradinc(*words, *labels, "--latex").out)
    assert settings[0] == ["", "$n$", r"Accuracy (\%)", r"bwt (\%)"]
    assert {row[0] for row in settings} >= {r"middle \& slow", "fast"}
    assert "fast" in [row[0] for row in differences]
    table = read_csv(StringIO(gradinc(*words, *labels, "--csv").out))
    assert set(table["setting"]) == {"middle & slow", "fast", "lr=0.01", "lr=0.003"}
    assert set(table["against"].dropna()) == {"middle & slow"}
    assert "acc" in table
    assert json.loads(gradinc(*words, *labels, "--json").out)["against"] == "middle & slow"
    again = (*words[:-1], "middle & slow", *labels)
    assert gradinc(*again).out == shown


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["compare", "outputs", "--label", "err=x"], "--label err=x: names 0 of the settings. Choose from: "),
        (["compare", "outputs", "--label", "er"], "--label er: need NAME=LABEL. Such as --label 'er=Experience "),
        (["runs", "--parquet"], "--parquet: needs a file. Give --parquet FILE.parquet.\n"),
        (["runs", "--csv", "x.txt"], "--csv x.txt: does not end in .csv. Give FILE.csv.\n"),
        (["compare", "outputs", "--against", "zz"], "--against zz: names 0 of the settings. Choose from:"),
        (["compare", "acc>2"], "gradinc compare: needs two runs or more, and acc>2 is none. Give others; "),
        (["runs", "--spread", "se"], "gradinc runs: argument --spread: invalid choice: 'se' (choose from "),
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
