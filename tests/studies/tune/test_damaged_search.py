"""P16 for searches: what stands in a search's folder is told in one line, and nothing is written elsewhere or lost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradinc.base.errors import UserError
from gradinc.config.compose import load_config
from gradinc.records.seal import seal
from gradinc.records.search import found_by
from gradinc.studies.tune.space import Space
from gradinc.studies.tune.study import Search

SPACE = Space(space={"optimizer.lr": [0.1, 0.2]}, trials=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a search that was killed when it had told of its last trial and not yet written what it found."""
    search = Search(SPACE, tmp_path / "rates", 0, [], [])
    for score in (0.5, 0.75):
        trial = search.study.ask()
        SPACE.values(trial)
        search.study.tell(trial, score)
    search.close()
    return tmp_path / "rates"


def reopened(folder: Path) -> Search:
    search = Search(SPACE, folder, 0, [], [])
    search.close()
    return search


def refusal(folder: Path) -> str:
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file() and not path.is_symlink()}
    with pytest.raises(UserError) as refused:
        reopened(folder)
    assert {path: path.read_bytes() for path in before} == before
    return str(refused.value).replace(str(folder), "rates")


def test_what_was_found_is_written_by_the_next_start(folder: Path) -> None:
    assert "best" not in json.loads((folder / "tune.json").read_text())
    reopened(folder).run(1, None, print)  # type: ignore[arg-type]  # there is no trial left that could be stopped
    assert json.loads((folder / "tune.json").read_text())["best"]["score"] == 0.75
    written = (folder / "tune.json").stat().st_mtime_ns
    reopened(folder).run(1, None, print)  # type: ignore[arg-type]
    assert (folder / "tune.json").stat().st_mtime_ns == written


@pytest.mark.parametrize("name", ["journal.log", "tune.json", ".lock"])
def test_a_link_is_not_written_through(folder: Path, name: str) -> None:
    elsewhere = (folder / name).rename(folder.parent / "elsewhere")
    content = elsewhere.read_bytes()
    (folder / name).symlink_to(elsewhere)
    assert refusal(folder) == (
        f"rates/{name}: is a link, where a search writes. Replace it by the file itself, or use another --name."
    )
    assert elsewhere.read_bytes() == content


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a pipe", "a directory"])
@pytest.mark.parametrize("name", ["journal.log", "tune.json", ".lock"])
def test_what_is_no_file_is_not_waited_for(folder: Path, name: str, make: Callable[[Path], None]) -> None:
    (folder / name).unlink()
    make(folder / name)
    line = f"rates/{name}: is not a plain file, where a search writes. Remove it, or use another --name."
    assert refusal(folder) == line


def other_line(change: Callable[[dict[str, Any]], Any]) -> Callable[[list[bytes]], list[bytes]]:
    """Another second line: that of the first trial's begin."""

    def changed(lines: list[bytes]) -> list[bytes]:
        line = json.loads(lines[1])
        change(line)
        return [lines[0], json.dumps(line).encode(), *lines[2:]]

    return changed


JOURNALS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "no JSON": (lambda lines: [lines[0], b"{", *lines[2:]], "line 2"),
    "not text": (lambda lines: [lines[0], b"\xff", *lines[2:]], "line 2"),
    "nested deeply": (lambda lines: [b"[" * 100_000, *lines[1:]], "line 1"),
    "a list": (lambda lines: [b"[]", *lines[1:]], "line 1"),
    "another code": (other_line(lambda line: line.update(op_code=77)), "in Optuna"),
    "no code": (other_line(lambda line: line.pop("op_code")), "in Optuna"),
}


@pytest.mark.parametrize("name", JOURNALS)
def test_a_damaged_journal_is_told_with_the_fix(folder: Path, name: str) -> None:
    change, where = JOURNALS[name]
    journal = folder / "journal.log"
    journal.write_bytes(b"\n".join(change(journal.read_bytes().splitlines())) + b"\n")
    line = refusal(folder)
    assert line.startswith("rates/journal.log: is damaged (")
    assert where in line.partition(")")[0]
    assert line.endswith("Remove it: the same command then repeats the trials, and finished runs stay.")
    journal.unlink()
    assert reopened(folder).ended() == []


@pytest.mark.parametrize("end", [b"{", b"{\n", bytes(4096), b"\0\n"])
def test_a_last_line_that_was_not_written_to_its_end_is_cut_off(folder: Path, end: bytes) -> None:
    journal = folder / "journal.log"
    whole = journal.read_bytes()
    journal.write_bytes(whole + end)
    assert len(reopened(folder).ended()) == 2
    assert journal.read_bytes().startswith(whole)
    assert len(reopened(folder).ended()) == 2


