"""A table's JSON file stands for its runs: the verdicts follow from it on any machine, without training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Command

TINY = ("table", "tiny", "--config-dir", "conf", "device=cpu")


@pytest.fixture
def file(trained: Path, tmp_path: Path) -> Path:
    """The file of the small table's runs in a folder without the runs."""
    shutil.copytree(trained / "conf", tmp_path / "conf")
    shutil.copy(trained / "outputs" / "tables" / "tiny.json", tmp_path / "earlier.json")
    return tmp_path / "earlier.json"


def edit(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


def runs_of(document: dict[str, Any], row: str) -> list[dict[str, Any]]:
    cell = next(r for r in document["rows"] if r["row"] == row)["cells"][0]
    return [document["measured"][seed["settings"]] for seed in cell["seeds"]]


def verdict(document: dict[str, Any], row: str) -> str:
    return str(next(r for r in document["rows"] if r["row"] == row)["cells"][0]["verdict"])


def test_the_file_alone_gives_the_same_table_and_a_changed_number_another_verdict(
    gradinc: Command, file: Path, trained: Path, tmp_path: Path
) -> None:
    outcome = gradinc(*TINY, "--from", "earlier.json", "--to", "again")
    assert outcome.code == 1, "a number differs"
    for ending in ("md", "csv", "tex", "json"):
        again = (tmp_path / "again" / f"tiny.{ending}").read_bytes()
        assert again == (trained / "outputs" / "tables" / f"tiny.{ending}").read_bytes()
    assert not list((tmp_path / "outputs").glob("digits-*")), "nothing is trained"
    document = json.loads(file.read_text())
    run = runs_of(document, "slow")[0]
    assert set(run["numbers"]) == {"test.accuracy", "steps"}
    assert run["code"]["gradinc"]
    assert run["environment"]["torch"]
    assert run["date"]
    assert run["seconds"] > 0
    edit(file, lambda d: [each["numbers"].update({"test.accuracy": 0.12}) for each in runs_of(d, "fast")])
    changed = json.loads(gradinc(*TINY, "--from", "earlier.json", "--collect", "--json").out)
    assert verdict(document, "fast") == "differs"
    assert verdict(changed, "fast") == "reproduced"


def test_what_the_file_lacks_is_trained_and_other_settings_are_not_taken_from_it(
    gradinc: Command, file: Path, tmp_path: Path
) -> None:
    def take_out(document: dict[str, Any]) -> None:
        cells = next(row for row in document["rows"] if row["row"] == "fast")["cells"]
        del document["measured"][cells[0]["seeds"][2]["settings"]]

    edit(file, take_out)
    edit(file, lambda document: [run.update(seconds=90.0) for run in document["measured"].values()])
    listed = gradinc(*TINY, "--from", "earlier.json", "--dry-run").out
    assert "6 runs, 1 to do" in listed
    assert "expected time: about 1.5 min, one at a time, by 5 runs in the file" in listed
    more = gradinc(*TINY, "--seeds", "2,3,4", "cluster.n_jobs=2", "--from", "earlier.json", "--dry-run").out
    assert "expected time: about 3.8 min, 2 at a time, by 1 run in the file" in more
    assert (
        "expected time: known after the first run (cpu minutes for the whole table)" in gradinc(*TINY, "--dry-run").out
    )
    outcome = gradinc(*TINY, "--from", "earlier.json")
    assert outcome.code == 1
    assert "1 run to do, expected time: about 1.5 min, one at a time, by 5 runs in the file" in outcome.out
    assert (
        "1 run here and 1 run in the file"
        in gradinc(*TINY, "--seeds", "2,3", "--from", "earlier.json", "--dry-run").out
    )
    assert [path.name.split("-")[3] for path in (tmp_path / "outputs").glob("digits-*")] == ["s2"]
    assert "3 runs, 3 to do" in gradinc(*TINY, "optimizer.lr=0.5", "--from", "earlier.json", "--dry-run").out


def test_runs_of_other_code_are_named_and_do_not_share_a_cell(gradinc: Command, file: Path) -> None:
    def other(document: dict[str, Any], seeds: slice) -> None:
        for run in runs_of(document, "fast")[seeds]:
            run["code"]["gradinc"] = "f" * 64

    edit(file, lambda document: other(document, slice(3)))
    outcome = gradinc(*TINY, "--from", "earlier.json", "--collect")
    assert outcome.code == 1, "a whole cell of one code is judged"
    text = " ".join(outcome.out.split())
    assert "Mixed code: ffffffffffff made runs of fast | <b>." in text
    claims = json.loads(gradinc(*TINY, "--from", "earlier.json", "--collect", "--json").out)["claims"]
    assert claims[0]["reason"] == "the sides are by different code"
    edit(file, lambda document: runs_of(document, "fast")[0]["code"].update(gradinc="1" * 64))
    assert "1 of 3 by other code" in " ".join(gradinc(*TINY, "--from", "earlier.json", "--collect").out.split())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "cannot be read as JSON"),
        ("[]", "cannot be read as JSON"),
        ('{"table": "mnist1d", "measured": {}}', "is of table mnist1d, not of tiny"),
        ('{"table": "tiny"}', "has no measured runs"),
        ('{"table": "tiny", "measured": 3}', "measured: "),
        ('{"table": "tiny", "measured": {"0": {"run": 3}}}', "measured.0."),
        ("number", "numbers.steps: "),
        ("huge", "numbers.steps: "),
        ("date", "date: "),
    ],
)
def test_another_file_is_one_line(gradinc: Command, file: Path, content: str, words: str) -> None:
    planted = {
        "number": {"numbers": {"steps": "40"}},
        "huge": {"numbers": {"steps": 1e300}},
        "date": {"date": "\x1b]0;"},
    }
    if content in planted:
        edit(file, lambda document: next(iter(document["measured"].values())).update(planted[content]))
    else:
        file.write_text(content)
    outcome = gradinc(*TINY, "--from", "earlier.json")
    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
    assert outcome.err.rstrip("\n").isprintable()
    assert gradinc(*TINY, "--from", "gone.json").err.startswith("--from gone.json: no such file")
    assert "needs the NAME of a table" in gradinc("table", "--from", "earlier.json").err
