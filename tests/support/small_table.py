"""A small table of our own, and what its tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

DOCUMENT: dict[str, Any] = {
    "title": "A table for tests",
    "citation": {"authors": "Nobody et al.", "title": "Nothing", "arxiv": "2401.00001", "table": "table 1"},
    "data": "digits",
    "grade": "A",
    "spread": "sd",
    "n": 5,
    "budget": "cpu minutes",
    "seeds": [0, 1, 2],
    "protocol": ["data=digits", "model=linear", "optimizer.momentum=0.0", "budget.epochs=1", "threads=1"],
    "columns": {
        "accuracy": {"title": "accuracy", "quantity": "test.accuracy", "unit": "%", "tolerance": 50},
        "steps": {"title": "updates", "quantity": "steps", "decimals": 0},
    },
    "rows": {
        "slow": {"title": "slow", "overrides": ["optimizer.lr=0.001"], "published": {"accuracy": "50.00 ± 5.00"}},
        "fast": {"title": "fast | <b>", "overrides": ["optimizer.lr=0.1"], "published": {"accuracy": "12.00 ± 1.00"}},
        "none": {"title": "to be built", "overrides": ["strategy=pnn"], "published": {"accuracy": "99.99"}},
    },
    "claims": [
        {
            "claim": "fast is better",
            "of": {"row": "fast", "column": "accuracy"},
            "against": {"row": "slow", "column": "accuracy"},
            "better": "higher",
            "effect": 1,
        }
    ],
    "notes": ["[red]not red[/] \x1b]0;"],
}


def write_table(folder: Path, document: dict[str, Any], name: str = "tiny") -> None:
    (folder / "table").mkdir(parents=True, exist_ok=True)
    (folder / "table" / f"{name}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
