"""What keeps a file from being YAML, in the words of whoever tried to read it."""

from __future__ import annotations

from pathlib import Path

import yaml

from gradinc.base.errors import UserError


def not_yaml(path: Path, error: Exception, mend: str = "Correct the file") -> UserError:
    """The error of a file that cannot be read, with the line where reading ended, where that is known."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    if not isinstance(error, yaml.MarkedYAMLError) or problem is None or mark is None:
        return UserError(str(path), "cannot be read as YAML", mend)
    return UserError(str(path), f"cannot be read as YAML: line {mark.line + 1}, {problem}", mend)
