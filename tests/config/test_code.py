"""The digest of gradinc's code: results of edited code are marked, unless the edit can change no number."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gradinc.config import catalog, code

NUMBERS = (
    "base/randomness.py",
    "config/schema.py",
    "core/learner.py",
    "data/split.py",
    "dues/size.py",
    "methods/sam.py",
    "models/mlp.py",
    "records/metrics.py",
    "rules/mean.py",
    "runs/loop.py",
)
NO_NUMBERS = (
    "__init__.py",
    "base/text.py",
    "studies/terminal.py",
    "cli/train.py",
    "records/find.py",
    "studies/verify.py",
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, whose digest is taken."""
    copy = tmp_path / "checkout" / "gradinc"
    shutil.copytree(catalog.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(catalog, "PACKAGE", copy)
    return copy


def edit(file: Path) -> None:
    file.write_text(file.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")


def digest() -> str:
    return code.current_digest(catalog.OWN)


@pytest.mark.parametrize("file", NUMBERS)
def test_an_edit_that_can_change_a_number_changes_the_digest(package: Path, file: str) -> None:
    before = digest()
    edit(package / file)
    assert digest() != before


@pytest.mark.parametrize("file", NO_NUMBERS)
def test_an_edit_of_commands_studies_and_reports_leaves_it(package: Path, file: str) -> None:
    before = digest()
    edit(package / file)
    assert digest() == before


def test_a_file_that_is_new_or_renamed_changes_the_digest_where_it_counts(package: Path) -> None:
    before = digest()
    (package / "studies" / "new.py").touch()
    assert digest() == before
    (package / "methods" / "new.py").touch()
    assert digest() != before
    (package / "methods" / "new.py").rename(package / "methods" / "newer.py")
    assert digest() != before


def test_every_folder_counts_wholly_or_not_at_all_but_for_one_file_each(package: Path) -> None:
    """A new folder has to be listed, or shown not to change numbers."""
    folders = {path.name for path in package.iterdir() if path.is_dir()}
    whole = {place for place in code.MAKING if "/" not in place}
    assert all((package / place).exists() for place in code.MAKING)
    assert folders - whole == {"api", "base", "cli", "records", "studies", "trackers"}


def test_a_finished_run_is_marked_after_an_edit_of_a_model_and_not_of_a_help_line(package: Path) -> None:
    checkout = package.parent
    shutil.copytree(Path(__file__).parents[2] / "conf", checkout / "conf")
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    words = ["train", "model=linear", "budget.steps=2", "name=mine", "device=cpu"]

    def train() -> str:
        command = [sys.executable, "-m", "gradinc", *words]
        return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True).stdout

    train()
    edit(package / "cli" / "train_help.py")
    out = train()
    assert "is finished already." in out
    edit(package / "models" / "linear.py")
    assert "is finished already by another version of gradinc's code" in train()
