"""The errors for files that are not YAML or cannot be composed, with the reader's reason."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from gradinc.base.errors import UserError
from gradinc.config.names import choose

if TYPE_CHECKING:
    from hydra.errors import MissingConfigException


def not_yaml(path: Path, error: Exception, fix: str = "Correct the file") -> UserError:
    """Return the error for an unreadable file, with the line where reading ended, if known."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    if not isinstance(error, yaml.MarkedYAMLError) or problem is None or mark is None:
        return UserError(str(path), "cannot be read as YAML", fix)
    return UserError(str(path), f"cannot be read as YAML: line {mark.line + 1}, {problem}", fix)


def missing_file(error: MissingConfigException) -> UserError:
    """Return the error for a choice without a file."""
    group, _, name = (error.missing_cfg_file or "").partition("/")
    if not name:
        return UserError("conf", "the configuration folder is not complete", "Install gradinc again")
    return UserError(f"{group}={name}", "unknown", choose(name, sorted(error.options or ())))


def first_lines(error: Exception) -> str:
    """Return the summary at the beginning of an exception's text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("full_key:", "object_type=", "reference_type="))]
    causes = [str(error.__cause__).splitlines()[0]] if not lines and error.__cause__ is not None else []
    return "; ".join([*lines, *causes][:2]).replace(":;", ":").rstrip(".") or type(error).__name__
