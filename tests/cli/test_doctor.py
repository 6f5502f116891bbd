"""``gradinc doctor`` says what is here, and whether runs can be made."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from gradinc.base.errors import StorageError
from gradinc.studies import doctor


def findings(outcome: Any) -> dict[str, dict[str, str]]:
    return {each["what"]: each for each in json.loads(outcome.out)}


def test_a_machine_that_runs_tests_can_make_runs(gradinc: Any, empty: Path) -> None:
    outcome = gradinc("doctor", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = findings(outcome)
    assert found["torch"] == {"what": "torch", "state": "ok", "found": metadata.version("torch"), "fix": ""}
    assert found["data=digits"]["state"] == "ok"
    assert found["output outputs"]["state"] == "ok"
    assert {"python", "torch and torchvision", "CUDA devices", "CPU cores", "denormal numbers", "Slurm", "ray"} <= set(
        found
    )
    assert list(empty.iterdir()) == []
    plain = gradinc("doctor")
    assert plain.code == 0
    assert all(line.split()[0] in ("ok", "–") for line in plain.out.splitlines())


def test_a_package_that_is_missing_or_too_old_is_wrong(gradinc: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["torch>=99", "numpy>=1", "no-such-package>=1", "pytest>=1; extra == 'dev'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: asked)
    outcome = gradinc("doctor", "--json")
    assert outcome.code == 1
    found = findings(outcome)
    assert found["torch"]["state"] == "wrong"
    assert found["torch"]["fix"] == "pip install 'torch>=99'"
    assert (found["no-such-package"]["state"], found["no-such-package"]["found"]) == ("wrong", "not installed")
    assert found["numpy"]["state"] == "ok"
    assert "pytest" not in found


def test_a_place_that_cannot_be_written_is_wrong(
    gradinc: Any, empty: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (empty / "file").touch()
    outcome = gradinc("doctor", "--json", "--output", "file/outputs")
    assert outcome.code == 1
    assert findings(outcome)["output file/outputs"]["fix"] == "Choose another directory: output=DIR"

    def full(*arguments: object) -> None:
        raise StorageError("x", "cannot be written: No space left on device", "Make room")

    monkeypatch.setattr(doctor, "write_whole", full)
    assert gradinc("doctor").code == 1
    assert list(empty.iterdir()) == [empty / "file"]
