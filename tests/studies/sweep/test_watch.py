"""The table of a sweep is read on terminals of 80 columns: states, scores and times are never cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gradinc.config.compose import compose_jobs
from gradinc.studies.sweep.shipment import Ending
from gradinc.studies.sweep.watch import Watch

GRID = ["optimizer.lr=0.01,0.1", "seed=0,1,2", "strategy.window.size=1,2,4,8", "schedule.warmup=0,1", "model.width=8"]


def watch(width: int, height: int = 24, *, terminal: bool = True) -> Watch:
    jobs = compose_jobs(GRID, multirun=True)
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=terminal, color_system=None)
    made = Watch(jobs, console, quiet=False, live=True)
    made.ended(0, Ending(1, "what went wrong", seconds=754.0))
    made.ended(1, Ending(143, seconds=1.0))
    made.told(2, {"share": 1.0, "numbers": {"validation": "100.00 %"}})
    return made


def lines(made: Watch) -> list[str]:
    console = Console(file=io.StringIO(), width=made.console.width, height=made.console.height, color_system=None)
    console.print(made)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_states_scores_and_times_are_whole_whatever_the_labels_are(width: int) -> None:
    shown = lines(watch(width))
    assert len(shown) == 23
    assert max(map(len, shown)) <= width
    assert shown[1].split()[-3:] == ["failed", "13", "min"]
    assert shown[2].split()[-3:] == ["interrupted", "1.0", "s"]
    assert shown[3].split()[-7:] == ["running", "100", "%", "100.00", "%", "0.0", "s"]
    assert shown[-1].startswith("1 running · 1 failed · 1 interrupted · 45 waiting (27 not")
    label = "optimizer.lr=0.01 seed=0 strategy.window.size=1 schedule.warmup=0"
    assert shown[1].startswith({200: label, 80: "lr=0.01 seed=0 size=1 warmup=0 ", 60: "…"}[width])


def test_a_summary_fits_a_terminal_and_is_whole_elsewhere() -> None:
    narrow = watch(80).summary()
    assert narrow[0] == ["job", "state", "in outputs"]
    widths = [max(map(len, column)) for column in zip(*narrow, strict=True)]
    assert sum(widths) + 4 <= 80
    piped = watch(80, terminal=False).summary()
    assert piped[0] == ["job", "state", "directory"]
    assert [row[2] for row in piped[1:]] == [str(job.directory) for job in watch(80).jobs]
    assert all(row[2].endswith(short[2].lstrip("…")) for row, short in zip(piped[1:], narrow[1:], strict=True))


def test_the_time_left_is_of_the_mean_finished_job_and_the_jobs_at_a_time() -> None:
    made = Watch(compose_jobs(["seed=0,1,2,3,4,5"], multirun=True), Console(file=io.StringIO()), quiet=False, live=True)
    for number in (0, 1):
        made.told(number, {"share": 0.5, "numbers": {}})
    assert "left" not in lines(made)[-1], "no job has ended"
    made.ended(0, Ending(0, seconds=60.0))
    assert lines(made)[-1].endswith("; about 2.2 min left"), "4 waiting and half a job, two at a time"
