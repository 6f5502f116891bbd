"""Notebooks of docs/notebooks: each runs from top to bottom, and its stored texts are those of a fresh run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from website.shown import without_numbers

BOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))

MACHINE_PATH = re.compile(r"(?<![\w.])/\w+/\w|\b[A-Z]:\\")


def texts(book: Any) -> list[list[str]]:
    """The text of each output of each cell; one text for all that the cell printed. Warnings are left out."""
    found = []
    for cell in book.cells:
        outputs = cell.get("outputs", [])
        printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
        found.append([printed, *(output.data["text/plain"] for output in outputs if "data" in output)])
    return found


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_prints_what_it_shows(path, tmp_path, monkeypatch):
    for name in ("JUPYTER_DATA_DIR", "IPYTHONDIR"):  # kernels and settings of the user
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("COLUMNS", raising=False)
    place = tmp_path / "place"
    place.mkdir()
    stored = nbformat.read(path, as_version=4)
    fresh = nbformat.read(path, as_version=4)
    NotebookClient(fresh, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(place)}}).execute()
    for cell, shown, said in zip(stored.cells, texts(stored), texts(fresh), strict=True):
        assert [without_numbers(text) for text in shown] == [without_numbers(text) for text in said], cell.source


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_was_run_in_order_and_shows_nothing_of_a_machine(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert [cell.id for cell in book.cells if cell.metadata] == []
    assert [cell.id for cell in code for output in cell.outputs if output.get("name") == "stderr"] == []
    assert [text for shown in texts(book) for text in shown if MACHINE_PATH.search(text)] == []


def test_there_are_notebooks():
    assert len(BOOKS) == 5


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("accuracy 0.91 in 1.5 s", "accuracy  -3e-05 in 12 s", True),
        ("digits-mlp-s0-76c4b13b", "digits-mlp-s0-12345678", True),
        ("\x1b[1mtitle\x1b[0m", "title", True),
        ("[[0. 1.]\n [nan 0.25]]", "[[0.5 1. ]\n [nan 1.]]", True),
        ("1,040,766 tokens", "12 tokens", True),
        ("Hardware: AMD EPYC, model 1, AVX2, PyTorch 2.1 (9 runs)", "Hardware: Xeon,\nPyTorch 2.2 (1 run)", False),
        ("Hardware: AMD EPYC, model 1, AVX2, PyTorch 2.1 (9 runs)", "Hardware: Xeon,\nPyTorch 2.2 (8 runs)", True),
        ("accuracy 0.91", "loss 0.91", False),
        ("[1, 2]", "[1, 2, 3]", False),
        ("finished", "diverged", False),
        ("[nan 0.25]", "[0.1 0.25]", False),
    ],
)
def test_numbers_may_differ_and_words_may_not(one, other, same):
    assert (without_numbers(one) == without_numbers(other)) is same


@pytest.mark.parametrize(
    ("text", "found"),
    [("in /home/me/outputs", True), (r"C:\outputs", True), ("outputs/tables/a.md", False), ("40 samples/s", False)],
)
def test_a_path_of_a_machine_is_found(text, found):
    assert (MACHINE_PATH.search(text) is not None) is found
