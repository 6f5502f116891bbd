"""A standalone figure of accuracy against ε."""

from __future__ import annotations

from importlib.resources import files

from markupsafe import Markup

from gradinc.studies.attacks.measure import AttackResult
from gradinc.studies.report.charts import Line, chart
from gradinc.studies.report.svg import CHART_WIDTH, SHAPES, Numbers, marker

_STYLES = {"worst": "c1", "fgsm": "c2", "pgd": "c3", "margin": "c4", "noise": "c5"}
LEGEND = 18
"""Height of one line of the legend."""


def figure(title: str, measured: list[AttackResult]) -> str:
    """Return one curve for each attack, all starting at the clean accuracy; the worst case has its interval."""
    clean, *others = measured
    lines = []
    for name, style in _STYLES.items():
        own = [clean, *sorted((each for each in others if each.attack == name), key=lambda each: each.eps)]
        band = [(each.eps, each.low, each.high) for each in own] if name == "worst" else []
        lines.append(Line(name, [(each.eps, each.accuracy) for each in own], style, band, dots=True))
    drawn = str(chart(Numbers(), title, lines, "ε in input units", percent=True))
    head, _, rest = drawn.partition(">")
    height = float(head.split('viewBox="0 0 ')[1].split('"')[0].split()[1])
    entries = [
        Markup('<g class="{}"><path class="line" d="M{} {}h24"/>{}</g><text x="{}" y="{}" dy=".32em">{}</text>').format(
            style, x, y, marker(style, x + 12, y), x + 30, y, name
        )
        for k, (name, style) in enumerate(_STYLES.items())
        for x, y in [(48 + 82 * (k % 3), height + LEGEND * (k // 3) + 8)]
    ]
    tall = height + LEGEND * 2 + 4
    head = head.replace(f'viewBox="0 0 {CHART_WIDTH} {height:g}"', f'viewBox="0 0 {CHART_WIDTH} {tall:g}"')
    style = files("gradinc.studies.report").joinpath("page", "style.css").read_text(encoding="utf-8")
    return (
        head.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="600" ', 1)
        + f"><style><![CDATA[{style} svg {{ background: var(--paper) }}]]></style>{SHAPES}"
        + rest.removesuffix("</svg>")
        + "".join(entries)
        + "</svg>\n"
    )
