"""docs/strategies.md and docs/incremental.md say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gradinc.config import catalog, groups
from gradinc.config.compose import load_config
from gradinc.core.criterion import CrossEntropy
from gradinc.data.batch import Batch
from gradinc.runs.build import Shape, build_learner, build_model

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
STREAMS = (ROOT / "docs" / "incremental.md").read_text(encoding="utf-8")
ROWS = [[cell.strip(" `|") for cell in line.split(" | ")] for line in PAGE.splitlines() if line.startswith("| [")]
NEUTRAL = {re.findall(r"\[(\w+)\]", row[0])[0]: (row[4], row[6]) for row in ROWS if row[4] != "–"}
SMALL = ["data=digits", "model=mlp", "model.width=12", "model.depth=1"]


def test_the_tables_are_up_to_date():
    done = subprocess.run([sys.executable, ROOT / "scripts" / "strategies_table", "--check"], capture_output=True)
    assert done.returncode == 0, "run scripts/strategies_table: " + done.stderr.decode()


def test_every_rule_and_every_due_has_its_row():
    assert {part.name for part in catalog.parts("rule")} <= {row[0][1:].partition("]")[0] for row in ROWS}
    assert {part.name for part in catalog.parts("due")} == set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))


def test_every_method_has_its_row_on_one_of_the_pages():
    rows = set(re.findall(r"^\| \[(\w+)\]\(\.\./gradinc/methods", PAGE + STREAMS, re.MULTILINE))
    attacks = {choice.name for choice in groups.choices("strategy") if choice.purpose == "attacks"}
    assert rows == {part.name for part in catalog.parts("method")} - attacks, "which are on the page of attacks"


def weights(*overrides: str) -> torch.Tensor:
    """After six ragged windows of a small model in float64."""
    config = load_config([*SMALL, "dtype=float64", "optimizer.lr=0.1", *overrides])
    learner = build_learner(config, build_model(config, Shape((64,), 10), torch.device("cpu")), CrossEntropy(), 64)
    for method in learner.methods:
        method.begin(None, learner)
    random = torch.Generator().manual_seed(0)
    sizes = [8, 8, 5, 3][: config.strategy.window.size]
    for _ in range(6):
        learner.open(float(sum(sizes)), len(sizes))
        for size in sizes:
            x = 5 * torch.randn(size, 64, generator=random, dtype=torch.float64)
            learner.take(Batch(x, torch.randint(0, 10, (size,), generator=random), 0, float(size)))
        learner.update()
    return learner.weights.value


@pytest.mark.parametrize("name", NEUTRAL)
def test_the_neutral_setting_is_plain_accumulation(name):
    setting, command = NEUTRAL[name]
    size = "strategy.window.size=" + ("1" if setting == "size=1" else "4")
    section = "strategy.window" if name in {part.name for part in catalog.parts("rule")} else "strategy.methods"
    neutral = weights(command, size, *([] if setting == "size=1" else [f"{section}.{name}.{setting}"]))
    plain = weights(size)
    assert float((neutral - plain).norm() / plain.norm()) < 1e-12
    usual = weights(command, "strategy.window.size=4")
    assert float((usual - weights("strategy.window.size=4")).norm() / plain.norm()) > 1e-6
