"""Pages of the Python interface, from docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module

import gradinc
from website import Incomplete
from website.markdown import page

RETURNED = {
    "gradinc.runs.trained.FinishedRun": "What `train` and `load` return",
    "gradinc.api.sweep.Runs": "What `sweep` returns",
    "gradinc.api.attached.Attached": "What `attach` returns",
}

EXTENDED = {
    "gradinc.core.method.Method": "methods",
    "gradinc.core.rule.Rule": "rules",
    "gradinc.core.rule.SeparateRule": "rules that see each micro-batch's gradient",
    "gradinc.core.due.Due": "dues",
    "gradinc.core.metric.Metric": "metrics",
    "gradinc.core.criterion_setting.CriterionSetting": "criteria that depend on the data",
    "gradinc.core.view.LearnerView": "what a method or a rule may use of the learner",
    "gradinc.core.memory.Memory": "memories of past rows",
    "gradinc.core.window.Window": "the micro-batches of one update",
    "gradinc.data.batch.Batch": "one micro-batch",
    "gradinc.data.task.Task": "one task",
    "gradinc.data.source.Source": "data sets",
    "gradinc.data.experience.Experience": "streams",
}

MODULES = {
    "gradinc.config.values": "Types of options",
    "gradinc.core.rehearsal": "Functions for methods with a memory",
}


def object_of(name: str) -> object:
    """Return an object by its full name."""
    module, _, last = name.rpartition(".")
    return getattr(import_module(module), last)


def check_documented(name: str) -> None:
    """Check that an object and its public functions have docstrings.

    Raises:
        Incomplete: one has none.
    """
    thing = object_of(name)
    if not thing.__doc__:
        raise Incomplete(f"{name} has no docstring")
    for key, member in vars(thing).items() if inspect.isclass(thing) else ():
        described = inspect.isroutine(member) or isinstance(member, property)
        if described and not key.startswith("_") and not inspect.getdoc(getattr(thing, key)):
            raise Incomplete(f"{name}.{key} has no docstring")


def api_pages() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of the pages.

    Raises:
        Incomplete: a public name has no docstring.
    """
    names = [f"gradinc.{name}" for name in gradinc.__all__ if not name.startswith("__")]
    for name in (*names, *RETURNED, *EXTENDED):
        check_documented(name)
    functions = "\n\n".join(_auto("exception" if name == "gradinc.UserError" else "function", name) for name in names)
    classes = "\n\n".join(f"## {title}\n\n{_auto('class', name)}" for name, title in RETURNED.items())
    about = "[gradinc from Python](/python.md) introduces these functions; [your own loop](/own_loop.md) has `attach`."
    yield "reference/api", page("# Python", about, functions, classes)
    parts = "\n\n".join(f"## {title.capitalize()}\n\n{_auto('class', name)}" for name, title in EXTENDED.items())
    roles = f"## Roles of methods\n\n{_auto('data', 'gradinc.core.method.Role')}"
    modules = "\n\n".join(f"## {title}\n\n{_auto('module', name)}" for name, title in MODULES.items())
    about = "Base classes and protocols of [your own parts](/own_parts.md)."
    yield "reference/extending", page("# Python, for your own parts", about, parts, roles, modules)


def _auto(kind: str, name: str) -> str:
    members = "\n   :members:" if kind in ("class", "module") else ""
    return "```{eval-rst}\n.. auto" + f"{kind}:: {name}{members}\n```"
