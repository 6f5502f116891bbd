"""Runs on text: sharpness and reports work, and what changes pixels is refused in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gradinc.cli.main import main

SMALL = ["threads=1", "progress=quiet", "budget.steps=3", "data.batch_size=8"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on texts with classes, a run on tasks of such texts, and a language model."""
    folder = tmp_path_factory.mktemp("text")
    for number in range(20):
        for name, word in (("greet", "hello"), ("part", "bye"), ("ask", "why"), ("tell", "so")):
            path = folder / "texts" / name / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{word} friend {'again ' * (number % 4)}\n")
    texts = f"data.root={folder / 'texts'}"
    small = [*SMALL, f"output={folder}"]
    classes = ["data=text_folder", "model=text_cnn", "model.width=8", "model.maps=4", texts]
    assert main(["train", *classes, "name=classes", *small]) == 0
    assert main(["train", *classes, "stream=split", "stream.tasks=2", "strategy=er", "name=tasks", *small]) == 0
    language = ["data=text", "data.length=16", "model=decoder", "model.width=8", "model.depth=1", texts]
    assert main(["train", *language, "name=language", *small]) == 0
    return folder


@pytest.mark.parametrize("command", ["attack", "invert"])
@pytest.mark.parametrize("name", ["classes", "tasks", "language"])
def test_attacks_on_pixels_are_refused_in_one_line(
    runs: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    before = sorted(runs.rglob("*"))
    assert main([command, str(runs / name)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    if (command, name) != ("invert", "tasks"):
        assert "has rows of text, not images with classes" in told.err
    assert sorted(runs.rglob("*")) == before


def test_adversarial_training_on_text_is_refused(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["data=text_folder", f"data.root={runs / 'texts'}", "model=text_cnn", "strategy=pgd_at", "name=pgd"]
    assert main(["train", *texts, *SMALL, f"output={runs}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (runs / "pgd").exists()


@pytest.mark.parametrize("name", ["classes", "language"])
def test_sharpness_is_a_number(runs: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["sharpness", str(runs / name), "--rows", "16", "--iterations", "50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sharpness"] > 0
    assert found["rows"] == 16


@pytest.mark.parametrize("name", ["classes", "tasks", "language"])
def test_reports_have_the_numbers_of_the_result(runs: Path, tmp_path: Path, name: str) -> None:
    page = tmp_path / "page.html"
    assert main(["report", str(runs / name), "--out", str(page)]) == 0
    told = page.with_suffix(".md").read_text(encoding="utf-8")
    score = r"^- test: perplexity [1-9]\d*\.?\d*$" if name == "language" else r"^- test: \d+\.\d\d %$"
    assert re.search(score, told, re.MULTILINE)
    assert ("bits per byte" in told) == (name == "language")
    best = re.findall(r"^- best validation: (.*)$", told, re.MULTILINE)
    assert all(("loss" in each) == (name == "language") for each in best)
