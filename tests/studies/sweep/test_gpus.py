"""Workers on one machine share its GPUs out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from planted_sweeps import TINY, Sweeps

from gradinc.studies.sweep.gpus import dealt, gpus

LISTED = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-11111111-aaaa-bbbb-cccc-000000000000)
  MIG 1g.10gb     Device  0: (UUID: MIG-22222222-aaaa-bbbb-cccc-000000000000)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-33333333-aaaa-bbbb-cccc-000000000000)
"""


@pytest.mark.parametrize(
    ("chosen", "found"),
    [("2,5", ["2", "5"]), ("", []), ("-1", []), ("0,-1,1", ["0"]), (" GPU-a , GPU-b", ["GPU-a", "GPU-b"])],
)
def test_the_gpus_are_those_that_the_environment_allows(
    monkeypatch: pytest.MonkeyPatch, chosen: str, found: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert gpus() == found


def test_the_driver_says_which_there_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []
    tool = tmp_path / "nvidia-smi"
    for script, count in ((f"cat <<'END'\n{LISTED}END", 2), ("echo 'NVIDIA-SMI has failed'; exit 9", 0)):
        tool.write_text(f"#!/bin/sh\nPATH=/bin:/usr/bin\n{script}\n")
        tool.chmod(0o755)
        assert len(gpus()) == count
    tool.write_text("no program")
    assert gpus() == []


def test_a_worker_sees_one_of_several_unless_jobs_ask_for_one_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    first, second = {"CUDA_VISIBLE_DEVICES": "4"}, {"CUDA_VISIBLE_DEVICES": "7"}
    assert dealt(3, ["auto", "cpu"]) == [first, second, first]
    assert dealt(2, ["cuda", "cuda:1"]) == [{}, {}]
    assert dealt(2, ["cpu"]) == [{}, {}]
    assert dealt(1, ["cuda"]) == [{}], "one job at a time has them all, as a run alone has"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    assert dealt(2, ["cuda"]) == [{}, {}]


def test_jobs_of_a_sweep_are_spread_over_them(sweeps: Callable[..., Sweeps]) -> None:
    here = sweeps()
    here.environment["CUDA_VISIBLE_DEVICES"] = "6,7"  # where there is no such GPU, jobs run on the processor
    words = ("strategy=planted", "strategy.methods.planted.how=gpu", "seed=0,1,2,3", "n_jobs=2")
    assert here.run("train", "-m", *TINY, *words)[0] == 0
    assert {path.name for path in here.folder.glob("gpu.*")} == {"gpu.6", "gpu.7"}
