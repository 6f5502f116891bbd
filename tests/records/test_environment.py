"""P7: another instruction set, or a variable that chooses one, is another environment, as another processor is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lives import PACKAGE, Nursery, only_run, snapshot

from gradinc.records import environment
from gradinc.records.environment import changes, cpu, processor, variables
from gradinc.records.schemas import read_json

NETWORK = ("model=cnn", "model.width=4", "model.depth=1", "model.hidden=8", "data.batch_size=200")
RUN = (*NETWORK, "budget.epochs=2", "progress=plain", "name=mine", "checkpoint.seconds=0", "threads=1")
THERE = variables(on_gpu=False)
"""What the machine itself sets, for the processes of the nursery."""

HERE = {name: value for name, value in os.environ.items() if name not in environment.CPU_VARIABLES}


def gradinc(folder: Path, *words: str, **setting: str) -> subprocess.CompletedProcess[str]:
    """A command in a process that chooses its kernels by itself, as a forked one does not."""
    names = {**HERE, "PYTHONPATH": str(PACKAGE.parent), **setting}
    line = [sys.executable, "-m", "gradinc", *words]
    return subprocess.run(line, cwd=folder, env=names, text=True, capture_output=True, check=False)


@pytest.fixture
def killed(nursery: Nursery, folder: Path) -> Path:
    assert nursery.run(folder, *RUN, crash="pruned:5").code == -signal.SIGKILL
    return only_run(folder)


def test_another_instruction_set_is_told_refused_and_recorded(nursery: Nursery, folder: Path, killed: Path) -> None:
    if torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        pytest.skip("this processor has one instruction set only")
    here = torch.backends.cpu.get_cpu_capability()
    before = snapshot(folder)
    told = (
        f"outputs/mine: ran with instructions {here}, now DEFAULT; variables {THERE}, now ATEN_CPU_CAPABILITY=default"
    )
    strict = gradinc(folder, "train", *RUN, "strict=true", ATEN_CPU_CAPABILITY="default")
    assert (strict.returncode, strict.stdout) == (2, "")
    assert strict.stderr == f"{told}, and strict=true. Resume on the machine where it ran, or without strict.\n"
    assert snapshot(folder) == before

    end = gradinc(folder, "train", *RUN, ATEN_CPU_CAPABILITY="default")
    assert (end.returncode, end.stderr) == (0, "")
    (warning,) = [line for line in end.stdout.splitlines() if line.startswith("warning: ")]
    assert warning.startswith("warning: " + told.replace(":", "", 1) + ": the last bits may differ ")
    segments = (read_json(killed / "meta.json") or {})["segments"]
    assert [segment["instructions"] for segment in segments] == [here, "DEFAULT"]
    assert [segment["variables"] for segment in segments] == [THERE, "ATEN_CPU_CAPABILITY=default"]

    verified = nursery.run(folder, "outputs/mine", command="verify")
    assert f"note: instructions was DEFAULT, here {here}: the last bits may differ\n" in verified.out
    assert f"note: variables was ATEN_CPU_CAPABILITY=default, here {THERE}: the last bits may differ\n" in verified.out


def test_a_variable_that_chooses_kernels_is_told(folder: Path, killed: Path) -> None:
    end = gradinc(folder, "train", *RUN, "strict=true", ONEDNN_MAX_CPU_ISA="SSE41", MKL_CBWR="COMPATIBLE")
    assert end.returncode == 2
    told = f"ran with variables {THERE}, now ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE, and strict=true. "
    assert end.stderr.startswith(f"outputs/mine: {told}")


def test_an_older_record_is_gone_on_with_in_silence(nursery: Nursery, folder: Path, killed: Path) -> None:
    meta = read_json(killed / "meta.json") or {}
    for name in environment.YOUNGER_FACTS:
        del meta["segments"][-1][name]
    (killed / "meta.json").write_text(json.dumps(meta))
    end = nursery.run(folder, *RUN, "strict=true")
    assert (end.code, end.err) == (0, "")
    assert "warning" not in end.out
    older, now = (read_json(killed / "meta.json") or {})["segments"]
    assert changes(older, {name: now[name] for name in environment.ENVIRONMENT}) == []


AMD = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: {family}
model\t\t: {model}
model name\t: AMD EPYC
stepping\t: 1
flags\t\t: fpu vme

"""


def test_two_that_give_themselves_one_name_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for family, model in ((25, 17), (26, 2)):
        text = AMD.format(family=family, model=model) * 2
        monkeypatch.setattr("builtins.open", lambda *_, text=text, **__: __import__("io").StringIO(text))
        found.append((processor(), cpu()))
        monkeypatch.undo()
    assert found == [
        ("AMD EPYC", "AuthenticAMD family 25 model 17 stepping 1"),
        ("AMD EPYC", "AuthenticAMD family 26 model 2 stepping 1"),
    ]


def test_variables_of_a_gpu_count_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*environment.CPU_VARIABLES, *environment.CUDA_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    assert variables(on_gpu=True) == "none"
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # PyTorch is told how many, so that it changes nothing
    assert (variables(on_gpu=False), variables(on_gpu=True)) == ("none", "NVIDIA_TF32_OVERRIDE=1")
