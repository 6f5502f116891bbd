"""A table is a pure function of run directories, and what does not belong into a mean is marked."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from latex import latex_tables
from small_table import DOCUMENT

from gradinc.cli.main import main
from gradinc.records.recorded import RecordedRun
from gradinc.records.seal import seal
from gradinc.studies.tables.cells import compose_cells
from gradinc.studies.tables.collecting import measured_runs, recorded_runs
from gradinc.studies.tables.document import table_document
from gradinc.studies.tables.reading import read_table
from gradinc.studies.tables.rendering import FILES


@pytest.fixture
def runs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the small table's runs, to be changed."""
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def collected(
    document: dict[str, Any] = DOCUMENT, order: Callable[[list[RecordedRun]], list[RecordedRun]] = lambda runs: runs
) -> dict[str, Any]:
    table = read_table("tiny", document)
    cells = compose_cells(table, list(table.rows), table.seeds, ["device=cpu"])
    return table_document(table, cells, measured_runs(table, cells, order(recorded_runs(cells))))


def cell(document: dict[str, Any], row: str, column: str = "accuracy") -> dict[str, Any]:
    return next(c for r in document["rows"] if r["row"] == row for c in r["cells"] if c["column"] == column)


def rewrite(path: Path, **changes: Any) -> None:
    """Change a record, and seal the run with it."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    result = path.with_name("result.json")
    record = json.loads(result.read_text())
    result.write_text(json.dumps(seal(record, path.parent, record["seal"]["files"])))


def other_digit(path: Path) -> None:
    """Another last digit that a number in a file has."""
    head, last, rest = re.fullmatch(r"(.*?[0-9.]{4})([0-9])(.*)", path.read_text(), re.DOTALL).groups()  # type: ignore[union-attr]
    path.write_text(f"{head}{(int(last) + 1) % 10}{rest}")


def run_of(document: dict[str, Any], row: str, seed: int) -> str:
    return next(each["run"] for each in cell(document, row)["seeds"] if each["seed"] == seed)


def test_a_planted_number_turns_red_and_a_true_one_does_not(runs: Path) -> None:
    found = collected()
    slow, fast = cell(found, "slow"), cell(found, "fast")
    assert fast["verdict"] == "differs", "12.00 ± 1.00 was planted"
    assert fast["difference"] > fast["half_width"]
    assert found["claims"][0]["verdict"] == "supported"
    true = json.loads(json.dumps(DOCUMENT))
    true["rows"]["fast"]["published"]["accuracy"] = f"{fast['ours']['mean']:.2f} ± 1.00"
    assert cell(collected(true), "fast")["verdict"] == "reproduced"
    true["columns"]["accuracy"]["tolerance"] = 0.01
    assert cell(collected(true), "fast")["verdict"] == "interval too wide"
    assert slow["ours"]["n"] == 3
    assert cell(found, "none")["reason"] == "method not built (strategy=pnn)"
    assert cell(found, "slow", "steps")["reason"] == "nothing is printed"


def test_a_wrong_result_of_a_run_turns_a_true_number_red(runs: Path) -> None:
    true = json.loads(json.dumps(DOCUMENT))
    mean = cell(collected(), "fast")["ours"]["mean"]
    true["rows"]["fast"]["published"]["accuracy"] = f"{mean:.2f} ± 1.00"
    for seed in (0, 1, 2):
        path = runs / run_of(collected(), "fast", seed) / "result.json"
        test = json.loads(path.read_text())["test"]
        rewrite(path, test={**test, "accuracy": test["accuracy"] - 0.2})
    assert cell(collected(true), "fast")["verdict"] == "differs"


def test_the_same_runs_give_the_same_bytes_in_any_order_and_any_place(runs: Path, tmp_path: Path) -> None:
    wanted = {ending: render(collected()) for ending, render in FILES.items()}
    for seeds in ([2, 0, 1], [1, 2, 0]):
        permuted = collected({**DOCUMENT, "seeds": seeds})
        assert {ending: render(permuted) for ending, render in FILES.items()} == wanted
    for seed in range(5):
        shuffled = collected(order=lambda found, seed=seed: random.Random(seed).sample(found, len(found)))
        assert {ending: render(shuffled) for ending, render in FILES.items()} == wanted
    table = read_table("tiny", DOCUMENT)
    moved = runs.rename(tmp_path / "elsewhere")
    cells = compose_cells(table, list(table.rows), table.seeds, ["device=cpu", f"output={moved}"])
    elsewhere = table_document(table, cells, measured_runs(table, cells, recorded_runs(cells)))
    assert {ending: render(elsewhere) for ending, render in FILES.items()} == wanted
    assert str(tmp_path) not in "".join(wanted.values())


def test_latex_has_n_the_chosen_spread_and_the_verdict_of_each_number(runs: Path) -> None:
    document = json.loads(json.dumps(DOCUMENT))
    del document["n"]
    shutil.rmtree(runs / run_of(collected(), "slow", 1))
    found = collected(document)
    slow, fast = (cell(found, row)["ours"] for row in ("slow", "fast"))
    for spread, width in (("sd", 1.0), ("sem", 3**-0.5), ("ci95", 4.302652729911275 * 3**-0.5)):
        text = FILES["tex"]({**found, "spread": spread})
        ours, beside, _ = latex_tables(text)
        number = f"{fast['mean']:.2f} \\pm {width * fast['sd']:.2f}"
        title = r"fast \textbar{} $<$b$>$"
        assert ours[2] == [title, "3", rf"${number}^{{\mathrm{{d}}}}$", r"$41 \pm 0$"]
        assert number.replace(r"\pm", r"$\pm$") + r" \% (3)" in beside[3]
        assert ours[1][1] == "2", "n is the number of runs that count"
        assert ours[1][2].startswith(f"${slow['mean']:.2f}")
        assert r"$^{\mathrm{d}}$ differs, $^{\mathrm{u}}$ not judged" in text
        assert "n: the number of runs behind the printed number is not known, and counts as one." in text
    assert ours[3][1:] == ["0", "--", "--"]


def test_a_copy_of_a_run_is_not_counted_twice(runs: Path) -> None:
    wanted = collected()
    name = run_of(wanted, "fast", 0)
    shutil.copytree(runs / name, runs / "copied")
    found = collected(order=lambda each: [RecordedRun.open(runs / "copied"), *each])
    assert cell(found, "fast")["ours"] == cell(wanted, "fast")["ours"]


def test_a_missing_seed_is_marked_and_nothing_is_judged_without_it(runs: Path) -> None:
    shutil.rmtree(runs / run_of(collected(), "fast", 1))
    found = collected()
    assert cell(found, "fast")["verdict"] == "not judged"
    assert cell(found, "fast")["reason"] == "1 of 3 missing"
    assert cell(found, "fast")["ours"]["n"] == 2
    assert cell(found, "slow")["ours"]["n"] == 3
    assert found["claims"][0] == {**found["claims"][0], "verdict": "not shown", "reason": "1 of 3 missing"}


def test_a_diverged_and_an_unfinished_run_are_marked_and_not_averaged(runs: Path) -> None:
    before = collected()
    diverged, unfinished = (runs / run_of(before, "fast", seed) / "result.json" for seed in (0, 1))
    diverged.write_text(json.dumps({"status": "diverged", "diverged_at": 7, "tensor": "loss", "test": None}))
    unfinished.unlink()
    found = cell(collected(), "fast")
    assert found["verdict"] == "not judged"
    assert found["reason"] == "1 of 3 diverged at update 7; 1 of 3 unfinished"
    assert found["ours"] == {"mean": cell(before, "fast")["seeds"][2]["value"], "sd": None, "n": 1}


def test_a_run_of_another_version_of_the_code_is_marked_and_not_averaged(runs: Path) -> None:
    before = collected()
    rewrite(runs / run_of(before, "fast", 2) / "meta.json", code="0" * 64)
    found = collected()
    assert cell(found, "fast")["reason"] == "1 of 3 by other code"
    assert cell(found, "fast")["ours"]["n"] == 2
    assert found["code"]["0" * 12] == 1
    again = "The same command with --rows fast fresh=true trains them again, by the present code."
    assert FILES["md"](found).replace("\\", "").count(again) == 1
    assert "fresh=true" not in FILES["md"](before)
    assert cell(found, "slow")["verdict"] != "not judged"
    # The version is that of the most runs, and not that of the program that collects.
    for path in runs.glob("*/meta.json"):
        rewrite(path, code="1" * 64)
    assert {each["verdict"] for row in collected()["rows"] for each in row["cells"]} >= {"differs"}


def test_a_run_of_another_version_of_a_plug_in_is_marked_and_rows_without_it_are_not(runs: Path) -> None:
    before = collected()
    for seed, version in enumerate("aab"):
        rewrite(runs / run_of(before, "fast", seed) / "meta.json", plugins={"mylab": version * 64})
    found = collected()
    assert cell(found, "fast")["reason"] == "1 of 3 by other code"
    assert cell(found, "fast")["ours"]["n"] == 2
    assert cell(found, "slow") == cell(before, "slow")


@pytest.mark.parametrize(
    "other", [{"torch": "1.0"}, {"processor": "Z80"}, {"threads": 7}, {"code": "0" * 12}, {"plugins": "mylab 0"}]
)
def test_a_run_that_went_on_elsewhere_is_marked_and_not_averaged(runs: Path, other: dict[str, Any]) -> None:
    before = collected()
    path = runs / run_of(before, "fast", 2) / "meta.json"
    (segment,) = json.loads(path.read_text())["segments"]
    rewrite(path, segments=[segment, {**segment, "from_step": 3}])
    assert cell(collected(), "fast") == cell(before, "fast"), "one that went on in the same place is like any other"
    rewrite(path, segments=[segment, {**segment, **other}])
    found = collected()
    assert cell(found, "fast")["reason"] == "1 of 3 made on more than one software or hardware"
    assert cell(found, "fast")["ours"]["n"] == 2
    assert found["claims"][0]["verdict"] == "not shown"


def test_processors_of_one_name_are_shown_apart_if_their_model_or_instructions_differ(runs: Path) -> None:
    before = collected()
    assert len(before["hardware"]) == 1
    for seed, other in enumerate([{"cpu": "Maker model 1"}, {"cpu": "Maker model 2"}, {"instructions": "NONE"}]):
        path = runs / run_of(before, "fast", seed) / "meta.json"
        (segment,) = json.loads(path.read_text())["segments"]
        rewrite(path, segments=[{**segment, **other}])
    found = collected()
    assert len(found["hardware"]) == 4
    assert [name for name in found["hardware"] if ", Maker model 2, " in name]
    assert cell(found, "fast")["ours"]["n"] == 3, "seeds of different processors are averaged"


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("meta.json", lambda path: path.unlink(), "damaged (meta.json)"),
        ("meta.json", lambda path: path.write_text("{"), "damaged (meta.json)"),
        ("meta.json", lambda path: rewrite(path, segments="x"), "damaged (meta.json)"),
        ("meta.json", lambda path: rewrite(path, code=None), "by unknown code"),
        (
            "config.yaml",
            lambda path: path.write_text(path.read_text().replace("lr: 0.1", "lr: 0.2")),
            "damaged (config.yaml)",
        ),
        (
            "config.yaml",
            lambda path: path.write_text("budget: 3\nstrategy: [1]\n"),
            "damaged (config.yaml)",
        ),
        ("result.json", lambda path: path.write_text(""), "damaged (result.json)"),
        ("result.json", lambda path: other_digit(path), "damaged (result.json)"),
        ("meta.json", lambda path: other_digit(path), "damaged (meta.json)"),
        ("metrics.jsonl", lambda path: other_digit(path), "damaged (metrics.jsonl)"),
        ("timing.jsonl", lambda path: other_digit(path), "damaged (timing.jsonl)"),
        ("ckpt", lambda path: shutil.rmtree(path), "damaged (ckpt/41)"),
    ],
)
def test_a_run_with_a_damaged_record_is_marked_and_not_averaged(
    runs: Path, name: str, change: Callable[[Path], object], reason: str
) -> None:
    change(runs / run_of(collected(), "fast", 2) / name)
    found = cell(collected(), "fast")
    assert (found["verdict"], found["reason"]) == ("not judged", f"1 of 3 {reason}")
    assert found["ours"]["n"] == 2


def test_runs_without_a_seal_are_averaged_and_counted(runs: Path) -> None:
    before = collected()
    assert before["unsealed"] == 0
    for path in runs.glob("*/result.json"):
        result = json.loads(path.read_text())
        del result["seal"]
        path.write_text(json.dumps(result))
    found = collected()
    assert found["unsealed"] == 6
    assert cell(found, "fast")["ours"] == cell(before, "fast")["ours"]
    assert "Unsealed: 6 runs." in FILES["md"](found)


def test_runs_of_which_nobody_knows_the_code_are_in_no_mean(runs: Path) -> None:
    for path in runs.glob("*/meta.json"):
        rewrite(path, code=None)
    found = collected()
    assert cell(found, "fast")["reason"] == "3 of 3 by unknown code"
    assert cell(found, "fast")["ours"] is None
    assert found["code"] == {"unknown": 6}


def test_numbers_whose_mean_no_float_holds_are_marked(runs: Path) -> None:
    for seed, accuracy in enumerate((1e308, 1e308, 5e199)):
        path = runs / run_of(collected(), "fast", seed) / "result.json"
        rewrite(path, test={"accuracy": accuracy, "loss": 1.0})
    found = collected()
    assert cell(found, "fast")["reason"] == "2 of 3 test.accuracy is 1e+308; 1 of 3 test.accuracy is 5e+199"
    for render in FILES.values():
        render(found)


def test_a_cell_without_numbers_says_so_also_where_nothing_is_comparable(runs: Path) -> None:
    other, before = {**DOCUMENT, "data": "mnist"}, collected()
    for seed in (0, 1):
        shutil.rmtree(runs / run_of(before, "slow", seed))
        (runs / run_of(before, "fast", seed) / "result.json").unlink()
    for row in ("slow", "fast"):
        assert cell(collected(other), row)["reason"] == "printed for mnist, not comparable with digits"
    shutil.rmtree(runs / run_of(before, "slow", 2))
    (runs / run_of(before, "fast", 2) / "result.json").unlink()
    assert cell(collected(other), "slow")["reason"] == "not run"
    assert cell(collected(other), "fast")["reason"] == "3 of 3 unfinished"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": "mnist"}, "printed for mnist, not comparable with digits"),
        ({"grade": "C"}, "secondary source"),
        ({"seeds": [0, 1]}, "n too small to tell (2 of 3 runs)"),
    ],
)
def test_what_cannot_be_compared_is_not_judged(runs: Path, changes: dict[str, Any], reason: str) -> None:
    found = cell(collected({**DOCUMENT, **changes}), "fast")
    assert (found["verdict"], found["reason"]) == ("not judged", reason)
    assert found["ours"] is not None


def test_other_hyper_parameters_are_not_judged_and_another_log_is(runs: Path) -> None:
    table = read_table("tiny", DOCUMENT)
    main(["train", "-m", "--quiet", *table.protocol, "optimizer.lr=0.1", "optimizer.weight_decay=0.1", "seed=0,1,2"])
    for override, reason in (
        ("optimizer.weight_decay=0.1", "other optimizer.weight_decay than published"),
        ("log.steps=7", None),
    ):
        cells = compose_cells(table, ["fast"], table.seeds, ["device=cpu", override])
        assert (
            cell(table_document(table, cells, measured_runs(table, cells, recorded_runs(cells))), "fast")["reason"]
            == reason
        )


def test_a_spread_of_a_secondary_source_is_shown_and_not_judged_with(runs: Path) -> None:
    primary = cell(collected(), "fast")
    document = json.loads(json.dumps(DOCUMENT))
    document["rows"]["fast"]["published"]["accuracy"] = {"printed": "12.00 ± 1.00", "spread_grade": "D"}
    found = cell(collected(document), "fast")
    assert (primary["flags"], found["flags"]) == ([], ["b"])
    assert "[spread D: secondary source]" in FILES["md"](collected(document)).replace("\\", "")


def test_what_follows_the_published_numbers_is_said_beside_ours(runs: Path) -> None:
    document = json.loads(json.dumps(DOCUMENT))

    def said(**changes: Any) -> str:
        found = collected({**document, **changes})
        text = FILES["md"](found)
        (line,) = (each for each in text.splitlines() if each.startswith("Published: "))
        assert "\n\n".join(["Ours: mean ± standard deviation (number of runs).", line]) in text
        assert line.replace("±", r"$\pm$").replace("%", r"\%") in FILES["tex"](found)
        return line.removeprefix("Published: ")

    assert said() == "mean ± standard deviation (5 runs); without ± (5 runs)."
    del document["rows"]["none"]["published"]
    assert said(spread="sem", n=20) == "mean ± standard error of the mean (20 runs)."
    assert said(n=None) == "mean ± standard deviation (number of runs not known)."
    document["rows"]["fast"]["published"]["accuracy"] = {"printed": "12.00 ± 1.00", "n": 3}
    assert said() == "mean ± standard deviation (3 or 5 runs)."
    for row in ("slow", "fast"):
        document["rows"][row]["published"]["accuracy"] = "12.00"
    assert (said(), said(n=1), said(n=None)) == ("mean (5 runs).", "one run.", "mean (number of runs not known).")


def test_a_printed_spread_that_is_too_wide_alone_is_told_from_too_few_seeds(runs: Path) -> None:
    document = json.loads(json.dumps(DOCUMENT))
    document["columns"]["accuracy"]["tolerance"] = 0.1
    mean = cell(collected(), "fast")["ours"]["mean"]
    wide = "interval too wide (no number of seeds would do: the printed spread alone is wider)"
    for spread, words in ((" ± 9.00", wide), ("", "interval too wide (100 seeds would not do)")):
        document["rows"]["fast"]["published"]["accuracy"] = f"{mean:.2f}{spread}"
        assert f"| {words} |" in FILES["md"](collected(document))


def test_files_are_safe_to_open(runs: Path) -> None:
    document = json.loads(json.dumps(DOCUMENT))
    document["rows"]["fast"]["title"] = "=HYPERLINK(1) | <script> $x$ & 5%_"
    document["rows"]["none"]["published"]["accuracy"] = "+9.99"
    document["rows"]["none"]["title"] = "[2pt] \\\\frac | *"
    document["claims"][0]["claim"] = "-2+3+cmd"
    found = collected(document)
    text = {ending: render(found) for ending, render in FILES.items()}
    assert "<script>" not in text["md"]
    assert "\\|" in text["md"]
    assert "\\$x\\$ \\& 5\\%\\_" in text["tex"]
    assert "\x1b" not in "".join(text[ending] for ending in ("md", "tex", "csv"))
    rows = list(csv.reader(io.StringIO(text["csv"])))
    assert all(len(row) == len(rows[0]) for row in rows)
    assert not any(field.startswith(("=", "@")) for row in rows for field in row)
    assert {"'-2+3+cmd", "+9.99"} <= {field for row in rows for field in row}
    empty = [field for row in rows for field in row if not field.strip("'")]
    assert set(empty) == {""}, "what is not there is an empty field"
    assert "\\[2pt] \\\\\\\\frac \\|" in text["md"], "a backslash of the title escapes nothing"
    assert "\n{[}2pt]" in text["tex"], "nothing after the end of a line is taken for its length"
    assert json.loads(text["json"]) == json.loads(json.dumps(found))
