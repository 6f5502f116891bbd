"""Digests of code and values: equal for equal objects, different after each change that a run can see."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

import gradinc
from gradinc.api.fingerprint import fingerprint, weights_digest
from gradinc.api.sources import NoSource

FACTOR = 2


def scaled(x):
    return x * FACTOR


class Base(nn.Module):
    def __init__(self, p=0.5):
        super().__init__()
        self.drop = nn.Dropout(p)
        self.one = nn.Linear(3, 3)


class Derived(Base):
    def forward(self, x):
        return scaled(self.drop(x))


def closure(factor):
    def loss(out, y):
        return (out - y) * factor

    return loss


def test_equal_objects_have_equal_digests_and_a_models_weights_have_their_own():
    assert fingerprint(Derived(), weights=False) == fingerprint(Derived(), weights=False)
    assert fingerprint(Derived()) != fingerprint(Derived())
    assert fingerprint(closure(Derived())) != fingerprint(closure(Derived()))  # a network that code reaches
    assert fingerprint(closure(2)) == fingerprint(closure(2))
    assert weights_digest(Derived()) != weights_digest(Derived())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Derived(0.5), Derived(0.4)),
        (Derived(), Base()),
        (Derived, Base),
        (closure(2), closure(3)),
        (closure(2), closure(2.0)),
        (closure(np.zeros(3)), closure(np.ones(3))),
        (functools.partial(scaled, 1), functools.partial(scaled, 2)),
        (lambda out, y: out - y, lambda out, y: y - out),
        (nn.Linear(3, 3), nn.Linear(3, 3, bias=False)),
        (nn.Sequential(nn.ReLU()), nn.Sequential(nn.Tanh())),
        ([1, 2], (1, 2)),
        ({"a": 1}, {"a": True}),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
    ],
)
def test_different_objects_have_different_digests(one, other):
    assert fingerprint(one) != fingerprint(other)


def test_a_global_number_and_an_assigned_method_count(monkeypatch):
    before = fingerprint(Derived(), weights=False)
    monkeypatch.setitem(globals(), "FACTOR", 3)
    assert fingerprint(Derived(), weights=False) != before
    monkeypatch.undo()
    assert fingerprint(Derived(), weights=False) == before
    monkeypatch.setattr(Derived, "forward", closure(1))
    assert fingerprint(Derived(), weights=False) != before


def test_cycles_end(monkeypatch):
    net = Derived()
    net.note = {"net": [net]}
    assert len(fingerprint(net)) == 16


def test_what_has_no_source_or_no_bytes_is_refused():
    scope: dict[str, type] = {}
    exec("def typed(out, y): return out", scope)
    with pytest.raises(NoSource, match="typed has no source file"):
        fingerprint(scope["typed"])
    with pytest.raises(NoSource, match="array of Python objects"):
        fingerprint(closure(np.array([object()])))
    with pytest.raises(NoSource, match="generator"):
        fingerprint(closure(item for item in ()))


def written(folder: Path, text: str) -> ModuleType:
    (folder / "edited_module.py").write_text(text)
    sys.modules.pop("edited_module", None)
    importlib.invalidate_caches()
    return importlib.import_module("edited_module")


def test_a_file_that_was_edited_after_it_was_loaded_is_refused_until_it_is_loaded_again(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    text = "def loss(out, y):\n    return out - y\n"
    module = written(folder, text)
    before = fingerprint(module.loss)
    (folder / "edited_module.py").write_text(text.replace("out - y", "y - out"))
    later = time.time() + 5
    os.utime(folder / "edited_module.py", (later, later))
    with pytest.raises(gradinc.UserError, match=r"edited_module\.py: loss was edited after it was loaded"):
        fingerprint(module.loss)
    assert fingerprint(written(folder, text.replace("out - y", "y - out")).loss) != before
    assert fingerprint(written(folder, text).loss) == before
