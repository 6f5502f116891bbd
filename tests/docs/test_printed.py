"""Every command and every Python block of README and docs/ runs, with small budgets, or NOT_RUN says why not."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from website import shown

from gradinc.base.errors import UserError
from gradinc.cli.main import main
from gradinc.config.compose import compose_jobs

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)

SMALL = ("budget.steps=2", "threads=1", "device=cpu", "progress=quiet")

NOT_RUN = {
    r"cluster=(slurm|ray)": "a cluster; tests/studies/sweep run on one, where there is one",
    r"device=cuda|micro_batch=auto": "a GPU, or CIFAR-10",
    r"data=(fashion_mnist|mnist|clinc150)|^data (clinc150|fsdd)|data=fsdd": "data that is not in the repository",
    r"^table (mnist1d --rows|der_split|safety|plasticity_projection)": "hours, or minutes, of training",
    r"^figure online|^report outputs/plasticity": "the runs of such a table",
    r"^attack RUN": "tests/studies/attacks/test_evasion.py attacks runs",
    r"^invert": "minutes; tests/studies/attacks/test_inversion.py searches for images",
    r"^sharpness": "tests/studies/test_sharpness.py measures it",
    r"^drill": "minutes; tests/studies/test_drill.py kills jobs",
    r"^doctor": "tests/cli/test_doctor.py checks the machine",
    r"^tune": "tests/studies/tune runs searches",
    r"track=|--track|--tensorboard": "tests/runs/test_tracking.py runs the trackers",
    r"--safetensors": "tests/studies/test_weights_export.py writes the files",
    r"--with mylab": "tests/docs/test_own_parts_page.py writes the folder and trains with it",
    r"optm\.lr": "a wrong key; tests/docs/test_site.py compares its line",
    r"LightningCallback": "tests/api/test_trainers.py runs the Trainers",
}
"""What is not run here, by a pattern of the command or the block, with the reason."""

OTHERS = {"start.md", "own_parts.md"}
"""Pages whose Python blocks run elsewhere: with the commands between them, and in test_own_parts_page.py."""

WITH_OUTPUT = [path for path in PAGES if "\n```console\n" in path.read_text(encoding="utf-8")]

NETWORK = """\
from torch import nn


class MyNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x)
"""


def printed(path: Path) -> list[list[str]]:
    """The commands of gradinc in a page's indented blocks, as words."""
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    lines = re.findall(r"^    (?:\$ )?(gradinc [^&\n]+)", text, re.MULTILINE)
    return [shlex.split(line.replace("…", ""), comments=True)[1:] for line in lines]


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def reason(text: str) -> str | None:
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, text)), None)


COMMANDS = [(path.name, words) for path in PAGES for words in printed(path)]
RUN = [(page, words) for page, words in COMMANDS if reason(" ".join(words)) is None]


def write_data() -> None:
    """Small files of every kind, and the folder of a table of one's own."""
    for label in "ab":
        for name in ("images", "texts", "sounds"):
            Path(name, label).mkdir(parents=True)
        for number in range(12):
            shade = np.full((8, 8), 20 * number + (label == "b"), dtype=np.uint8)
            Image.fromarray(shade).save(f"images/{label}/{number}.png")
            Path("texts", label, f"{number}.txt").write_text(f"{label} text {number} of some words\n")
            with wave.open(f"sounds/{label}/{number}.wav", "wb") as sound:
                sound.setnchannels(1)
                sound.setsampwidth(2)
                sound.setframerate(8000)
                sound.writeframes((1000 * np.sin(np.arange(4000) * (number + 1) / 40)).astype("<i2").tobytes())
    Path("book").mkdir()
    Path("book/text.txt").write_text("A sentence that is not long. " * 400)
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    np.savez("FILE.npz", x=x, y=np.arange(60) % 3)
    lines = [",".join([*(f"{value:.3f}" for value in row), str(label % 3)]) for label, row in enumerate(x)]
    Path("FILE.csv").write_text("\n".join(["rooms,area,age,price,label", *lines]) + "\n")
    block = re.findall(r"^```yaml\n# (mine/\S+)\n(.*?)^```", (ROOT / "docs/tables.md").read_text(), re.M | re.S)
    for name, text in block:
        Path(name).parent.mkdir(parents=True)
        Path(name).write_text(text)
    shutil.copytree(ROOT / "docs" / "results", "docs/results")


FOLDERS = {"image_folder": "images", "text_folder": "texts", "audio_folder": "sounds", "text": "book"}


@pytest.fixture(scope="module")
def beginning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the data, and with the runs that the page about reports begins with, each of two updates."""
    folder = tmp_path_factory.mktemp("pages")
    with contextlib.chdir(folder):
        write_data()
        page = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")
        sweep, *_ = re.findall(r"^\$ gradinc (train -m .+)$", page, re.MULTILINE)
        assert main([*sweep.split(), *SMALL]) == 0
        for rate in ("0.05", "0.1"):
            assert main(["train", "model=cnn", f"optimizer.lr={rate}", *SMALL]) == 0
        yield folder


@pytest.fixture
def place(beginning: Path, page: str) -> Path:
    """The folder of a page, which has no runs of other pages."""
    folder = beginning / "pages" / page
    if not folder.exists():
        shutil.copytree(beginning, folder, ignore=shutil.ignore_patterns("pages"))
    return folder


def filled(words: list[str], folder: Path) -> list[str]:
    """The words with the names of this folder instead of RUN, DIR, and the files elsewhere."""
    run = next(folder.glob("outputs/digits-cnn-*"))
    data = next((word.removeprefix("data=") for word in words if word.startswith("data=")), "")
    named = [re.sub(r"^outputs/RUN|^RUN|\boutputs/RUN", f"outputs/{run.name}", word) for word in words]
    named = [re.sub(r"=(DIR|docs)$", f"={FOLDERS.get(data, '')}", word) for word in named]
    named = [word for word in named if not word.startswith("data.files")]
    return [*named, *SMALL] if words[0] == "train" else named


def test_the_list_of_what_is_not_run_has_no_line_too_much() -> None:
    texts = [" ".join(words) for _, words in COMMANDS] + [block for path in PAGES for block in python_blocks(path)]
    assert [pattern for pattern in NOT_RUN if not any(re.search(pattern, text) for text in texts)] == []
    assert len(RUN) > 50


def test_a_training_that_is_not_run_composes() -> None:
    shown = [words[1:] for _, words in COMMANDS if words[0] == "train" and words not in [run for _, run in RUN]]
    known = [words for words in shown if not re.search(r"mylab|[A-Z]{2}|optm", " ".join(words))]
    assert len(known) > 10
    for words in known:
        assert compose_jobs([word for word in words if word != "-m"], multirun="-m" in words), words


@pytest.mark.parametrize(("page", "words"), RUN, ids=lambda part: part if isinstance(part, str) else " ".join(part))
def test_a_printed_command_runs(page: str, words: list[str], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.chdir(place):
        code = main(filled(words, place))
    assert code == 0, capsys.readouterr().err


def not_here(block: str) -> str | None:
    """Why a block of a page with output does not run here."""
    if "../shared" in block and not (ROOT.parent / "shared" / "data").is_dir():
        return "needs ../shared/data"
    return "four minutes of computing its states" if "model=pretrained" in block else None


@pytest.mark.parametrize("path", WITH_OUTPUT, ids=lambda path: path.name)
def test_a_page_prints_what_it_shows(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its lines, apart from their numbers; a training on a large data set has two updates."""
    monkeypatch.setenv("COLUMNS", "120")
    text, ran = path.read_text(encoding="utf-8"), False
    with shown.folder_of_pages(tmp_path):
        for each in shown.run(text, large=("budget.steps=2", "threads=1"), skip=not_here):
            ran = True
            if each.shown:
                assert shown.as_shown(each.shown, each.printed) is not None, f"$ {each.command}\n{each.printed}"
            else:
                assert "error" not in each.printed.lower(), f"$ {each.command}\n{each.printed}"
    if not ran:
        pytest.skip("needs ../shared/data")


@pytest.mark.parametrize(
    ("text", "printed", "kept"),
    [
        ("acc 1 %\n\nn 3", "acc 2.5 %\n\nn  4", "acc 2.5 %\n\nn  4"),
        ("acc 1 %", "acc 2 %\nn 3", None),
        ("acc 1 %", "n 3\nacc 2 %", None),
        ("acc 1 %\n…", "acc 2 %\nn 3", "acc 2 %\n…"),
        ("…\nn 3", "acc 2 %\nbwt 4\nn 5", "…\nn 5"),
        ("a 1\n…\nn 3\n…", "a 2\nbwt 4\nn 5\nlast", "a 2\n…\nn 5\n…"),
        ("a 1\n…\nn 3", "a 2\nbwt 4\nn 5\nlast", None),
        ("loss 1", "acc 1", None),
    ],
)
def test_a_page_may_leave_out_lines_and_change_numbers_only(text: str, printed: str, kept: str | None) -> None:
    assert shown.as_shown(text, printed) == kept


def small(block: str) -> str:
    """A block with small budgets in its trainings."""
    small = "".join(f'"{word}", ' for word in SMALL)
    return re.sub(r"gradinc\.(train|sweep)\(", lambda found: found[0] + small, block)


def lines_of(block: str, names: dict[str, Any]) -> str:
    """What a block with a prompt prints, or the error that it raises."""
    code = "\n".join(line[4:] for line in block.splitlines() if line.startswith((">>> ", "... ")))
    try:
        return repr(eval(code, names))
    except UserError as error:
        return f"UserError: {error}"


WITH_PYTHON = {path.name: path for path in PAGES if python_blocks(path) and path.name not in OTHERS}


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_python_of_a_page_runs(page: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its order, with a net, rows and tasks of the reader's: names that the page uses and does not define."""
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    (place / "mynet.py").write_text(NETWORK)
    x, y = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32), np.arange(60) % 3
    names: dict[str, Any] = {"x": x, "y": y, "x1": x, "y1": y, "x2": 1 - x, "y2": y}
    exec("import gradinc\nfrom mynet import MyNet", names)
    for block in python_blocks(WITH_PYTHON[page]):
        if reason(block):
            continue
        if block.startswith(">>>"):
            assert lines_of(block, names) in block
            continue
        own = next((str(path) for path in place.glob("outputs/arrays-*")), "outputs/RUN")
        exec(compile(small(block).replace("outputs/RUN", own), page, "exec"), names)
