"""The folder on the page "Bring your own" is complete: every file of it is listed and trained with."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Command, in_process
from torch import Tensor

import gradinc

PAGE = Path(__file__).parents[2] / "docs" / "own_parts.md"
FILES = dict(
    re.findall(r"^`mylab/([\w/]+\.py)`\n\n```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
)
SMALL = ("data=rings", "budget.steps=6", "threads=1", "device=cpu", "progress=quiet", "evaluate.epochs=100")
CHOICES = ("model=mynet", "stream=mirrored", "strategy=[largest,sign]", "strategy.window.size=2", "criterion=logistic")
MORE = ("strategy.window.due=doubling", "optimizer=plain", "schedule=halving", "criterion.class_weights=balanced")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        path = Path("mylab", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return in_process(capsys)


def test_a_run_with_every_part_of_the_page(command: Command) -> None:
    assert len(FILES) == 14
    end = command("train", "--with", "mylab", *SMALL, *CHOICES, *MORE, "name=mine", "track=table")
    assert (end.code, end.err) == (0, ""), end
    until = time.monotonic() + 60
    while "everything is sent" not in Path("outputs/mine/table.log").read_text() and time.monotonic() < until:
        time.sleep(0.1)
    assert len(Path("outputs/mine/loss.csv").read_text().splitlines()) == 2
    meta = json.loads(Path("outputs/mine/meta.json").read_text())
    assert meta["folders"] == list(meta["plugins"]) == ["mylab"]
    again = command("test", "--with", "mylab", "outputs/mine")
    assert (again.code, again.err) == (0, "")
    images = ("data=digits", "model=mynet", "data.augment=[flip,dim]", "metrics=[worst_class]", "name=images")
    assert command("train", "--with", "mylab", *SMALL, *images).code == 0
    assert "worst_class" in json.loads(Path("outputs/images/result.json").read_text())["test"]
    memory = ("stream=mirrored", "model=linear", "strategy=guarded", "name=memory", "log.steps=1")
    assert command("train", "--with", "mylab", *SMALL, *memory).code == 0
    assert json.loads(Path("outputs/memory/result.json").read_text())["kept_bytes"] > 0
    assert '"raised"' in Path("outputs/memory/metrics.jsonl").read_text()
    listed = command("list", "--with", "mylab").out
    for word in (
        "dim",
        "worst_class",
        "doubling",
        "logistic",
        "plain",
        "halving",
        "largest",
        "sign",
        "guarded",
        "table",
    ):
        assert f"\n  {word} " in listed
    gradinc.use()


def test_the_stream_that_draws_rotates_by_the_angles_of_its_law(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    angles: list[float] = []

    def note(angle: float, *rest: object) -> Callable[[Tensor], Tensor]:
        angles.append(angle)
        return lambda x: x

    def drawn(*words: str) -> list[float]:
        angles.clear()
        end = command("train", "--with", "mylab", *SMALL[1:], "data=digits", "model=linear", "stream=jittered", *words)
        assert (end.code, end.err) == (0, ""), end
        return angles[:5]

    monkeypatch.setattr("gradinc.data.streams.rotated.rotation", note)
    one = drawn("name=one")
    assert all(10 * task <= angle < 10 * task + 10 for task, angle in enumerate(one))
    assert len({angle % 10 for angle in one}) == 5
    assert drawn("name=again") == one != drawn("name=other", "stream.seed=1")
    assert drawn("name=exact", "stream.jitter=0") == [0, 10, 20, 30, 40]
    gradinc.use()


def test_a_criterion_that_returns_a_mean_is_refused_before_anything_is_created(command: Command) -> None:
    path = Path("mylab/criteria/logistic.py")
    path.write_text(path.read_text().replace(".mean(1)", ".mean()"))
    words = ("train", "--with", "mylab", *SMALL, "model=linear", "criterion=logistic")
    line = (
        "mylab/criteria/logistic.py: criterion logistic: returns the shape () for two rows, not the loss of each row."
    )
    assert command(*words).err.startswith(line)
    path.write_text(path.read_text().replace("F.one_hot(y, ", "F.one_hot(missing, "))
    gradinc.use()
    assert "fails for two rows of labels (NameError: name 'missing' is not defined)" in command(*words).err
    assert not Path("outputs").exists()
    gradinc.use()
