"""Figures for papers: every kind in every format, with embedded fonts, and with the numbers of the runs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from written_runs import reseal, write_run

from gradinc.records.find import runs_under
from gradinc.records.results import result_table
from gradinc.studies.figures.draw import FIGURES, Request, draw


@pytest.fixture
def runs(empty: Path) -> Path:
    for number, strategy in enumerate(("finetune", "er")):
        for lr in (0.01, 0.1):
            for seed in range(3):
                acc = 0.5 + number / 10 + seed / 100 + lr
                result = {
                    "metrics": {"acc": acc, "bwt": acc - 0.9, "forgetting": 0.9 - acc},
                    "matrix": [[0.1, 0.1], [0.9, 0.2], [acc - 0.1, acc + 0.1]],
                }
                name, own = f"{strategy}-{lr}-{seed}", {"strategy__methods": {"er": {}} if strategy == "er" else {}}
                own |= {"strategy__name": strategy, "optimizer__lr": lr, "sealed": True}
                run = write_run(empty / "outputs", name, result=result, test=acc, seed=seed, **own)
                with (run / "metrics.jsonl").open("a") as log:
                    for task, online in enumerate((0.5, acc)):
                        log.write(
                            json.dumps({"step": 164, "task": task, "samples": 5176, "task_online": online}) + "\n"
                        )
                reseal(run)
    return empty / "outputs"


FORMATS = [*((kind, "pdf") for kind in FIGURES), ("bars", "svg"), ("bars", "png")]


@pytest.mark.parametrize(("kind", "ending"), FORMATS)
def test_every_kind_and_format_embeds_its_fonts_and_is_the_same_again(
    gradinc: Any, runs: Path, kind: str, ending: str
) -> None:
    for name in ("a", "b"):
        outcome = gradinc("figure", kind, "outputs", "--to", f"{name}.{ending}")
        assert (outcome.code, outcome.out) == (0, f"{name}.{ending}  4 settings, 12 runs\n")
    content = Path(f"a.{ending}").read_bytes()
    assert content == Path(f"b.{ending}").read_bytes()
    if ending == "pdf":
        assert b"/Type3" not in content
        assert b"/FontFile2" in content  # a TrueType font, embedded
        box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", content)
        assert box is not None
        assert float(box[1]) == pytest.approx(3.25 * 72)  # a column
    if ending == "svg":
        assert b"<text" not in content  # letters are drawn, so no font is missing
    if ending == "png":
        assert Image.open("a.png").width == pytest.approx(3.25 * 300, abs=1)


def test_bars_have_the_means_and_the_intervals_of_the_runs(runs: Path) -> None:
    table = result_table(runs_under(runs), ["acc"])
    (axis,) = draw("bars", Request(table, 3.25)).axes
    heights = [bar.get_height() for bar in axis.patches]
    assert heights == pytest.approx([100 * sum(table.values(one, "acc")) / 3 for one in table.settings])
    half = 4.302652729911275 * 0.01 / 3**0.5
    ends = [segment[1][1] - segment[0][1] for bar in axis.collections for segment in bar.get_segments()]
    assert ends == pytest.approx([200 * half] * 4)


def test_legends_and_names_fit_however_many_settings_there_are(empty: Path) -> None:
    for number in range(10):
        matrix = [[0.1, 0.1], [0.9, 0.2], [0.5, 0.6]]
        own = {"strategy__methods": {"er": {"memory": 1000 * number}}, "model": {"name": "a_wide_network"}}
        name = f"experience-{number}"
        write_run(
            empty / "outputs", name, result={"metrics": {"acc": 0.5}, "matrix": matrix}, strategy__name=name, **own
        )
    table = result_table(runs_under(empty / "outputs"), ["acc", "test"])
    heights = {}
    for kind in ("average", "bars"):
        figure = draw(kind, Request(table, 3.25))
        figure.canvas.draw()
        for legend in figure.legends:
            assert figure.bbox.containsx(legend.get_window_extent().x0)
            assert figure.bbox.containsx(legend.get_window_extent().x1)
        for axis in figure.axes if kind == "bars" else []:
            boxes = [label.get_window_extent() for label in axis.get_xticklabels()]
            assert len(boxes) == 10
            assert not any(one.overlaps(other) for one, other in pairwise(boxes))
        heights[kind] = figure.get_figheight()
    few = replace(table, settings=table.settings[:2])
    assert draw("average", Request(few, 3.25)).get_figheight() < heights["average"]
    assert draw("average", Request(table, 3.25, 2.0)).get_figheight() == 2.0, "the height that was asked for"


def test_average_accuracy_is_over_the_tasks_so_far(runs: Path) -> None:
    table = result_table([run for run in runs_under(runs) if run.name.startswith("er-0.1")], ["acc"])
    (axis,) = draw("average", Request(table, 3.25)).axes
    (line,) = axis.get_lines()
    assert line.get_ydata().tolist() == pytest.approx([90, 71])
    assert axis.get_ylim()[1] <= 101


def test_online_accuracy_of_each_task_has_the_mean_and_the_interval_of_the_runs(runs: Path) -> None:
    table = result_table([run for run in runs_under(runs) if run.name.startswith("er-0.1")], ["acc"])
    (axis,) = draw("online", Request(table, 3.25)).axes
    (line,) = axis.get_lines()
    assert line.get_xdata().tolist() == [1, 2]
    assert line.get_ydata().tolist() == pytest.approx([50, 71])
    (band,) = axis.collections
    half = 4.302652729911275 * 0.01 / 3**0.5
    ends = {round(y, 6) for x, y in band.get_paths()[0].vertices.tolist() if x == 2}
    assert sorted(ends) == pytest.approx([100 * (0.71 - half), 100 * (0.71 + half)])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["pie", "outputs", "--to", "a.pdf"], "pie: no such figure. Choose from: curves,"),
        (
            ["bars", "outputs", "--to", "a.gif"],
            "--to a.gif: unknown format. Give a name that ends in .pdf",
        ),
        (["bars", "outputs", "--to", "a.pdf", "--metrics", "acurracy"], "acurracy: no run has this number."),
        (["bars", "outputs", "--to", "a.pdf", "--width", "wide"], "--width wide: need column, text, page or a number"),
        (["sweep", "outputs", "--to", "a.pdf", "--key", "seed"], "--key seed: does not differ between these runs."),
        (["average", "outputs", "--to", "a.pdf", "--label", "er"], "--label er: need NAME=LABEL."),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(gradinc: Any, runs: Path, words: list[str], line: str) -> None:
    outcome = gradinc("figure", *words)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith(line)
    assert not list(Path().glob("a.*"))
