"""The score as a function of the swept keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from gradinc.config.names import short
from gradinc.records.curves import Points
from gradinc.records.groups import RunGroup, value_order
from gradinc.records.recorded import SCORES
from gradinc.studies.report.axes import fit, tick_text
from gradinc.studies.report.charts import Line, chart
from gradinc.studies.report.document import Figure, LegendEntry, Section
from gradinc.studies.report.parallel import Upright, parallel
from gradinc.studies.report.subject import Page
from gradinc.studies.report.svg import cut

WIDE = 8.0
"""Ratio of values above which an axis is logarithmic."""

FEW = 7
"""Largest number of values of a key that are all labelled on the axis."""

APART = 0.06
"""Height of a line of text, as a share of the axis."""

MOST_AXES = 7
"""Largest number of keys in parallel coordinates."""


def sweep_section(page: Page) -> Section | None:
    """Figures of the score against each key that differs between settings with a score; None if no key differs."""
    subject = page.subject
    scored = [one for one in subject.settings if one.score(subject.measure) is not None]
    varied = {key: len({one.values[key] for one in scored}) for key in subject.keys}
    varied = {key: count for key, count in varied.items() if count > 1}
    if not varied:
        return None
    notes, wide, figures = [], [], []
    keys = sorted(varied, key=lambda key: varied[key], reverse=True)[:MOST_AXES]
    if len(varied) > len(keys):
        notes.append(f"The figures show {len(keys)} of the {len(varied)} keys that differ: those with the most values.")
    if len(subject.keys) > 1:
        wide.append(_parallel(page, keys))
        notes.append(
            "In parallel coordinates, a line is a setting: the darker the line, the better the score. A dashed line "
            "has no finished run. The settings of the legend have their colours."
        )
    legend: list[LegendEntry] = []
    if len(subject.keys) == 1:
        figures.append(_one_factor(page, keys[0], scored))
        notes.append(
            "A dot is the mean of a setting's finished runs; if there are several, a bar is the 95 % CI (Student)."
        )
    else:
        legend = subject.legend
        figures += [_marginal(page, key, scored) for key in keys]
        notes.append(
            "Each figure shows one key: a dot is a setting, and the line connects the medians at the key's values."
        )
    return Section("What was varied", notes, legend, figures, wide)


def _places(values: Sequence[str]) -> tuple[dict[str, float], bool]:
    """Return the positions of values on an axis (numbers by size, other values in sequence), and its kind."""
    ordered = sorted(set(values), key=value_order)
    numbers = [_number(value) for value in ordered]
    if None in numbers or len(numbers) < 3:
        return {value: float(index) for index, value in enumerate(ordered)}, False
    return {value: number for value, number in zip(ordered, numbers, strict=True) if number is not None}, True


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _one_factor(page: Page, key: str, scored: Sequence[RunGroup]) -> Figure:
    """The score over the only key that differs, with intervals."""
    measure = page.subject.measure
    places, numeric = _places([one.values[key] for one in scored])
    points: Points = []
    errors = []
    for one in sorted(scored, key=lambda one: places[one.values[key]]):
        found = one.score(measure)
        assert found is not None  # these settings have a score
        points.append((places[one.values[key]], found.mean))
        if found.interval is not None:
            errors.append((places[one.values[key]], *found.interval))
    line = Line(page.subject.score_name, points, errors=errors, dots=True, joined=numeric)
    title = f"{page.subject.score_name} by {short(key, page.subject.keys)}"
    return _by_key(page, title, [line], key, places)


def _marginal(page: Page, key: str, scored: Sequence[RunGroup]) -> Figure:
    """The scores of all settings over one of several keys."""
    measure = page.subject.measure
    places, _ = _places([one.values[key] for one in scored])
    values: dict[float, list[float]] = {}
    for one in scored:
        found = one.score(measure)
        values.setdefault(places[one.values[key]], []).append(found.mean if found else math.nan)
    lines = [
        Line("median", [(x, median(ys)) for x, ys in sorted(values.items())], "all", dots=False),
    ]
    for one, style in page.subject.styles.items():
        found = one.score(measure)
        if found is not None:
            dot, place = [(places[one.values[key]], found.mean)], page.subject.places[one]
            lines.append(Line(one.name, dot, style, dots=True, place=place, faint=one not in page.subject.shown))
    title = f"{page.subject.score_name} by {short(key, page.subject.keys)}"
    return _by_key(page, title, lines, key, places)


def _by_key(page: Page, title: str, lines: Sequence[Line], key: str, places: dict[str, float]) -> Figure:
    ticks = [(place, value) for value, place in places.items()]
    if len(places) > FEW and all(_number(value) is not None for value in places):  # drawn from a range by a search
        scale = fit(list(places.values()), 0.0, 1.0, wide=WIDE)
        ticks = [(t, tick_text(t)) for t in scale.ticks(4) if min(places.values()) <= t <= max(places.values())]
    picture = chart(
        page.numbers,
        page.subject.score_name,
        lines,
        short(key, page.subject.keys),
        percent=page.subject.measure == "accuracy",
        ticks=ticks,
        logarithmic=min(places.values()) > 0 and max(places.values()) / min(places.values()) >= WIDE,
    )
    return Figure(picture, title)


def _parallel(page: Page, keys: Sequence[str]) -> Figure:
    subject = page.subject
    uprights, heights = [], []
    for key in keys:
        upright, places = _upright(short(key, subject.keys), [one.values[key] for one in subject.settings])
        uprights.append(upright)
        heights.append([places[one.values[key]] for one in subject.settings])
    found = [one.score(subject.measure) for one in subject.settings]
    scores = [each.mean for each in found if each is not None]
    scale = fit(scores, 0.06, 1.0, wide=math.inf if subject.measure == "accuracy" else 50.0)
    percent = subject.measure == "accuracy"
    ticks = [(scale(tick), tick_text(tick, percent=percent)) for tick in scale.ticks(6)]
    uprights.append(Upright(subject.score_name, ticks))
    heights.append([0.0 if each is None else scale(each.mean) for each in found])
    order = {one: place for place, one in enumerate(reversed(subject.ranked))}
    threads = []
    for index, one in enumerate(subject.settings):
        points = [(float(axis), each[index]) for axis, each in enumerate(heights)]
        style = "lost" if found[index] is None else subject.styles[one]
        line = Line(one.name, points, style, place=subject.places[one], faint=one not in subject.shown)
        better = order[one] / max(1, len(order) - 1)
        threads.append((order[one], (line, 0.08 + 0.6 * better**2)))
    threads.sort(key=lambda thread: thread[0])
    title = f"all settings and their {subject.score_name}"
    higher = "higher" if SCORES[subject.measure] else "lower"
    return Figure(
        parallel(page.numbers, title, uprights, [thread for _, thread in threads]), f"{title}; {higher} is better"
    )


def _upright(name: str, values: Sequence[str]) -> tuple[Upright, dict[str, float]]:
    """Return one axis: numbers by size, all other values evenly."""
    places, numeric = _places(values)
    if not numeric:
        heights = {value: place / max(1, len(places) - 1) for value, place in places.items()}
        return Upright(name, [(heights[value], value) for value in list(places)[:: -(-len(places) // 12)]]), heights
    scale = fit(list(places.values()), 0.0, 1.0, wide=WIDE)
    heights = {value: scale(place) for value, place in places.items()}
    few = len(places) <= FEW
    ticks = [(heights[v], cut(v, 12)) for v in places] if few else [(scale(t), tick_text(t)) for t in scale.ticks()]
    return Upright(name, _apart(ticks)), heights


def _apart(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return the ticks whose texts do not overlap."""
    kept: list[tuple[float, str]] = []
    for height, words in sorted(ticks):
        if not kept or height - kept[-1][0] >= APART:
            kept.append((height, words))
    return kept
