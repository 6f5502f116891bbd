"""``gradinc list``: the available models, data sets, strategies and other parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gradinc.base.errors import UserError
from gradinc.base.text import print_columns, print_json
from gradinc.cli.arguments import Parser
from gradinc.config import groups
from gradinc.config.catalog import PLURALS
from gradinc.config.names import choose

WRITTEN = {"due": "strategy.window.due", "metric": "metrics", "augmentation": "data.augment", "tracker": "track"}
"""Keys that choose parts without a group."""

LISTED_KINDS = {PLURALS[group]: group for group in groups.LISTED}


def main(arguments: Sequence[str]) -> int:
    """Print names, summaries and papers of one kind, or of all kinds."""
    options = _parser().read(arguments)
    folders = [Path(folder) for folder in options.config_dir]
    if options.kind is not None and options.kind not in LISTED_KINDS:
        raise UserError(options.kind, "unknown", choose(options.kind, list(LISTED_KINDS), len(LISTED_KINDS)))
    wanted = {options.kind: LISTED_KINDS[options.kind]} if options.kind else LISTED_KINDS
    found = {plural: groups.choices(group, folders) for plural, group in wanted.items()}
    if options.json:
        document = {
            plural: [{"name": c.name, "summary": c.summary, "paper": c.paper} for c in choices]
            for plural, choices in found.items()
        }
        print_json(document[options.kind] if options.kind else document)
        return 0
    for plural, choices in found.items():
        if not options.kind:
            print(f"{plural} ({WRITTEN.get(LISTED_KINDS[plural], LISTED_KINDS[plural])}=…)")
        rows = [[c.name, c.summary + (f" [{c.paper}]" if c.paper else "")] for c in choices]
        print_columns(rows or [["none yet", ""]], indent="" if options.kind else "  ")
    return 0


def _parser() -> Parser:
    parser = Parser("list", "List the available parts, each with its summary and its paper.", "gradinc list models")
    parser.add_argument("kind", nargs="?", help=", ".join(LISTED_KINDS) + "; by default all")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--config-dir", "-cd", action="append", default=[], help="a folder of YAML files of your own")
    return parser
