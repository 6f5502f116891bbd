"""Further measures: scikit-learn's numbers, over rows that are measured in chunks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

import gradinc
from gradinc.core.criterion import CrossEntropy
from gradinc.core.metrics.balanced_accuracy import BalancedAccuracy
from gradinc.core.metrics.top5 import Top5
from gradinc.data.rows import TensorRows
from gradinc.runs.evaluate import evaluate

WORDS = ("model=linear", "budget.steps=20", "device=cpu", "progress=quiet")


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_they_are_scikit_learns() -> None:
    torch.manual_seed(0)
    out = torch.randn(1300, 10)
    y = torch.randint(10, (1300,)).clamp(max=7).square() // 7  # uneven, and not every class occurs
    assert CrossEntropy.chunk < len(y) < 3 * CrossEntropy.chunk
    assert 3 < len(y.unique()) < 9
    criterion = CrossEntropy()
    criterion.metrics = {"top5": Top5(), "balanced_accuracy": BalancedAccuracy()}
    found = evaluate(torch.nn.Identity(), TensorRows(out, y), criterion)
    assert found["top5"] == pytest.approx(top_k_accuracy_score(y, out, k=5, labels=range(10)))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, out.argmax(1)))
    assert abs(found["balanced_accuracy"] - found["accuracy"]) > 1e-3


def test_a_run_reports_them_and_is_measured_again_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain = gradinc.train(*WORDS)
    run = gradinc.train(*WORDS, "metrics=[top5,balanced_accuracy]")
    assert set(run.result["test"]) == {"loss", "accuracy", "top5", "balanced_accuracy"} == set(run.result["validation"])
    assert run.result["test"]["top5"] > run.result["test"]["accuracy"]
    assert run.evaluate(device="cpu")["test"] == pytest.approx(run.result["test"], rel=1e-6)
    assert run.result["weights_digest"] == plain.result["weights_digest"]
    tasks = gradinc.train(*WORDS, "metrics=[top5]", "stream=split", "stream.tasks=5")
    assert tasks.result["test"]["top5"] >= tasks.result["test"]["accuracy"]
    for words, line in (
        (("metrics=[top6]",), r"^metrics=\[top6\]: unknown. Did you mean top5\? Choose from: top5"),
        (("metrics=[top5]", "data=diabetes"), r"^metrics=\[top5\]: data=diabetes has values, not classes"),
    ):
        with pytest.raises(gradinc.UserError, match=line):
            gradinc.train(*WORDS, *words)
