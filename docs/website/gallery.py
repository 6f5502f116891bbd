"""The gallery: each script of docs/gallery draws a figure, and its page shows figure, output and script."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import runpy
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from gradinc.config import groups
from gradinc.config.catalog import PACKAGE
from website.markdown import block, leaf, page

SCRIPTS = Path(__file__).parents[1] / "gallery"


def scripts() -> list[Path]:
    """Return the scripts in the order of the gallery: their names begin with a number."""
    return sorted(SCRIPTS.glob("*.py"))


def name_of(script: Path) -> str:
    """Return the name of a script's page and figure."""
    return script.stem.partition("_")[2]


def draw(folder: Path) -> None:
    """Run each script whose figure is missing or from other code; a digest beside a figure says what made it.

    Raises:
        Exception: a script failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    code = digest([*sorted(PACKAGE.rglob("*.py")), *sorted(groups.conf_folder().rglob("*.yaml"))])
    names = {name_of(script) for script in scripts()}
    for path in [path for path in folder.iterdir() if path.stem not in names]:
        path.unlink()
    old = []
    for script in scripts():
        record = folder / f"{name_of(script)}.json"
        wanted = f"{code}-{digest([script])}"
        if not record.exists() or json.loads(record.read_text())["digest"] != wanted:
            old.append((script, folder, wanted))
    if old:
        import torch

        import gradinc.runs.execute  # noqa: F401  (once, for all processes)

        torch.set_num_threads(1)
        os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="svg")
        with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
            list(pool.map(run, *zip(*old, strict=True)))


def digest(paths: list[Path]) -> str:
    """Return a digest of files."""
    made = hashlib.sha256()
    for path in paths:
        made.update(hashlib.sha256(path.read_bytes()).digest())
    return made.hexdigest()[:16]


def run(script: Path, folder: Path, wanted: str) -> None:
    """Run a script in an empty folder, and store its figure and what it printed."""
    name, output = name_of(script), io.StringIO()
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        with contextlib.redirect_stdout(output):
            runpy.run_path(str(script), run_name="__main__")
        shutil.copy(Path(place, f"{name}.svg"), folder / f"{name}.svg")
    record = {"digest": wanted, "output": output.getvalue()}
    (folder / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")


def gallery_pages(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each example's page, and of the gallery."""
    cards = []
    for script in scripts():
        name, source = name_of(script), script.read_text(encoding="utf-8")
        title, _, text = (ast.get_docstring(ast.parse(source)) or "").partition("\n")
        printed = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["output"]
        yield (
            f"gallery/{name}",
            leaf(
                "[Gallery](index.md)",
                f"# {title.rstrip('.')}",
                text.strip(),
                f"![{title}]({name}.svg)",
                f"It prints\n\n{block('text', printed)}" if printed.strip() else "",
                f"## The script\n\n`docs/gallery/{script.name}`\n\n{block('python', source)}",
            ),
        )
        picture = f":img-top: {name}.svg\n:link: {name}\n:link-type: doc"
        cards.append(f":::{{grid-item-card}} {title.rstrip('.')}\n{picture}\n:::")
    about = "Each example is a script of seconds. The build of these pages runs it and draws its figure."
    grid = "::::{grid} 1 2 3 3\n:gutter: 2\n\n" + "\n\n".join(cards) + "\n::::"
    yield "gallery/index", page("# Gallery", about, grid)
