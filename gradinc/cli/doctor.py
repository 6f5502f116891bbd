"""``gradinc doctor``: checks everything that runs need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gradinc.base.text import print_columns, print_json
from gradinc.cli.arguments import Parser


def main(arguments: Sequence[str]) -> int:
    """Print the findings.

    Returns:
        0 if runs can be trained, 1 if something that they need is wrong.
    """
    options = _parser().read(arguments)
    from gradinc.studies.doctor import examine

    findings = examine(Path(options.output))
    if options.json:
        print_json([{"what": f.what, "state": f.state, "found": f.found, "fix": f.fix} for f in findings])
    else:
        print_columns([[f.state, f.what, f.found] for f in findings])
        for finding in findings:
            if finding.fix:
                print_columns([[f"{finding.what}:", finding.fix]])
    return int(any(finding.state == "wrong" for finding in findings))


def _parser() -> Parser:
    parser = Parser(
        "doctor",
        "Check versions, devices, data sets, launchers and the output directory.\n"
        "Exit code 0: runs can be trained; 1: something is wrong.",
        "gradinc doctor\ngradinc doctor --json",
    )
    parser.add_argument("--output", default="outputs", help="directory of runs")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser
