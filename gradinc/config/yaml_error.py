"""The error for a file that is not YAML, with the reader's reason."""

from __future__ import annotations

from pathlib import Path

import yaml

from gradinc.base.errors import UserError


def not_yaml(path: Path, error: Exception, fix: str = "Correct the file") -> UserError:
    """Return the error for an unreadable file, with the line where reading ended, if known."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    if not isinstance(error, yaml.MarkedYAMLError) or problem is None or mark is None:
        return UserError(str(path), "cannot be read as YAML", fix)
    return UserError(str(path), f"cannot be read as YAML: line {mark.line + 1}, {problem}", fix)
