"""``gradinc data``: lists the data sets, or prepares one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from gradinc.base.errors import UserError
from gradinc.base.text import print_columns, print_json, printable
from gradinc.cli.arguments import Parser
from gradinc.config import catalog
from gradinc.config.names import choose


def main(arguments: Sequence[str]) -> int:
    """List the data sets, or download and check one."""
    from gradinc.data.availability import availability, prepare_data

    options = _parser().read(arguments)
    names = [part.name for part in catalog.parts("data")]
    if options.name == "list":
        found = [availability(name, options.root) for name in names]
        if options.json:
            print_json([asdict(each) for each in found])
        else:
            rows = [
                ["", "rows", "", ""],
                *([a.name, a.rows or "?", "here" if a.here else "–", a.where or a.how] for a in found),
            ]
            print_columns(rows)
        return 0
    if options.name not in names:
        raise UserError(options.name, "no such data set", choose(options.name, names))
    if not options.json and not options.quiet:
        print(f"reading {options.name} as a whole …", file=sys.stderr)
    prepared = prepare_data(options.name, options.root)
    if options.json:
        print_json({**asdict(prepared), "here": True})
        return 0
    official = ", ".join(f"{count:,} {part}" for part, count in prepared.official.items())
    shape = f"up to {prepared.shape[0]} tokens" if prepared.text else "shape " + " × ".join(map(str, prepared.shape))
    values = "a target for each token" if prepared.next_token else "regression"
    classes = values if prepared.classes is None else f"{len(prepared.classes)} classes"
    print(f"{prepared.name}: {prepared.rows:,} rows{f' ({official})' if official else ''} of {shape}, {classes}")
    print(f"from {printable(prepared.where)}")
    print(
        f"next: gradinc train data={prepared.name}" + (f" data.root={printable(options.root)}" if options.root else "")
    )
    return 0


def _parser() -> Parser:
    parser = Parser("data", "List the data sets and how to get them; with a name, download and check one.")
    parser.add_argument("name", nargs="?", default="list", help="a data set; list shows all")
    parser.add_argument("--root", help="where its files are, as in data.root=…")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser
