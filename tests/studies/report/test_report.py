"""A report is one file that needs nothing else, says what the runs say, and lets no text from data act."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from written_runs import write_run

from gradinc.cli.main import main
from gradinc.records.matrix import forgetting_curve, mean_accuracy
from gradinc.records.seal import seal
from gradinc.studies import report as report_package
from gradinc.studies.report.svg import cut_apart

SCRIPT = (Path(report_package.__file__).parent / "page" / "page.js").read_text(encoding="utf-8").strip()

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\x1b]0;x\x07 [a](http://evil) | `x` \u202e"


class Elements(HTMLParser):
    """All elements of a page with their attributes, the text of each kind, and the cells of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "path", "rect", "use"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data)
            if self.open[-1] in ("td", "th"):
                self.rows[-1][-1] += data

    def row(self, *beginning: str) -> list[str]:
        """The first row that begins so."""
        return next(row for row in self.rows if row[: len(beginning)] == list(beginning))


@pytest.fixture
def report(gradinc: Any, empty: Path) -> Any:
    """Writes a report and reads the page."""

    def run(*arguments: str) -> Elements:
        outcome = gradinc("report", *arguments, "--out", "page.html")
        assert (outcome.code, outcome.err) == (0, "")
        return Elements((empty / "page.html").read_text(encoding="utf-8"))

    return run


