"""The runs of a table as its last command composed them, so that a list of tables need not compose them again.

A plan is valid for the code and the YAML files that it was made with; its file says which by their digest. It names the
runs with the ``data.root`` of that command: runs of the same table on files in another place are not counted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gradinc.base.files import write_whole
from gradinc.config import groups
from gradinc.config.code import package_digest, registered_packages
from gradinc.records.schemas import read_json
from gradinc.studies.tables.cells import Cell, with_seeds
from gradinc.studies.tables.running import jobs_of
from gradinc.studies.tables.specification import Table


@dataclass(frozen=True)
class Plan:
    """The size of a table and its runs.

    Attributes:
        built: cells whose method is built.
        runs: the directories of the runs of these cells, below the output directory.
    """

    built: int
    cells: int
    runs: list[str]


_KEPT = TypeAdapter(Plan)


def composing_state(config_dirs: Sequence[Path]) -> str:
    """Return the digest of everything that composing reads: gradinc and other packages with parts, and all YAML."""
    total = hashlib.sha256("".join(map(package_digest, registered_packages())).encode())
    for folder in groups.folders(config_dirs):
        for path in sorted(folder.rglob("*.yaml")):
            total.update(f"{path.relative_to(folder).as_posix()}\n".encode())
            total.update(path.read_bytes())
    return total.hexdigest()


def keep_plan(output: Path, table: Table, cells: Sequence[Cell], state: str) -> None:
    """Store the plan of a table.

    Args:
        output: the output directory.
        cells: the cells of all its rows.
        state: of `composing_state`.
    """
    runs = sorted(place.name for place in jobs_of([with_seeds(cell, table.seeds_of(cell.row)) for cell in cells]))
    plan = Plan(sum(cell.missing is None for cell in cells), len(cells), runs)
    file = _file(output, table)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps({"state": state, **asdict(plan)}).encode())


def kept_plan(output: Path, table: Table, state: str) -> Plan | None:
    """Return the stored plan of a table; None without one, or after a change of code or YAML."""
    kept = read_json(_file(output, table))
    if kept is None or kept.pop("state", None) != state:
        return None
    try:
        return _KEPT.validate_python(kept)
    except ValidationError:
        return None


def _file(output: Path, table: Table) -> Path:
    return output / ".plans" / f"{table.name}.json"
