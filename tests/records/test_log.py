"""A finished run's log that cannot be read to its end is told of: no curve or number of it is taken for a whole one."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from gradinc.records.recorded import RecordedRun
from gradinc.studies.tables.quantities import NoValue, read_quantity


def flipped(content: bytes) -> bytes:
    """One bit of a bracket in the middle."""
    middle = content.index(b"{", len(content) // 2)
    return content[:middle] + b"z" + content[middle + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "zeros at the end": lambda content: content[: len(content) // 2] + bytes(len(content) // 2),
    "a bit in the middle": flipped,
    "something else": lambda content: b"\xff\xfe" * 40,
    "nested deeply": lambda content: b"[" * 100_000,
    "the beginning of another": lambda content: content[: content.index(b'{"step": 82')],
}
OF_A_LOG = ("best_validation", "final_loss", "rising_losses", {"updates_to": {"accuracy": 0.1}}, "loss_gap")


@pytest.mark.parametrize("name", DAMAGES)
def test_a_log_that_ends_early_gives_no_numbers(gradinc: Any, written: Any, empty: Path, name: str) -> None:
    def report() -> str:
        assert gradinc("report", "a", "--out", "page.html").code == 0
        return (empty / "page.md").read_text()

    path = written("a")
    for quantity in OF_A_LOG:
        read_quantity(quantity, "quantity").read(RecordedRun.open(path))
    assert "damaged" not in report()
    log = path / "metrics.jsonl"
    log.write_bytes(DAMAGES[name](log.read_bytes()))
    for quantity in OF_A_LOG:
        with pytest.raises(NoValue, match=r"metrics\.jsonl is damaged"):
            read_quantity(quantity, "quantity").read(RecordedRun.open(path))
    assert read_quantity("test.accuracy", "quantity").read(RecordedRun.open(path)) == 0.9
    assert "The log of a is damaged (metrics.jsonl): curves end at the damage." in report()


def test_a_run_that_is_not_at_its_end_has_a_log_that_is_not(written: Any) -> None:
    path = written("a", status="unfinished")
    log = path / "metrics.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    assert RecordedRun.open(path).log_is_whole
    assert read_quantity("final_loss", "quantity").read(RecordedRun.open(path)) > 0


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_an_export_says_where_the_numbers_end(gradinc: Any, written: Any, empty: Path) -> None:
    log = written("a") / "metrics.jsonl"
    log.write_bytes(DAMAGES["half"](log.read_bytes()))
    outcome = gradinc("export", "a", "--tensorboard", "events")
    line = "warning: outputs/a/metrics.jsonl is damaged after line 4. The numbers end there.\n"
    assert (outcome.code, outcome.err.splitlines(keepends=True)[-1]) == (0, line)
