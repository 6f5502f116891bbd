"""The file that says for which grid a sweep's folder was made can be lost: the names of its runs say it too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradinc.base.errors import UserError
from gradinc.config.compose import Job, compose_jobs
from gradinc.records.seal import seal
from gradinc.studies.sweep.grid import check_grid, write_grid

COMMAND = ("model=linear", "name=rates")


def jobs(*words: str) -> list[Job]:
    return compose_jobs([*COMMAND, *words], multirun=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a sweep over two rates, of which the second has not started."""
    monkeypatch.chdir(tmp_path)
    begun = jobs("optimizer.lr=0.1,0.2")
    folder = Path("outputs/rates")
    write_grid(folder, begun, "gradinc train -m …")
    begun[0].directory.mkdir()
    (begun[0].directory / "config.yaml").touch()
    return folder


DAMAGES = [
    None,
    "",
    "{",
    "[]",
    '{"grid": 5, "runs": []}',
    '{"grid": {"seed": 1}, "runs": []}',
    '{"grid": {}, "runs": [1]}',
]


@pytest.mark.parametrize("content", DAMAGES)
def test_a_grid_that_is_lost_is_written_again_by_the_same_command(folder: Path, content: str | None) -> None:
    file = folder / "sweep.json"
    whole = file.read_text()
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(UserError, match=r"sweep\.json: is missing or damaged, and there are runs of another grid"):
        check_grid(folder, jobs("optimizer.lr=0.3,0.4"))
    same = jobs("optimizer.lr=0.1,0.2")
    check_grid(folder, same)
    write_grid(folder, same, "gradinc train -m …")
    assert file.read_text() == whole


def test_a_value_that_was_changed_in_the_file_alone_keeps_nobody_out(folder: Path) -> None:
    file = folder / "sweep.json"
    file.write_text(file.read_text().replace("optimizer.lr", "optimizer.lq"))
    check_grid(folder, jobs("optimizer.lr=0.1,0.2"))
    write_grid(folder, jobs("optimizer.lr=0.1,0.2"), "what was changed is written again")
    assert "optimizer.lr" in file.read_text()
    record = json.loads(file.read_text().replace("optimizer.lr", "optimizer.lq"))
    file.write_text(json.dumps(seal(record, folder)))
    check_grid(folder, jobs("optimizer.lr=0.1,0.2"))
    with pytest.raises(UserError, match=r"^outputs/rates: was started with "):
        check_grid(folder, jobs("optimizer.lr=0.1,0.3"))


def test_a_folder_of_something_else_is_left_alone(folder: Path) -> None:
    (folder / "sweep.json").unlink()
    for path in folder.iterdir():
        (path / "config.yaml").rename(path / "mine")
        path.rename(folder / "mine")
    with pytest.raises(UserError, match=r"^outputs/rates: is not the folder of a sweep\."):
        check_grid(folder, jobs("optimizer.lr=0.1,0.2"))


def test_the_file_says_what_the_grid_was(folder: Path) -> None:
    record = json.loads((folder / "sweep.json").read_text())
    assert record["grid"]["optimizer.lr"] == [0.1, 0.2]
    assert len(record["runs"]) == 2


def test_a_grid_can_be_extended_by_seeds_and_keeps_what_it_was(folder: Path) -> None:
    more = jobs("optimizer.lr=0.1,0.2", "seed=0,1")
    check_grid(folder, more)
    write_grid(folder, more, "gradinc train -m …")
    fewer = jobs("optimizer.lr=0.1,0.2")
    check_grid(folder, fewer)
    write_grid(folder, fewer, "a part of the grid changes nothing")
    record = json.loads((folder / "sweep.json").read_text())
    assert (record["grid"]["seed"], len(record["runs"])) == ([0, 1], 4)
    with pytest.raises(UserError, match=r"^outputs/rates: was started with seed=0,1, now seed=2"):
        check_grid(folder, jobs("optimizer.lr=0.1,0.2", "seed=2"))
