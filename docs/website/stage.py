"""The source of the site: the pages of docs/ with links that the site can follow, and the pages made from the code."""

from __future__ import annotations

import re
from pathlib import Path

from gradinc.config.catalog import PLURALS
from website import Incomplete
from website.api import api_pages
from website.commands import command_pages
from website.gallery import gallery_pages
from website.keys import key_pages
from website.markdown import page, table, toctree, unbroken
from website.parts import ABOUT, KINDS, pages

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent

ROOT_PAGES = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md")
"""Pages of the repository that the site has too."""

LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
COMMANDS = re.compile(r"(?:^ {4}\S.*\n(?:(?: {4}.*)?\n)*)", re.MULTILINE)
FENCE = re.compile(r"^(`{3,}).*?^\1`*$", re.MULTILINE | re.DOTALL)


def stage(source: Path, figures: Path) -> None:
    """Write the source of the site; a file that is the same already is not written again.

    Args:
        source: the folder; other files in it are removed.
        figures: the folder of the gallery's figures.
    """
    found: dict[Path, bytes] = {}
    for path in sorted(DOCS.rglob("*")):
        name = path.relative_to(DOCS)
        if path.is_file() and name.parts[0] not in ("website", "gallery"):
            text = converted(path) if path.suffix == ".md" else None
            found[placed(name)] = path.read_bytes() if text is None else text.encode()
    for name in ROOT_PAGES:
        found[Path(name.lower())] = converted(ROOT / name).encode()
    generated = [*pages(), *key_pages(), *command_pages(), *api_pages(), reference(), *gallery_pages(figures)]
    found |= {Path(f"{name}.md"): text.encode() for name, text in generated}
    found |= {Path("gallery", path.name): path.read_bytes() for path in sorted(figures.glob("*.svg"))}
    for path in [path for path in source.rglob("*") if path.is_file() and path.relative_to(source) not in found]:
        path.unlink()
    for name, content in found.items():
        path = source / name
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def placed(name: Path) -> Path:
    """Return where a file of docs/ is on the site: a README is the index of its folder."""
    return name.with_name("index.md") if name.name == "README.md" else name


def converted(path: Path) -> str:
    """Return a page as the site has it: links, and commands as blocks with a prompt to copy."""
    text = path.read_text(encoding="utf-8")
    pieces: list[str] = []
    last = 0
    if path.parent == DOCS / "results" and path.name != "README.md":
        pieces.append("---\norphan: true\n---\n\n")  # linked from their index
    for fence in FENCE.finditer(text):
        pieces += [_prose(text[last : fence.start()], path), fence[0]]
        last = fence.end()
    return "".join([*pieces, _prose(text[last:], path)])


def _prose(text: str, path: Path) -> str:
    text = LINK.sub(lambda found: f"{found[1]}{target(found[2], path)}{found[3] or ''}{found[4]}", text)
    return COMMANDS.sub(_fenced, unbroken(text))


def _fenced(found: re.Match[str]) -> str:
    lines = [line[4:] for line in found[0].rstrip("\n").split("\n")]
    trailing = found[0][len(found[0].rstrip("\n")) :]
    language = "bash" if re.match(r"(gradinc|pip|torchrun|scripts/)", lines[0]) else "text"
    return f"```{language}\n" + "\n".join(lines) + f"\n```{trailing}"


def target(link: str, path: Path) -> str:
    """Return a link of a page of the repository as a link of the site.

    Raises:
        Incomplete: the site has no page for it.
    """
    if "://" in link or link.startswith(("/", "mailto:")):
        return link
    to = (path.parent / link).resolve()
    if not to.is_relative_to(ROOT):
        raise Incomplete(f"{path}: {link} is outside of the repository")
    name = to.relative_to(ROOT)
    if name.parts[0] == "docs":
        return f"/{placed(name.relative_to('docs')).as_posix()}"
    if name.as_posix() in ROOT_PAGES:
        return f"/{name.name.lower()}"
    if name.as_posix() == "README.md":
        return "/index.md"
    if name.parts[:2] in (("gradinc", "methods"), ("gradinc", "rules"), ("gradinc", "dues")):
        return f"/reference/{name.parts[1]}/{name.stem}.md"
    if name.parts[:2] == ("conf", "strategy"):
        return f"/reference/strategies/{name.stem}.md"
    if name.as_posix() in ("CITATION.cff", "LICENSE"):
        return f"/{name.name}"
    raise Incomplete(f"{path}: the site has no page for {link}")


def reference() -> tuple[str, str]:
    """Return the path and the text of the reference's first page."""
    rows = [[f"[{PLURALS[kind]}]({PLURALS[kind]}/index.md)", ABOUT[kind]] for kind in KINDS]
    rows.insert(2, ["[strategies](strategies/index.md)", "Files that combine a window and methods."])
    names = ["commands", "keys", "api", "extending"]
    kinds = [f"{PLURALS[kind]}/index" for kind in (*KINDS[:2], "strategy", *KINDS[2:])]
    about = table(
        ["", ""],
        [
            ["[Command line](commands.md)", "Every command and its options."],
            ["[Keys of a config](keys.md)", "Every key: values, default, meaning."],
            ["[Python](api.md)", "`gradinc.train`, `sweep`, `load`, `attach`, and what they return."],
            ["[Python, for your own parts](extending.md)", "Base classes and protocols."],
            ["[Metrics](/metrics.md)", "Their definitions."],
            ["[Files of a run](/run_files.md)", "What a run directory contains."],
        ],
    )
    text = page("# Reference", about, "## Parts", table(["kind", ""], rows), toctree([*names, *kinds]))
    return "reference/index", text
