"""Numbers that are read from a run's log, against the same numbers from the parts that it was made of."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from gradinc.core.noise_scale import ratios
from gradinc.records.recorded import RecordedRun
from gradinc.studies.tables.quantities import NoValue, read_quantity

ROWS = 32


def logged(folder: Path, parts: list[tuple[float, float]], steps: int = 1) -> RecordedRun:
    """A run whose log is of windows with these estimates of ‖G‖² and tr(Σ), as diagnostics=true writes it."""
    (folder / "config.yaml").write_text(yaml.safe_dump({"log": {"steps": steps}}))
    (folder / "result.json").write_text(json.dumps({"status": "finished"}))
    lines: list[dict[str, Any]] = [{"step": 0, "samples": 0, "validation": {"accuracy": 0.1}}]
    for step, (signal, trace) in enumerate(parts, 1):
        notes = {"noise_trace": trace, "noise_signal": signal, "noise_of_mean": trace / ROWS}
        notes = ratios({**notes, "gradient_norm": (signal + trace / ROWS) ** 0.5})
        finite = {key: None if number == float("inf") else number for key, number in notes.items()}
        lines.append({"step": step, "samples": ROWS * step, "notes": finite})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return RecordedRun.open(folder)


def read(run: RecordedRun, ratio: str) -> float:
    return read_quantity({"gradient_noise": {"ratio": ratio}}, "quantity").read(run)


def test_signal_and_noise_of_a_run_are_sums_and_their_mean_ratio_is_not(tmp_path: Path) -> None:
    random.seed(3)
    # Estimates of signal 1 and noise 64 / 32 = 2, with so much deviation that some are negative.
    parts = [(random.gauss(1, 1.5), random.gauss(64, 60)) for _ in range(4000)]
    parts = [(signal, trace) for signal, trace in parts if signal + trace / ROWS > 0]
    assert min(signal for signal, _ in parts) < 0
    assert min(trace for _, trace in parts) < 0
    run = logged(tmp_path, parts)
    signals, traces = (sum(part) for part in zip(*parts, strict=True))
    assert read(run, "signal_to_noise") == pytest.approx(signals / (traces / ROWS), rel=1e-9)
    assert read(run, "noise_scale") == pytest.approx(traces / signals, rel=1e-9)
    mean = read_quantity({"logged": {"note": "signal_to_noise"}}, "quantity").read(run)
    assert mean != pytest.approx(signals / (traces / ROWS), rel=0.5), "the mean of ratios tells something else"


def test_ratios_that_are_means_of_several_updates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NoValue, match=r"log\.steps=1"):
        read(logged(tmp_path, [(1.0, 64.0)] * 3, steps=10), "signal_to_noise")


def test_a_run_without_diagnostics_or_with_a_damaged_log_has_no_such_number(tmp_path: Path) -> None:
    run = logged(tmp_path, [])
    with pytest.raises(NoValue, match="diagnostics=true"):
        read(run, "signal_to_noise")
    notes = {"gradient_norm": 1.0, "signal_to_noise": -1.0, "noise_scale": -32.0}
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "samples": 32, "notes": notes}) + "\n")
    with pytest.raises(NoValue, match="diagnostics=true"):
        read(RecordedRun.open(tmp_path), "noise_scale")
