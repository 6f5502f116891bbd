"""A stream of languages has its matrices of loss, perplexity and bits per byte, in the record and wherever a run is
shown."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from test_saving import opened, trained

from gradinc.records.logged_rows import all_rows
from gradinc.records.recorded import RecordedRun
from gradinc.studies.tables.quantities import NoValue, read_quantity


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three languages of other letters."""
    root = tmp_path_factory.mktemp("texts")
    for name, word in (("de", "straße "), ("el", "δρόμος "), ("en", "street ")):
        (root / name).mkdir()
        (root / name / "a.txt").write_text(word * 150, encoding="utf-8")
    return root


def words(texts: Path) -> list[str]:
    model = ["model=decoder", "model.width=8", "model.depth=1", "model.heads=2"]
    return ["data=text", f"data.root={texts}", "data.length=16", "stream=domains", *model]


def test_the_matrices_of_bytes_are_one_another_in_other_units_and_outlive_a_restart(
    texts: Path, tmp_path: Path
) -> None:
    options = [*words(texts), "optimizer=adam", "optimizer.lr=0.02", "budget.epochs=6", "data.batch_size=8"]
    run = trained(tmp_path, *options)
    found = run.result()
    loss, perplexity, bits = (found[name] for name in ("loss_matrix", "perplexity_matrix", "bits_per_byte_matrix"))
    assert [[value is None for value in row] for row in loss] == [[False] * 3, [False, False, True]] + [[False] * 3] * 2
    for rows in zip(loss, perplexity, bits, strict=True):
        for nats, power, bit in zip(*rows, strict=True):
            assert (nats is None) == (power is None) == (bit is None)
            if nats is not None:
                assert power == pytest.approx(math.exp(nats))
                assert bit == pytest.approx(nats / math.log(2)), "a token is a byte"
    assert all(bits[j + 1][j] < bits[0][j] for j in range(3)), "each language was learned"
    assert bits[3][1] > bits[2][1], "and the one with its own letters was forgotten"
    assert found["test"]["bits_per_byte"] == pytest.approx(sum(bits[3]) / 3)
    again = opened(tmp_path, *options)
    assert {**again.result(), "seconds": 0} == {**found, "seconds": 0}
    again.close()


def test_words_have_no_bits_per_byte(texts: Path, tmp_path: Path) -> None:
    found = trained(tmp_path, *words(texts), "data.tokenizer=words", "data.vocabulary=all").result()
    assert "bits_per_byte_matrix" not in found, "an unknown word has no size"


def test_a_run_of_languages_is_shown_by_its_perplexity(texts: Path, gradinc: Any, tmp_path: Path) -> None:
    told = gradinc("train", *words(texts), "budget.epochs=1", "progress=plain", "threads=1", f"output={tmp_path}")
    assert told.code == 0
    (place,) = [path.parent for path in tmp_path.glob("*/result.json")]
    result = json.loads((place / "result.json").read_text())
    shown = [line.split() for line in told.out.splitlines() if line.strip().startswith(("untrained ", "after 3"))]
    assert shown == [
        ["untrained", *(f"{value:.4g}" for value in result["perplexity_matrix"][0])],
        ["after", "3", *(f"{value:.4g}" for value in result["perplexity_matrix"][3])],
    ]
    run = RecordedRun.open(place)
    assert [row.values["bits_row/task 1"] for row in all_rows(run) if "bits_row/task 1" in row.values] == [
        row[0] for row in result["bits_per_byte_matrix"]
    ]
    names = {"loss": "loss_matrix", "perplexity": "perplexity_matrix", "bits_per_byte": "bits_per_byte_matrix"}
    for measure, name in names.items():
        quantity = {"matrix_entry": {"matrix": measure, "task": 2}}
        assert read_quantity(quantity, "q").read(run) == result[name][3][1]
    before = {"matrix_entry": {"matrix": "accuracy", "task": 3, "after": 0}}
    assert read_quantity(before, "q").read(run) == result["matrix"][0][2]
    with pytest.raises(NoValue, match="was not measured on task 3 after task 1"):
        read_quantity({"matrix_entry": {"matrix": "loss", "task": 3, "after": 1}}, "q").read(run)
    assert gradinc("report", str(place), "--out", str(tmp_path / "page.html")).code == 0
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "perplexity matrix" in page
    assert "bits per byte matrix" in page
    assert f"{result['bits_per_byte_matrix'][3][1]:.4g}" in page
