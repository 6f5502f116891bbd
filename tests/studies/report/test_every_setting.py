"""A report draws every setting, names only what differs, and keeps shares between 0 and 100 %."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from written_runs import write_run

MATRIX = [[0.1, 0.1], [0.95, 0.1], [0.6, 0.9]]


def page(gradinc: Any, *arguments: str) -> tuple[str, str]:
    outcome = gradinc("report", *arguments, "--out", "page.html")
    assert (outcome.code, outcome.err) == (0, "")
    return Path("page.html").read_text(encoding="utf-8"), Path("page.md").read_text(encoding="utf-8")


def write(folder: Path, count: int) -> None:
    for number in range(count):
        for seed in range(2):
            metrics = {"acc": 0.75, "bwt": -0.35, "la": 0.925, "forgetting": 0.35}
            write_run(
                folder / "outputs",
                f"run{number:02d}-{seed}",
                test=0.9 + seed * 0.09,
                seed=seed,
                sealed=True,
                optimizer__lr=0.01 * (number + 1),
                result={"matrix": MATRIX, "metrics": metrics},
            )


@pytest.mark.parametrize("count", [2, 10, 60])
def test_every_setting_is_drawn_in_every_figure_of_curves(gradinc: Any, empty: Path, count: int) -> None:
    write(empty, count)
    html, _ = page(gradinc, "outputs")
    figures = re.findall(r"<figure>(.*?)</figure>", html, re.DOTALL)
    curves = [each for each in figures if "alidation accuracy against samples" in each]
    assert len(curves) == 1
    assert len(set(re.findall(r'data-s="(\d+)"', curves[0]))) == count
    faint = len(re.findall(r'class="c\d+ off"', curves[0]))
    assert faint == (0 if count <= 12 else count - 3)
    assert html.count('type="checkbox"') == count
    assert len(html) < 900_000


def test_shares_stay_within_0_and_100_percent(gradinc: Any, empty: Path) -> None:
    write(empty, 3)
    html, _ = page(gradinc, "outputs")
    ticks = [float(text) for text in re.findall(r'class="end"[^>]*>(-?[\d.]+) %<', html)]
    assert max(ticks) == 100
    assert min(ticks) >= -40  # backward transfer of −35 %


def test_legends_say_only_what_differs_and_no_missing_key(gradinc: Any, empty: Path) -> None:
    changes: list[dict[str, Any]] = [
        {"model": {"name": "cnn", "kernel": 3}, "strategy__methods": {"er": {"memory": 100}}},
        {"model": {"name": "cnn", "kernel": 5}, "strategy__methods": {"er": {"memory": 200}}},
        {"strategy__methods": {"ewc": {"lambda_": 1.0}}},
    ]
    for number, change in enumerate(changes):
        write_run(empty / "outputs", f"run-{number}", sealed=True, **change)
    html, _ = page(gradinc, "outputs")
    names = re.findall(r"</svg>([^<]+)</li>", html)
    assert {" ".join(name.split()[:2]) for name in names} == {"cnn er", "mlp ewc"}
    assert names
    assert all("–" not in name and "run" not in name for name in names), "each setting has one run"
    write_run(empty / "outputs", "run-3", sealed=True, seed=1, **changes[0])
    html, _ = page(gradinc, "outputs")
    counts = re.findall(r"\((\d runs?)\)</li>", html)
    assert counts.count("1 run") == 2 * counts.count("2 runs") > 0


def test_conditions_choose_runs_and_group_chooses_settings(gradinc: Any, empty: Path) -> None:
    write(empty, 4)
    html, _ = page(gradinc, "outputs", "optimizer.lr<0.035", "--group", "seed")
    assert html.count('type="checkbox"') == 2
    assert len(re.findall(r"</svg>seed=[01]</label>", html)) == 2
    wrong = gradinc("report", "outputs", "optimizer.lr>9", "--out", "other.html")
    assert (wrong.code, wrong.err) == (2, "optimizer.lr>9: no run meets this. Leave a condition out.\n")
    assert not Path("other.html").exists()


def test_the_page_of_a_stream_has_the_figures_of_the_field(gradinc: Any, empty: Path) -> None:
    write(empty, 2)
    html, markdown = page(gradinc, "outputs")
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", html)
    for words in ("mean accuracy after each task", "forgetting after each task", "stability (BWT) against plasticity"):
        assert any(words in caption for caption in captions)
    for heading in ("Accuracy matrices", "Accuracy on each task"):
        gallery = re.search(rf"<h3>{heading}.*?</h3>(.*?)(?=<h3>|<details>|</section>)", html, re.DOTALL)
        assert gallery is not None
        assert re.findall(r"<figcaption>(.*?)</figcaption>", gallery[1]) == ["lr=0.01", "lr=0.02"]
    assert "-35.00 %" in markdown
    assert "Diagnostics" in markdown
    assert "gradient\\_norm" in markdown
    assert "2 classes" in html
    assert "1,294 train" in html
