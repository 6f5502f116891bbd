"""``gradinc test RUN``: measures a run again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gradinc.base.errors import UserError
from gradinc.base.text import print_columns, print_json
from gradinc.cli.arguments import Parser


def main(arguments: Sequence[str]) -> int:
    """Print the run's measures on the test rows of its data set, or of another data set."""
    options = _parser().read(arguments)
    if options.run is None or ("=" in options.run and not Path(options.run).exists()):
        raise UserError(options.run or "gradinc test", "names no run", "Give its directory: gradinc test outputs/RUN")
    from gradinc.config.compose import reconfigured
    from gradinc.records.directory import find_run, read_config

    path = find_run(options.run)
    config = reconfigured(read_config(path), options.overrides, [Path(folder) for folder in options.config_dir])
    from gradinc.runs.trained import FinishedRun  # torch, after all other checks

    measured = FinishedRun.open(path).evaluate(config.data, best=options.best, device=config.device)
    if options.json:
        print_json(measured)
        return 0
    rows = [[name, str(measured[name])] for name in ("run", "data", "weights", "rows")]
    print_columns([*rows, *([f"test {name}", f"{value:.6g}"] for name, value in measured["test"].items())])
    return 0


def _parser() -> Parser:
    parser = Parser(
        "test",
        "Measure a run again on its test rows, or on the test rows of another data set.",
        "gradinc test outputs/RUN\ngradinc test outputs/RUN data=npz data.root=FILE.npz",
    )
    parser.add_argument("run", nargs="?", help="the run's directory, or its name under outputs/")
    parser.add_argument("overrides", nargs="*", help="data=…, data.<key>=…, device=…")
    parser.add_argument("--best", action="store_true", help="use the weights with the best validation score")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--config-dir", "-cd", action="append", default=[], help="a folder of YAML files of your own")
    return parser
