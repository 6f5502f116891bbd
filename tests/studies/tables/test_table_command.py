"""``gradinc table`` from end to end, on real runs."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from command import Command
from idx_files import write_mnist
from small_table import DOCUMENT, write_table

from gradinc.config import groups


def test_it_runs_what_is_missing_and_nothing_twice(gradinc: Command, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "conf", tmp_path / "conf")
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    tiny = ("table", "tiny", "--config-dir", "conf", "device=cpu")
    shutil.rmtree(next((tmp_path / "outputs").glob("*-s2-*")))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "outputs").glob("*/result.json")}
    assert "6 runs, 1 to do" in gradinc("table", "tiny", "-cd", "conf", "device=cpu", "--dry-run").out
    collected = gradinc(*tiny, "--collect")
    assert "1 of 3 missing" in " ".join(collected.out.split())
    assert len(before) == len(list((tmp_path / "outputs").glob("*/result.json"))), "--collect never trains"
    outcome = gradinc("--quiet", *tiny)
    assert outcome.code == 1, "a number differs"
    assert "differs" in outcome.out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list((tmp_path / "outputs").glob("*/result.json"))) == len(before) + 1
    assert sorted(path.suffix for path in (tmp_path / "outputs" / "tables").iterdir()) == [
        ".csv",
        ".json",
        ".md",
        ".pdf",
        ".tex",
    ]
    document = json.loads((tmp_path / "outputs" / "tables" / "tiny.json").read_text())
    wanted = json.loads((trained / "outputs" / "tables" / "tiny.json").read_text())
    for one in (document, wanted):
        one.pop("seconds")
        one.pop("dates")  # midnight may pass between the two
        one["measured"] = {settings: run["numbers"] for settings, run in one["measured"].items()}
        for row in one["rows"]:
            for cell in row["cells"]:
                cell.pop("seconds")
                cell["seeds"] = [each["value"] for each in cell["seeds"]]
    assert document == wanted, "the run that was made again has the same numbers"


def test_files_keep_the_rows_and_seeds_that_a_command_does_not_choose(
    gradinc: Command, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "conf", tmp_path / "conf")
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    files = tmp_path / "outputs" / "tables"
    tiny = ("table", "tiny", "--config-dir", "conf", "device=cpu")
    assert gradinc(*tiny, "--collect").code == 1
    whole = {path: path.read_bytes() for path in files.glob("tiny.[cjmt]*")}
    outcome = gradinc(*tiny, "--rows", "slow", "--seeds", "0")
    assert "fast |" not in outcome.out, "the terminal shows the chosen rows"
    assert {path: path.read_bytes() for path in files.glob("tiny.[cjmt]*")} == whole
    # Other hyper-parameters are another table.
    assert gradinc(*tiny, "--rows", "slow", "--seeds", "0", "optimizer.weight_decay=0.1").code == 0
    changed = json.loads((files / "tiny,optimizer.weight_decay=0.1.json").read_text())
    slow, _, fast, *_ = (cell for row in changed["rows"] for cell in row["cells"])
    assert (slow["reason"], slow["ours"]["n"]) == ("other optimizer.weight_decay than published", 1)
    assert changed["changed"] == {"optimizer.weight_decay=0.1": ["0.0"]}
    assert (fast["reason"], fast["ours"]) == ("not run", None)
    assert {path: path.read_bytes() for path in files.glob("tiny.[cjmt]*")} == whole


def test_every_format_says_what_the_command_line_changed_and_not_where_runs_are_made(
    gradinc: Command, document: dict[str, Any], tmp_path: Path
) -> None:
    document["rows"]["fast"]["overrides"].append("budget.epochs=3")
    write_table(tmp_path / "conf", document)
    files, tiny = tmp_path / "outputs" / "tables", ("table", "tiny", "--config-dir", "conf", "--collect", "--to")
    place = ("data.root=elsewhere", "threads=2", "device=cpu", "budget.epochs=1")
    line = "Changed on the command line: budget.epochs=1 (the table has 3)."
    assert line in " ".join(gradinc(*tiny, str(files), *place).out.split())
    name = "tiny,budget.epochs=1"
    assert {path.name.removesuffix(path.suffix) for path in files.iterdir()} == {name}
    assert json.loads((files / f"{name}.json").read_text())["changed"] == {"budget.epochs=1": ["3"]}
    assert line in (files / f"{name}.md").read_text().replace("\\", "")
    assert (files / f"{name}.tex").read_text().count(line) == 2, "above and below the table"
    gradinc(*tiny, str(files), "budget.epochs=2")
    assert "budget.epochs=2 (the table has 1 or 3)." in (files / "tiny,budget.epochs=2.md").read_text()
    gradinc(*tiny, str(files), *place[:3])
    assert "Changed" not in (files / "tiny.md").read_text() + (files / "tiny.tex").read_text()


def test_the_command_below_a_cell_makes_its_runs(gradinc: Command, trained: Path, tmp_path: Path) -> None:
    document = json.loads((trained / "outputs" / "tables" / "tiny.json").read_text())
    cell = document["rows"][0]["cells"][0]
    words = cell["command"].split()
    assert words[:3] == ["gradinc", "train", "-m"]
    assert gradinc("--quiet", *words[1:]).code == 0
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == sorted(cell["runs"])


def test_a_document_stands_alone_on_standard_output_while_runs_are_made(
    gradinc: Command, document: dict[str, Any], tmp_path: Path
) -> None:
    write_table(tmp_path / "conf", document)
    outcome = gradinc("table", "tiny", "--config-dir", "conf", "--rows", "slow", "--seeds", "0", "device=cpu", "--json")
    assert json.loads(outcome.out)["rows"][0]["cells"][0]["ours"]["n"] == 1
    assert "slow accuracy seed=0" in outcome.err, "what is said while they are made goes elsewhere"


def test_a_copy_of_the_data_elsewhere_is_the_same_data_and_other_data_there_are_not(
    gradinc: Command, document: dict[str, Any], tmp_path: Path
) -> None:
    from sklearn import datasets

    del document["claims"], document["rows"]["fast"], document["rows"]["none"]
    here = Path(datasets.__file__).parent / "data" / "digits.csv.gz"
    rows = gzip.decompress(here.read_bytes())
    (tmp_path / "copy").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "copy" / here.name).write_bytes(here.read_bytes())
    (tmp_path / "other" / here.name).write_bytes(gzip.compress(rows.replace(b"0,0,5,13", b"0,0,5,12", 1)))

    def verdict(root: str) -> str:
        write_table(tmp_path / "conf", document)
        outcome = gradinc("table", "tiny", "--config-dir", "conf", "device=cpu", f"data.root={root}", "--json")
        cell = json.loads(outcome.out)["rows"][0]["cells"][0]
        return cell["reason"] or cell["verdict"]

    judged = ("reproduced", "differs", "interval too wide")
    (tmp_path / "link").symlink_to("copy")
    assert verdict("copy") in judged, "a place is no part of the protocol"
    assert verdict("other") in judged, "the table does not say which data they are"
    meta = json.loads(next((tmp_path / "outputs").glob("*-s0-*/meta.json")).read_text())
    document["digest"] = meta["data"]["digest"]
    for root in ("copy", "link", str(tmp_path / "copy")):
        assert verdict(root) in judged
    assert verdict("other").startswith("other digits data than published (digest ")


def test_a_table_is_found_by_its_name_wherever_its_data_were(
    gradinc: Command, document: dict[str, Any], tmp_path: Path
) -> None:
    document["protocol"][0] = "data=mnist"
    write_table(tmp_path / "conf", document)
    there = f"data.root={write_mnist(tmp_path / 'there')}"
    tiny = ("table", "tiny", "--config-dir", "conf", "device=cpu", "--rows", "slow")
    gradinc(*tiny, there)
    (line,) = (line for line in gradinc("table", "--config-dir", "conf").out.splitlines() if line.startswith("tiny"))
    assert "3 of 6" in line
    assert "3 runs, 0 to do" in gradinc(*tiny, "--dry-run").out
    assert json.loads(gradinc(*tiny, "--collect", "--json").out)["rows"][0]["cells"][0]["ours"]["n"] == 3
    other = write_mnist(tmp_path / "other")
    assert "3 runs, 3 to do" in gradinc(*tiny, f"data.root={other}", "--dry-run").out, "a place that is asked for"
    for run in Path("outputs").glob("mnist-*"):
        (run / "result.json").unlink()
    assert "3 runs, 3 to do" in gradinc(*tiny, "--dry-run").out, "an unfinished run may go on at its own place only"


def test_a_run_that_diverges_is_told_and_is_not_tried_again(
    gradinc: Command, document: dict[str, Any], tmp_path: Path
) -> None:
    document["rows"]["slow"]["overrides"] = ["model=mlp", "optimizer.lr=1e30"]
    write_table(tmp_path / "conf", document)
    tiny = ("table", "tiny", "--config-dir", "conf", "--rows", "slow", "--seeds", "0", "device=cpu")
    outcome = gradinc(*tiny)
    assert outcome.code == 1
    assert "1 of 1 diverged at update" in " ".join(outcome.out.split())
    assert "tries again" not in outcome.out
    assert "1 runs, 0 to do" in gradinc(*tiny, "--dry-run").out
    assert gradinc(*tiny).code == 1, "it is as bad as it was"
    assert gradinc(*tiny, "--collect").code == 1
    assert gradinc("report", "outputs/tables/tiny.json").code == 0
    assert "<title>A table for tests</title>" in (tmp_path / "reports" / "tiny.html").read_text()


def test_a_dry_run_has_a_line_for_each_run_and_for_each_row_that_is_not_built(
    gradinc: Command, document: dict[str, Any], tmp_path: Path
) -> None:
    write_table(tmp_path / "conf", document)
    lines = [line.split() for line in gradinc("table", "tiny", "--config-dir", "conf", "--dry-run").out.splitlines()]
    assert [line[:3] for line in lines[1:8]] == [
        *(["slow", seed, "missing"] for seed in "012"),
        *(["fast", seed, "missing"] for seed in "012"),
        ["none", "–", "method"],
    ]
    assert lines[1][-2:] == ["accuracy,", "steps"]
    assert lines[8][:5] == ["6", "runs,", "6", "to", "do"]


def test_a_table_without_differences_ends_in_0_and_rows_and_seeds_are_chosen(
    gradinc: Command, document: dict[str, Any], tmp_path: Path
) -> None:
    write_table(tmp_path / "conf", document)
    arguments = ("tiny", "--config-dir", "conf", "--rows", "none,slow", "--seeds", "5", "device=cpu")
    outcome = gradinc("--quiet", "table", *arguments, "--to", "files")
    assert outcome.code == 0
    text = " ".join(outcome.out.split())
    reasons = [
        cell["reason"]
        for row in json.loads((tmp_path / "files" / "tiny.json").read_text())["rows"]
        for cell in row["cells"]
    ]
    assert "n too small to tell (1 of 3 runs)" in reasons
    assert "method not built (strategy=pnn)" in reasons
    assert "[red]not red[/] \\x1b]0;" in text, "data are neither markup nor terminal escapes"
    assert len(list((tmp_path / "outputs").glob("digits-linear-*-s5-*"))) == 1
    assert (tmp_path / "files" / "tiny.md").is_file()


def test_tables_are_listed_with_their_cost_and_what_is_done(gradinc: Command, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "conf", tmp_path / "conf")
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    listed = json.loads(gradinc("table", "--config-dir", "conf", "--json").out)
    assert [each["table"] for each in listed] == sorted([*groups.names("table"), "tiny"])
    tiny = next(each for each in listed if each["table"] == "tiny")
    assert tiny == {
        "table": "tiny",
        "title": DOCUMENT["title"],
        "budget": "cpu minutes",
        "cells_built": 4,
        "cells": 6,
        "runs_finished": 6,
        "runs": 6,
    }
    shutil.rmtree(tmp_path / "outputs")
    lines = [line.split() for line in gradinc("table", "--config-dir", "conf").out.splitlines()]
    assert next(line for line in lines if line[0] == "tiny")[1:9] == [
        "cpu",
        "minutes",
        *["4", "of", "6", "0", "of", "6"],
    ]


def test_listing_dry_runs_and_collecting_need_no_torch(trained: Path) -> None:
    program = """
import sys
from gradinc.config import groups
from gradinc.cli.main import main
main(["table", "tiny", "--config-dir", "conf", "--dry-run"])
main(["table", "tiny", "--config-dir", "conf", "--collect", "device=cpu"])
sys.exit("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=trained, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "differs" in done.stdout


def test_a_row_may_have_seeds_of_its_own(gradinc: Command, document: dict[str, Any], tmp_path: Path) -> None:
    document["rows"]["fast"]["seeds"] = [0, 3]
    document["rows"]["slow"]["seeds"] = [3]
    write_table(tmp_path / "conf", document)
    tiny = ("tiny", "--config-dir", "conf", "device=cpu")
    assert "3 runs, 3 to do" in gradinc("table", *tiny, "--dry-run").out
    assert "2 runs, 2 to do" in gradinc("table", *tiny, "--dry-run", "--seeds", "7").out
    listed = json.loads(gradinc("table", "--config-dir", "conf", "--json").out)
    assert next(each for each in listed if each["table"] == "tiny")["runs"] == 3
    gradinc("--quiet", "table", *tiny)
    rows = json.loads((tmp_path / "outputs" / "tables" / "tiny.json").read_text())["rows"]
    assert [[seed["seed"] for seed in row["cells"][0]["seeds"]] for row in rows] == [[3], [0, 3], []]
    listed = json.loads(gradinc("table", "--config-dir", "conf", "--json").out)
    assert next(each for each in listed if each["table"] == "tiny")["runs_finished"] == 3
    claim = json.loads((tmp_path / "outputs" / "tables" / "tiny.json").read_text())["claims"][0]
    assert claim["pairs"] == 1, "a claim compares the seeds that both rows have"


def test_a_list_composes_no_table_whose_plan_is_kept_and_every_one_again_after_a_change(
    gradinc: Command, trained: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    from gradinc.studies.tables import listing

    shutil.copytree(trained / "conf", tmp_path / "conf")
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    (tmp_path / "outputs" / ".plans" / "tiny.json").unlink(missing_ok=True)
    shutil.rmtree(next((tmp_path / "outputs").glob("*-s2-*")))
    composed: list[str] = []
    compose = listing.compose_cells

    def counting(table: Any, *arguments: Any, **more: Any) -> Any:
        composed.append(table.name)
        return compose(table, *arguments, **more)

    monkeypatch.setattr(listing, "compose_cells", counting)

    def listed() -> dict[str, Any]:
        composed.clear()
        found = json.loads(gradinc("table", "--config-dir", "conf", "--json").out)
        return next(each for each in found if each["table"] == "tiny")

    before = listed()
    assert (before["runs_finished"], composed) == (5, ["tiny"])
    gradinc("--quiet", "table", "tiny", "--config-dir", "conf", "device=cpu")
    assert listed() == {**before, "runs_finished": 6}
    assert composed == []
    shutil.rmtree(next((tmp_path / "outputs").glob("*-s2-*")))
    assert (listed()["runs_finished"], composed) == (5, []), "what is finished is looked up each time"

    (tmp_path / "outputs" / ".plans" / "tiny.json").write_text('{"state": 3}')
    assert (listed()["runs_finished"], composed) == (5, ["tiny"])
    gradinc("--quiet", "table", "tiny", "--config-dir", "conf", "device=cpu")
    write_table(tmp_path / "conf", {**DOCUMENT, "seeds": [0, 1]})
    assert (listed()["runs_finished"], composed) == (4, ["tiny"])