@pytest.mark.parametrize("content", ["", "[]", '{"search": 5}', "[" * 100_000, None])
def test_a_search_whose_record_is_gone_is_refused(folder: Path, content: str | None) -> None:
    (folder / "tune.json").unlink() if content is None else (folder / "tune.json").write_text(content)
    assert refusal(folder) == (
        "rates/tune.json: is missing or damaged, so that the searched values are not known. "
        "Restore it, or use another --name."
    )


def test_a_record_with_a_key_more_is_of_another_search(folder: Path) -> None:
    record = json.loads((folder / "tune.json").read_text())
    record["search"]["unheard_of"] = 1
    (folder / "tune.json").write_text(json.dumps(seal(record, folder)))
    assert refusal(folder) == "rates: holds a search with another unheard_of. Use another --name."


def other_score(path: Path) -> None:
    """Another digit in the score of the first trial."""
    text = path.read_text()
    assert "0.5" in text
    path.write_text(text.replace("0.5", "0.9", 1))


@pytest.fixture
def ended(folder: Path) -> Path:
    """The same search after its end."""
    reopened(folder).run(1, None, print)  # type: ignore[arg-type]
    return folder


def test_another_digit_in_the_journal_is_found(ended: Path) -> None:
    assert reopened(ended).best().value == 0.75
    other_score(ended / "journal.log")
    assert refusal(ended) == (
        "rates/journal.log: is damaged (it was changed after it was sealed). "
        "Remove it: the same command then repeats the trials, and finished runs stay."
    )
    (ended / "journal.log").unlink()
    assert reopened(ended).ended() == []
    assert "best" not in json.loads((ended / "tune.json").read_text())


def test_a_journal_is_sealed_after_every_trial(folder: Path) -> None:
    search = Search(SPACE, folder, 0, [], [])
    search.seal_journal()
    search.close()
    assert "best" not in json.loads((folder / "tune.json").read_text()), "the search has not ended"
    whole = (folder / "journal.log").read_bytes()
    assert len(reopened(folder).ended()) == 2, "it may grow"
    other_score(folder / "journal.log")
    assert "changed after it was sealed" in refusal(folder)
    (folder / "journal.log").write_bytes(whole[:-3])
    assert "changed after it was sealed" in refusal(folder)


def test_another_digit_in_what_was_found_vouches_for_nothing_and_is_fixed(ended: Path) -> None:
    whole = json.loads((ended / "tune.json").read_text())
    rate = whole["best"]["values"]["optimizer.lr"]
    words = ["model=linear", f"optimizer.lr={rate}", f"search={ended}"]
    assert (found_by(load_config(words)) or {})["score"] == 0.75
    other_score(ended / "tune.json")
    with pytest.raises(UserError, match=r"tune\.json: was changed after it was sealed\. Run the search's "):
        found_by(load_config(words))
    reopened(ended).run(1, None, print)  # type: ignore[arg-type]
    fixed = json.loads((ended / "tune.json").read_text())
    assert {**fixed, "seal": None} == {**whole, "seal": None}
    assert (found_by(load_config(words)) or {})["score"] == 0.75


def test_a_search_without_a_seal_goes_on_as_before(ended: Path) -> None:
    record = json.loads((ended / "tune.json").read_text())
    del record["seal"]
    (ended / "tune.json").write_text(json.dumps(record))
    rate = record["best"]["values"]["optimizer.lr"]
    assert found_by(load_config(["model=linear", f"optimizer.lr={rate}", f"search={ended}"])) is not None
    reopened(ended).run(1, None, print)  # type: ignore[arg-type]
    assert "seal" in json.loads((ended / "tune.json").read_text())


FOUND = {"score": 0.9, "values": {"optimizer.lr": 0.1}}
TASKS = {"judged_by": {"mode": "first-tasks", "what": "x"}, "best": {**FOUND, "scored_tasks": 3}}


@pytest.mark.parametrize(
    "changes",
    [
        {"judged_by": 5},
        {"judged_by": {"mode": "none", "what": "x"}},
        {"best": []},
        {"best": {**FOUND, "values": {}}},
        {"best": {**FOUND, "score": "x"}},
        {"trials": 5},
        {"trials": [5]},
        {**TASKS, "best": FOUND},
        {**TASKS, "best": {**FOUND, "scored_tasks": "3"}},
    ],
    ids=str,
)
def test_a_record_that_is_none_vouches_for_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    record = {"judged_by": {"mode": "validation", "what": "x"}, "best": FOUND, "trials": [{"score": 0.9}]}
    words = ["model=linear", "optimizer.lr=0.1", f"search={tmp_path}"]
    (tmp_path / "tune.json").write_text(json.dumps(record))
    assert found_by(load_config(words)) is not None
    (tmp_path / "tune.json").write_text(json.dumps({**record, **changes}))
    with pytest.raises(UserError, match=r"tune\.json: is damaged\. Run the search's gradinc tune again"):
        found_by(load_config(words))