def sweep(folder: Path, count: int) -> None:
    """So many runs of a sweep over two keys and the seed."""
    for index in range(count):
        rate, width, seed = 10.0 ** -(index % 5), 2 ** (index // 15), index // 5 % 3
        score = 0.9 - 0.05 * (index % 5) + 0.001 * width + 0.01 * seed
        write_run(folder, f"run-{index:03}", test=score, seed=seed, optimizer__lr=rate, model__width=width)


@pytest.mark.parametrize("count", [1, 3, 200])
def test_the_page_is_one_small_file_that_asks_for_nothing(report: Any, empty: Path, count: int) -> None:
    sweep(empty / "outputs", count)
    page = report("outputs")
    text = (empty / "page.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 60_000 + 1_500 * count
    assert not re.search(r"https?:|//[a-z]|url\(|@import", text.replace(SCRIPT, ""))
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    assert not any({"src", "style"} & set(attributes) for _, attributes in page.tags)
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    identifiers = [a["id"] for _, a in page.tags if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    pictures = [a for tag, a in page.tags if tag == "svg" and "aria-hidden" not in a]
    assert len(pictures) >= 11  # ten learning curves, and the gradient's norm
    for picture in pictures:
        assert picture["role"] == "img"
        assert set((picture["aria-labelledby"] or "").split()) <= set(identifiers)
    assert not re.search(r"\b(nan|inf|None)\b", " ".join(a.get("d") or "" for _, a in page.tags))


@pytest.mark.parametrize("count", [1, 3])
def test_text_from_data_is_only_text(report: Any, written: Any, empty: Path, count: int) -> None:
    for index in range(count):
        path = written(f"<b onclick=x>{index}", model__name=HOSTILE + str(index % 2), data__name=HOSTILE)
        meta = json.loads((path / "meta.json").read_text())
        meta["data"]["classes"] = [HOSTILE, "\ud800"]
        meta["segments"][0]["command"] = HOSTILE
        (path / "meta.json").write_text(json.dumps(meta))
        result = json.loads((path / "result.json").read_text())
        result |= {"ended_by": HOSTILE, "undefined": {HOSTILE: HOSTILE}, "matrix": [[0.1, 0.1], [0.9, 0.1], [0.8, 0.9]]}
        (path / "result.json").write_text(json.dumps(result))
        log = json.loads((path / "metrics.jsonl").read_text().splitlines()[0])
        with open(path / "metrics.jsonl", "a") as file:
            file.write(json.dumps({**log, "notes": {HOSTILE: 1.0}}) + "\n")
    page = report("outputs", "--title", HOSTILE)
    assert [a for tag, a in page.tags if tag == "script"] == [{}]
    assert page.text["script"] == [SCRIPT]
    assert not {"img", "b"} & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert any("<script>alert(1)</script>" in cell for row in page.rows for cell in row)  # it is shown, as text
    prose = (empty / "page.md").read_text(encoding="utf-8")
    outside = re.sub(r"```.*?```", "", prose, flags=re.DOTALL)
    assert not re.search(r"<(?!!--)|(?<!\\)\]\(", outside)
    for text in (prose, (empty / "page.html").read_text(encoding="utf-8")):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_the_same_runs_give_the_same_bytes_in_any_order(gradinc: Any, empty: Path) -> None:
    sweep(empty / "outputs", 7)
    names = [path.name for path in sorted((empty / "outputs").iterdir())]
    pages = []
    for order in (names, names[::-1]):
        assert gradinc("report", *order, "--title", "t", "--out", "page.html").code == 0
        pages.append(((empty / "page.html").read_bytes(), (empty / "page.md").read_bytes()))
        os.utime(empty / "outputs" / names[0] / "result.json", (1, 1))
    assert pages[0] == pages[1]


def test_scores_are_means_with_student_intervals(report: Any, written: Any) -> None:
    for seed, score in enumerate((0.90, 0.92, 0.97)):
        written(f"a{seed}", seed=seed, test=score)
        written(f"b{seed}", seed=seed, test=score - 0.5, optimizer__lr=0.3)
    # mean 0.93, standard deviation 0.0360555, t(2) = 4.302653: 4.302653 · 0.0360555 / √3 = 0.0895665
    assert report("outputs").row("0.1")[:4] == ["0.1", "3", "93.00 %", "8.96 %"]


def test_runs_without_an_end_are_marked_and_not_averaged(report: Any, written: Any, empty: Path) -> None:
    for seed, score in enumerate((0.90, 0.92)):
        written(f"a{seed}", seed=seed, test=score)
    before = report("outputs").row("digits · mlp · sgd")
    for seed, status in enumerate(("diverged", "unfinished", "interrupted"), start=2):
        written(f"a{seed}", seed=seed, test=0.1, status=status)
    (written("a9", seed=9, test=0.1) / "result.json").write_text("{")
    page = report("outputs")
    after = page.row("digits · mlp · sgd")
    assert after[1] == "2 of 5"  # the damaged one belongs to no setting
    assert (before[0], before[2:]) == (after[0], after[2:])
    assert {row[0]: row[1] for row in page.rows if row and re.fullmatch(r"a\d", row[0])} == {
        "a0": "finished",
        "a1": "finished",
        "a2": "diverged",
        "a3": "unfinished",
        "a4": "interrupted",
        "a9": "damaged",
    }
    prose = (empty / "page.md").read_text()
    assert "Of 6 runs, 1 interrupted, 1 unfinished, 1 diverged, 1 damaged. Only finished runs are averaged." in prose


def test_what_should_be_the_same_and_is_not_is_said(report: Any, written: Any) -> None:
    written("a")
    other = written("b", seed=1)
    said = " ".join(report("outputs").text.get("li", []))
    assert "versions of gradinc" not in said
    meta = json.loads((other / "meta.json").read_text())
    meta["code"] = "other"
    (other / "meta.json").write_text(json.dumps(meta))
    said = " ".join(report("outputs").text["li"])
    assert "made with 2 versions of gradinc's code" in said
    assert "sets of data" not in said


WORKED = [[0.1, 0.1, 0.1], [0.9, 0.1, 0.1], [0.95, 0.8, 0.2], [0.6, 0.7, 0.9]]
"""Accuracy before training and after each of three tasks."""


def test_trials_that_look_at_no_test_row_are_compared_by_validation(report: Any, written: Any, empty: Path) -> None:
    for index, score in enumerate((0.5, 0.9)):
        run = written(f"t{index}", test=score, evaluate__rows="validation", optimizer__lr=0.1 * (index + 1))
        result = json.loads((run / "result.json").read_text())
        (run / "result.json").write_text(json.dumps({**result, "test": None}))
    page = report("outputs")
    assert page.row("run")[3] == "validation accuracy"
    assert "90.00 %" in page.row("t1")
    mixed = "Some runs were measured on validation rows, the others on test rows."
    assert mixed not in (empty / "page.md").read_text()
    written("other")
    report("outputs")
    assert mixed in (empty / "page.md").read_text()


def test_the_page_of_a_search_lists_its_trials_with_their_scores(report: Any, empty: Path) -> None:
    folder = empty / "outputs" / "rates"
    states = (("complete", 0.7), ("pruned", 0.95), ("complete", 0.8), ("fail", None))
    for index, _ in enumerate(states):
        write_run(folder, f"t{index}", status="interrupted", evaluate__rows="validation", optimizer__lr=0.1 + index)
    trials = [
        {"number": number, "state": state, "score": score, "values": {"optimizer.lr": 0.1 + number}}
        for number, (state, score) in enumerate(states)
    ]
    judged = {"mode": "first-tasks", "what": "validation rows of the first 2 tasks <b>"}
    best = {"score": 0.8, "values": {"optimizer.lr": 2.1}, "run": ["model=linear", "optimizer.lr=2.1"]}
    record = {"search": {}, "judged_by": judged, "trials": trials, "best": best}
    (folder / "tune.json").write_text(json.dumps(record))
    page = report("outputs/rates")
    listed = page.rows[page.rows.index(page.row("trial")) + 1 :][:4]
    assert [(row[0], row[2], row[3]) for row in listed] == [
        ("3", "0.8000", "complete"),
        ("1", "0.7000", "complete"),
        ("2", "0.9500", "pruned"),
        ("4", "–", "fail"),
    ], "an early score of a pruned trial is not compared"
    text = (empty / "page.md").read_text()
    assert "best trial of rates: score 0.8000, on validation rows of the first 2 tasks &lt;b&gt;" in text
    assert "\ngradinc train model=linear optimizer.lr=2.1\n```" in text
    assert "A search stops a trial once it has a score, or if other trials are better." in text
    for damaged in (
        {"trials": 3},
        {"trials": [1, {"values": 2}], "best": []},
        {},
        {**record, "judged_by": None, "best": 3},
    ):
        (folder / "tune.json").write_text(json.dumps(damaged))
        report("outputs/rates")


def test_the_page_of_a_search_says_what_is_damaged_in_it(report: Any, empty: Path) -> None:
    folder = empty / "outputs" / "rates"
    write_run(folder, "t0", evaluate__rows="validation", sealed=True)
    trials = [{"number": 0, "state": "complete", "score": 0.5, "values": {"optimizer.lr": 0.1}}]
    (folder / "journal.log").write_text("{}\n")
    record = seal({"search": {}, "trials": trials}, folder, ["journal.log"])

    def notes(record: dict[str, Any]) -> list[str]:
        (folder / "tune.json").write_text(json.dumps(record))
        report("outputs/rates")
        lines = (empty / "page.md").read_text().replace("\\", "").splitlines()
        return [line.removeprefix("> **Note:** ") for line in lines if "tune.json" in line or "journal.log" in line]

    assert notes(record) == []
    (folder / "journal.log").write_text("{}\n{}\n")
    assert notes(record) == [], "a search that goes on adds to it"
    (folder / "journal.log").write_text("[]\n")
    assert notes(record) == ["rates/journal.log was changed after it was sealed."]
    trials[0]["score"] = 0.9
    assert notes(record) == ["rates/tune.json was changed after it was sealed: its trials are not shown."]
    assert "0.9000" not in (empty / "page.md").read_text()
    del record["seal"]
    assert notes(record)[0].startswith("rates/tune.json is unsealed (")


def test_dotted_lines_stand_where_the_tasks_of_all_runs_end(report: Any, written: Any) -> None:
    for index, passes in enumerate((1, 2)):  # of two methods, one passes each row twice
        path = written(f"r{index}", optimizer__lr=0.1 * (1 + index)) / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            line.update(task=line["epoch"] // 3, rows=passes * line["rows"], passes=passes * line["passes"])
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def marked(*runs: str) -> int:
        return sum(tag == "path" and attributes.get("class") == "mark" for tag, attributes in report(*runs).tags)

    assert marked("outputs/r0") == 5 + 5 + 1, "validation and loss against all five, and one diagnostic"
    assert marked("outputs") == 3 + 3 + 1, "not against rows and passes"


def test_every_point_of_many_values_lies_in_its_figure(report: Any, written: Any) -> None:
    for index in range(14):
        written(f"r{index:02}", test=0.5 + 0.03 * index, model__width=2**index, optimizer__lr=0.1 * (1 + index % 2))
    page = report("outputs")
    spots = [float(a["x"] or 0) for tag, a in page.tags if tag == "use" and a["class"] == "dot"]
    assert len(spots) > 14
    assert max(spots) <= 300, "the last round number on the axis is 1k, the last value 8192"


def test_labels_that_only_their_ends_tell_apart_keep_them() -> None:
    names = [f"accumulate+replay+number_{number}" for number in range(3)]
    assert cut_apart(names, 8) == ["…umber_0", "…umber_1", "…umber_2"]
    assert cut_apart(["resnet18_small", "mlp"], 8) == ["resnet1…", "mlp"]


def test_a_strategy_s_name_is_no_second_key_where_the_size_of_windows_makes_it(report: Any, written: Any) -> None:
    for size in (1, 2, 4):
        written(f"w{size}", strategy__window__size=size)
    page = report("w*")
    assert page.row("run")[2:4] == ["size", "test accuracy"]
    written("ema", strategy__window__size=4, strategy__window__rule="ema")
    page = report("outputs")
    assert page.row("run")[2:5] == ["size", "strategy", "test accuracy"]


def test_the_matrix_and_what_follows_from_it_are_shown(report: Any, written: Any, empty: Path) -> None:
    path = written("stream")
    result = json.loads((path / "result.json").read_text())
    result |= {"matrix": WORKED, "metrics": {"forgetting": 0.225}, "undefined": {"fwt": "there is one task"}}
    (path / "result.json").write_text(json.dumps(result))
    page = report("stream")
    assert {"10.0", "95.0", "60.0", "90.0"} <= set(page.text["text"])
    assert page.row("3")[1:] == ["60.00 %", "70.00 %", "90.00 %"]
    assert "22.50 %" in page.text["dd"]
    assert "Not defined: fwt (there is one task)." in page.text["p"]
    titles = [title for title in page.text["title"] if "matrix" in title or "forgetting" in title]
    assert titles == ["forgetting", "accuracy matrix"]
    assert dict(forgetting_curve(WORKED)) == pytest.approx({2: -0.05, 3: (0.95 - 0.6 + 0.8 - 0.7) / 2})  # the .225
    assert dict(mean_accuracy(WORKED)) == pytest.approx({1: 0.9, 2: 0.875, 3: 2.2 / 3})


def test_training_on_all_tasks_together_is_a_point_beside_the_curves(report: Any, written: Any) -> None:
    for name, matrix in {"a": WORKED, "joint": [WORKED[0], [0.9, 0.9, 0.9]]}.items():
        path = written(name, stream__data="current" if name == "a" else "joint")
        result = json.loads((path / "result.json").read_text())
        (path / "result.json").write_text(json.dumps({**result, "matrix": matrix}))
    page = report("outputs")
    words = next(text for text in page.text["desc"] if text.startswith("mean accuracy"))
    assert "joint ends at 90 %; sgd ends at 73.33 %" in words
    assert not any("joint" in text for text in page.text["desc"] if text.startswith("forgetting"))
    assert page.row("joint", "all")[2:] == ["90.00 %"] * 3


@pytest.mark.parametrize(
    "matrix", [[], [[0.1]], [[0.1, None], [None, "x"], [1e400, 2]], [[], [], []], "x", [[1], 2, 3]]
)
def test_a_matrix_that_is_none_is_left_out_or_has_holes(report: Any, written: Any, matrix: Any) -> None:
    path = written("stream")
    result = json.loads((path / "result.json").read_text())
    (path / "result.json").write_text(json.dumps({**result, "matrix": matrix}))
    page = report("stream")
    assert not any(re.search(r"\bnan\b", value) for _, a in page.tags for value in a.values() if value)


def test_the_page_of_a_real_run(report: Any, gradinc: Any, empty: Path) -> None:
    options = ["model=linear", "budget.epochs=2", "diagnostics=true", "log.steps=10", "data.batch_size=16"]
    trained = gradinc("train", *options, "name=real", "progress=quiet")
    assert trained.code == 0
    page = report("real")
    result = json.loads((empty / "outputs" / "real" / "result.json").read_text())
    assert f"{100 * result['test']['accuracy']:.2f} %" in page.text["dd"]
    assert {"validation accuracy", "training loss", "gradient norm", "update cosine"} <= set(page.text["title"])
    assert "batch_size: 16" in " ".join(page.text["pre"])
    assert page.row("command, from step 0")[1].startswith("gradinc")
    inside = {path.name for path in (empty / "outputs" / "real").iterdir()}
    assert not {name for name in inside if name.endswith((".html", ".md"))}


def test_neither_a_report_nor_a_listing_imports_torch(empty: Path) -> None:
    sweep(empty / "outputs", 3)
    script = (
        "import sys; from gradinc.cli.main import main\n"
        "for line in (['runs'], ['compare', 'outputs'], ['diff', 'run-000', 'run-001'], ['report', 'outputs']):\n"
        "    assert main(line) == 0\n"
        "print(*{'torch', 'hydra', 'matplotlib', 'pandas'} & set(sys.modules), file=sys.stderr)"
    )
    root = str(Path(main.__code__.co_filename).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}
    )
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == ""
    assert (empty / "reports" / "outputs.html").is_file()


def test_a_table_s_file_stands_for_the_runs_that_it_lists(report: Any, gradinc: Any, written: Any, empty: Path) -> None:
    for name in ("a", "b", "c"):
        written(name, seed=ord(name))
    cells = {"rows": [{"cells": [{"runs": ["outputs/a"]}, {"runs": ["c"]}]}, {"cells": [{"runs": []}]}]}
    (empty / "table.json").write_text(json.dumps(cells))
    assert [row[0] for row in report("table.json").rows if row[0] in ("a", "b", "c")] == ["a", "c"]
    shutil.rmtree(empty / "outputs" / "c")
    outcome = gradinc("report", "table.json")
    assert outcome.err == "table.json: lists c, which is not there. Restore it, or leave it out.\n"
    (empty / "table.json").write_text("[]")
    assert gradinc("report", "table.json").err.startswith("table.json: lists no runs.")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["report", "none"], "none: no such run. Choose from: a, broken."),
        (["report", "a", "--out", "x.pdf"], "--out x.pdf: is not an HTML file. Give a name that ends in .html."),
        (["report", "a", "--out", "mine.html"], "mine.md: exists already and is not a report."),
        (["report", "broken"], "broken: has no run that can be read: in broken config.yaml is missing or cannot be "),
        (["report", "empty"], "empty: no such run. Choose from: "),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    gradinc: Any, written: Any, empty: Path, arguments: list[str], line: str
) -> None:
    written("a")
    (written("broken") / "config.yaml").write_text("[")
    (empty / "mine.md").write_text("my notes\n")
    (empty / "empty").mkdir()
    before = sorted(empty.rglob("*"))
    outcome = gradinc(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(line) or "contains no runs" in outcome.err
    assert outcome.err.count("\n") == 1
    assert sorted(empty.rglob("*")) == before
    assert (empty / "mine.md").read_text() == "my notes\n"


def test_a_pipe_in_the_page_s_place_is_not_waited_for(gradinc: Any, written: Any, empty: Path) -> None:
    written("a")
    os.mkfifo(empty / "page.html")
    outcome = gradinc("report", "a", "--out", "page.html")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "page.html: exists already and is not a report. Give another place with --out FILE.html.\n"


needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")


def seen_by_a_browser(page: Path) -> str:
    """The document as chromium has it when all scripts have run, in a window as wide as a phone's."""
    words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=375,800", "--dump-dom"]
    done = subprocess.run([*words, page.as_uri()], capture_output=True, text=True, timeout=120)
    assert "</html>" in done.stdout, done.stderr
    return done.stdout


@needs_chromium
def test_a_browser_runs_the_page_s_own_script_and_no_other(report: Any, empty: Path) -> None:
    sweep(empty / "outputs", 4)
    report("outputs")
    assert '<th scope="col"><button>' in seen_by_a_browser(empty / "page.html")
    text = (empty / "page.html").read_text(encoding="utf-8")
    (empty / "other.html").write_text(text.replace("</body>", "<script>document.title = 'other'</script></body>"))
    assert "<title>outputs</title>" in seen_by_a_browser(empty / "other.html")


@needs_chromium
def test_a_browser_sorts_tables_shows_chosen_settings_and_scrolls_no_page_sideways(report: Any, empty: Path) -> None:
    sweep(empty / "outputs", 40)
    report("outputs")
    text = (empty / "page.html").read_text(encoding="utf-8")
    presses = """<script>
      const runs = [...document.querySelectorAll("table.sort")].at(-1);
      const score = [...runs.tHead.rows[0].cells].findIndex(cell => cell.textContent == "test accuracy");
      const column = () => [...runs.tBodies[0].rows].map(row => parseFloat(row.cells[score].dataset.v));
      const button = runs.tHead.rows[0].cells[score].querySelector("button");
      const told = [];
      for (const direction of [-1, 1]) {
        button.click();
        told.push(column().every((value, i, all) => i == 0 || direction * (value - all[i - 1]) >= 0));
      }
      const boxes = [...document.querySelectorAll(".chooser input")];
      for (const box of boxes.slice(-4)) box.click();
      const chosen = boxes.filter(box => box.checked).map(box => box.parentNode.className);
      told.push(chosen.length, new Set(chosen).size, document.querySelectorAll(".legend li:not(.off)").length);
      document.title = [innerWidth, document.documentElement.scrollWidth, column().length, ...told].join(" ");
    </script></body>"""
    (empty / "told.html").write_text(re.sub("<meta http-equiv[^>]*>", "", text).replace("</body>", presses))
    title = re.search(r"<title>(\d+) (\d+) 40 true true 7 7 21</title>", seen_by_a_browser(empty / "told.html"))
    assert title is not None
    assert int(title[2]) <= int(title[1]) <= 500
