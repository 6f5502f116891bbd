"""Where a run computes: what is fixed before the first number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COUNTED = """
import torch
from gradinc.runs.device import flush_denormals
torch.set_num_threads(2)
if {flushed}:
    assert flush_denormals()
small = torch.full((4_000_000,), 2e-38) * 0.1
print(int((small.view(torch.int32) != 0).sum()))
"""


@pytest.mark.parametrize(("flushed", "left"), [(True, 0), (False, 4_000_000)])
def test_denormal_numbers_are_0_in_every_thread_of_a_process_that_flushes_them(flushed: bool, left: int) -> None:
    script = COUNTED.format(flushed=flushed)
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(out) == left


def test_a_run_flushes_them_and_says_so(tmp_path: Path) -> None:
    script = """
import sys, torch
from gradinc.cli.main import main
assert float(torch.tensor(2e-38) * 0.1) > 0
assert main(["train", "model=linear", "budget.steps=2", "progress=quiet", "name=mine", f"output={sys.argv[1]}"]) == 0
assert float(torch.tensor(2e-38) * 0.1) == 0
from pathlib import Path
from gradinc.records.schemas import read_meta
print(read_meta(Path(sys.argv[1]) / "mine" / "meta.json")["segments"][0]["denormals"])
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "flushed\n"), done.stderr
