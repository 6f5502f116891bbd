"""A document that composes: the default run, as plain data."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from gradinc.config.compose import load_config

Changed = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def default_document() -> dict[str, Any]:
    return load_config().document


@pytest.fixture
def document(default_document: dict[str, Any]) -> Changed:
    """The default document with some keys changed, given with two underscores for the dot."""

    def changed(**changes: Any) -> dict[str, Any]:
        result = copy.deepcopy(default_document)
        for key, value in changes.items():
            *sections, last = key.split("__")
            node = result
            for section in sections:
                node = node.setdefault(section, {})
            node[last] = value
        return result

    return changed
