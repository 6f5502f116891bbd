"""A language model's result has two models of counts beside it."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from gradinc.config.compose import load_config
from gradinc.data.dataset import load_dataset
from gradinc.data.stream import open_stream
from gradinc.runs.baselines import baselines

WORDS = ("the cat sat on the mat. ", "a dog ran to the cat! ", "no cat is a dog; ", "the mat is on a dog. ")


def text(path: Path) -> Path:
    for name, first in {"en": 0, "other": 2}.items():
        (path / name).mkdir(parents=True)
        drawn = (WORDS[(first + number * number) % 4] for number in range(120))
        (path / name / "a.txt").write_text("".join(drawn))
    return path


def by_hand(train: list[bytes], test: list[bytes]) -> tuple[float, float]:
    """Bits per byte of rows, the first byte of which has no prediction."""
    pairs = Counter(pair for row in train for pair in pairwise(row))
    single = Counter(byte for row in train for byte in row[1:])
    before = Counter(byte for row in train for byte in row[:-1])
    kinds = Counter(first for first, _ in pairs)
    total = sum(single.values())
    unigram = bigram = 0.0
    count = 0
    for row in test:
        for first, byte in pairwise(row):
            alone = (single[byte] + 1) / (total + 256)
            known = before[first] + kinds[first]
            paired = (pairs[first, byte] + kinds[first] * alone) / known if known else alone
            unigram, bigram, count = unigram - math.log2(alone), bigram - math.log2(paired), count + 1
    return unigram / count, bigram / count


def rows_of(rows: object) -> list[bytes]:
    """The bytes of each row with the last target."""
    found = []
    for x, y in rows.chunks(7):  # type: ignore[attr-defined]
        for row, targets in zip(x.long().tolist(), y.tolist(), strict=True):
            found.append(bytes([each for each in row if each >= 0] + [each for each in targets if each >= 0][-1:]))
    return found


@pytest.mark.parametrize("stream", ["iid", "domains"])
def test_models_of_counts_are_those_that_one_would_count_by_hand(stream: str, tmp_path: Path) -> None:
    words = [f"data.root={text(tmp_path)}", "data=text", "data.length=20", "model=decoder", f"stream={stream}"]
    config = load_config(words)
    opened = open_stream(config, load_dataset(config.data, "cpu", torch.float32))
    found = baselines(opened, "test")
    assert found is not None
    whole = opened.experiences[0].dataset
    tests = [rows_of(opened.part("test", task)) for task in range(opened.tested)]
    assert sum(map(len, tests)) == len(whole.test)
    wanted = [by_hand(rows_of(whole.train), rows) for rows in tests]
    for place, name in enumerate(("unigram", "bigram")):
        mean = sum(each[place] for each in wanted) / len(wanted)
        assert found[name]["bits_per_byte"] == pytest.approx(mean, rel=1e-12)
    assert found["bigram"]["loss"] < found["unigram"]["loss"] < math.log(256)


def test_the_result_of_a_language_model_has_them_and_another_result_does_not(nursery, folder, tmp_path) -> None:
    small = ["model.width=8", "model.depth=1", "budget.steps=1", "name=mine", "progress=plain"]
    end = nursery.run(folder, f"data.root={text(tmp_path)}", "data=text", "model=decoder", *small)
    assert end.code == 0, end.err
    assert "bigram counts" in end.out
    result = json.loads((folder / "outputs" / "mine" / "result.json").read_text())
    assert result["baselines"].keys() == {"unigram", "bigram"}
    config = load_config([])
    assert baselines(open_stream(config, load_dataset(config.data, "cpu", torch.float32)), "test") is None
