"""The weights of a run, loaded in a process that cannot import gradinc by the lines of its model card."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradinc as package

WITHOUT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "gradinc":
            raise ImportError("gradinc is not here")
sys.meta_path.insert(0, Blocker())
"""


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_the_lines_of_the_card_give_the_predictions_of_the_run(gradinc: Any, empty: Path, model: str) -> None:
    words = [f"model={model}", "budget.steps=20", "budget.epochs=null", "threads=1", "name=small"]
    assert gradinc("train", *words).code == 0
    outcome = gradinc("export", "outputs/small", "--safetensors", "out")
    assert (outcome.code, outcome.err) == (0, "")
    card = Path("out/README.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert block is not None
    assert block[1].count("\n") <= 10
    rows = np.random.default_rng(0).integers(0, 17, size=(5, 1, 8, 8)).astype(np.float32)
    np.save("out/rows.npy", rows)
    lines = re.sub(
        r"x = torch\.zeros\(.*?\)  # .*\n", 'x = torch.tensor(__import__("numpy").load("rows.npy"))\n', block[1]
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", WITHOUT + lines]
    done = subprocess.run(command, cwd="out", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wanted = package.load("outputs/small").predict(rows.astype(np.uint8)).tolist()
    assert [int(digit) for digit in re.findall(r"\d+", done.stdout)] == wanted
    blocked = subprocess.run([sys.executable, "-c", WITHOUT + "import gradinc"], capture_output=True, check=False)
    assert blocked.returncode == 1, "the process of the test could have imported gradinc"
    document = json.loads(Path("out/config.json").read_text(encoding="utf-8"))
    assert document["config"]["model"]["name"] == model
    assert document["data"]["digest"] in card
    assert f"{100 * document['result']['test']['accuracy']:.2f} %" in card


def test_bad_input_is_one_line_and_nothing_is_written(gradinc: Any, written: Any, empty: Path) -> None:
    written("a")
    written("b")
    (empty / "mine").mkdir()
    (empty / "mine" / "notes.txt").write_text("mine")
    several = gradinc("export", "a", "b", "--safetensors", "out")
    assert (several.code, several.err.count("\n")) == (2, 1)
    assert not Path("out").exists()
    nothing = gradinc("export", "a")
    assert nothing.code == 2
    assert "needs --tensorboard DIR, --track NAME or --safetensors DIR" in nothing.err
