"""A page is readable in both colour schemes, without colours, by keyboard and by a screen reader."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from written_runs import write_run

from gradinc.studies import report as report_package
from gradinc.studies.report.charts import Line, chart
from gradinc.studies.report.heat_map import PALE, heat_map_figure
from gradinc.studies.report.svg import SHAPES, STYLES, Numbers

CSS = (Path(report_package.__file__).parent / "page" / "style.css").read_text(encoding="utf-8")
SCHEMES = {
    scheme: dict(re.findall(r"--(\w+): (#\w+)", block))
    for scheme, block in zip(("light", "dark"), re.findall(r":root \{(.*?)\}", CSS, re.DOTALL), strict=True)
}

Rgb = tuple[float, ...]


def rgb(colour: str) -> Rgb:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    return tuple(int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4))


def luminance(colour: Rgb) -> float:
    """Relative luminance of WCAG 2."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Rgb, other: Rgb) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_texts_have_a_contrast_of_4_5_and_lines_of_3(scheme: str) -> None:
    colours = {name: rgb(value) for name, value in SCHEMES[scheme].items()}
    for ground in ("paper", "panel"):
        for text in ("ink", "soft", "accent", "warn"):
            assert contrast(colours[text], colours[ground]) >= 4.5
    for index in range(STYLES):
        assert contrast(colours[f"c{index + 1}"], colours["paper"]) >= 3
    assert contrast(colours["rule"], colours["paper"]) < 3, "grid lines are no text"
    for percent in range(101):
        share = percent / 100
        cell = tuple(share * a + (1 - share) * b for a, b in zip(colours["heat"], colours["paper"], strict=True))
        assert contrast(colours["high" if share > PALE else "low"], cell) >= 4.5
    pale = tuple(0.8 * a + 0.2 * b for a, b in zip(colours["heat"], colours["paper"], strict=True))
    assert contrast(colours["low"], pale) < 4.5, "one colour of letters would not do"


def test_styles_differ_without_colours() -> None:
    dashes = dict.fromkeys((f"c{index + 1}" for index in range(STYLES)), "none")
    for names, dash in re.findall(r"((?:\.c\d+(?:, )?)+) \{ --dash: ([^;]+);", CSS):
        dashes |= dict.fromkeys(names.replace(".", "").split(", "), dash)
    shapes = re.findall(r'<path id="m(\d+)" class="(\w+)" d="([^"]+)"', SHAPES)
    looks = {(dashes[f"c{number}"], kind, outline) for number, kind, outline in shapes}
    assert len(shapes) == len(looks) == STYLES
    lines = [Line(f"s{n}", [(0.0, 0.5), (1.0, 0.4)], f"c{n}", place=n) for n in (1, 8)]
    assert re.findall(r'class="last" href="#m(\d+)"', chart(Numbers(), "x", lines, "samples")) == ["1", "8"]


def test_controls_and_figures_have_names_and_headings_are_in_order(gradinc: Any, empty: Path) -> None:
    for number in range(4):
        matrix = [[0.1, 0.1], [0.95, 0.1], [0.6, 0.9]]
        write_run(empty / "outputs", f"r{number}", optimizer__lr=0.1 * (number + 1), result={"matrix": matrix})
    assert gradinc("report", "outputs", "--out", "page.html").code == 0
    page = Path("page.html").read_text(encoding="utf-8")
    levels = [int(level) for level in re.findall(r"<h(\d)[ >]", page)]
    assert levels[0] == levels.count(1) == 1
    assert 3 in levels
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for figure in re.findall(r"<svg viewBox[^>]*role=\"img\".*?</svg>", page, re.DOTALL):
        label = re.search(r'labelledby="(\w+)"', figure)
        assert label is not None
        assert re.search(rf'<desc id="{label[1]}">[^<]{{20,}}</desc>', figure)
        assert figure.count('<g aria-hidden="true">') == 1, "its lines are not read one by one"
    for region in re.findall(r"<[^>]*tabindex[^>]*>", page):
        assert re.search(r'aria-label="[^"]+"', region)
    assert len(re.findall(r"<label[^>]*><input[^>]*>.*?</svg>lr=[^<]+</label>", page)) == 4
    assert set(re.findall(r'<th scope="(\w+)"', page)) == {"col", "row"}


def placed(names: Iterable[str]) -> list[tuple[float, str]]:
    return [(float(place), name) for place, name in enumerate(names)]


def test_every_value_of_a_key_has_a_label() -> None:
    names = ["finetune", "experience", "distillation", "projection", "averaging", "er", "ewc", "lwf", "mas", "si"]
    line = Line("accuracy", [(float(x), 0.5) for x in range(10)], dots=True, joined=False)
    picture = chart(Numbers(), "accuracy", [line], "strategy", percent=True, ticks=placed(names))
    assert re.findall(r'rotate[^>]*">([^<]+)<', picture) == names
    assert "experience 50 %, distillation 50 %" in picture
    few = chart(Numbers(), "accuracy", [line], "strategy", percent=True, ticks=placed("abcdefghij"))
    assert "rotate" not in few


def test_letters_of_a_heat_map_change_where_cells_become_dark() -> None:
    picture = heat_map_figure(Numbers(), "matrix", [[0.0, PALE], [PALE + 0.02, 1.0]])
    assert re.findall(r'class="mid (\w+)"', picture) == ["off", "off", "on", "on"]
