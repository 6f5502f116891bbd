"""Options of a part from its source: their types, defaults and lines of help. No code is run."""

from __future__ import annotations

import ast
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import annotated_types

from gradinc.base.errors import UserError
from gradinc.config import values


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()
"""The default of an option without a default."""


@dataclass(frozen=True)
class Parameter:
    """One option of a part.

    Attributes:
        annotation: its type, with its range as `annotated_types` metadata.
        default: its default, or `REQUIRED`.
        help: its line in the part's docstring.
    """

    annotation: Any
    default: Any
    help: str


@dataclass(frozen=True)
class Form:
    """The form of the definition of a kind of part.

    Attributes:
        arguments: the arguments before its options; None for a class without any.
        others: other arguments that it may take instead.
        base: the class that it must be a subclass of, or None.
    """

    arguments: tuple[str, ...] | None = None
    others: tuple[str, ...] = ()
    base: str | None = None


def check_form(
    kind: str,
    form: Form,
    definition: ast.FunctionDef | ast.ClassDef,
    signature: ast.FunctionDef | None,
    path: Path,
) -> None:
    """Check the definition of a part.

    Args:
        kind: its kind, for messages.
        signature: the definition itself, or the ``__init__`` of a class that has one.
        path: the file, for messages.

    Raises:
        UserError: it is a function instead of a class, lacks its base class, or takes other arguments.
    """
    name, where = definition.name, f"{path}:{definition.lineno}"
    is_class = isinstance(definition, ast.ClassDef)
    if form.arguments is None and not is_class:
        raise UserError(where, f"a {kind} is a class, and {name} is a function", f"Write class {name.title()}")
    if isinstance(definition, ast.ClassDef) and form.base is not None and not definition.bases:
        base = form.base.rpartition(".")[2]
        raise UserError(where, f"{name} is not a subclass of {form.base}", f"Write class {name}({base})")
    if signature is None:
        return
    given = [argument.arg for argument in (*signature.args.posonlyargs, *signature.args.args)][is_class:]
    wanted = list(form.arguments or ())
    fits = len(given) == len(wanted) or given == list(form.others)
    if not fits and signature.args.vararg is None:
        before = ", ".join([*(["self"] if is_class else []), *wanted])
        what = f"{name} takes ({', '.join(given)}) before its options, and a {kind} takes ({', '.join(wanted)})"
        fix = f"Write def {signature.name}({before}, *, …) with every option after the *"
        raise UserError(f"{path}:{signature.lineno}", what, fix)


def parameters_of(
    signature: ast.FunctionDef, tree: ast.Module, path: Path, helps: Mapping[str, str]
) -> dict[str, Parameter]:
    """Return the options of a part: its keyword-only parameters, in their order.

    Args:
        signature: the part's function, or its ``__init__``.
        tree: its module, whose own names annotations may use.
        path: the module's file, for messages.
        helps: the line of help of each option.

    Raises:
        UserError: a type or default is more than a literal, a type or a range.
    """
    aliases = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    reader = _Reader(aliases)
    found = {}
    for argument, default in zip(signature.args.kwonlyargs, signature.args.kw_defaults, strict=True):
        try:
            annotation = Any if argument.annotation is None else reader.read(argument.annotation)
            value = REQUIRED if default is None else reader.read(default)
        except (_Unreadable, TypeError, AttributeError) as error:
            node = error.node if isinstance(error, _Unreadable) else argument
            what = f"option {argument.arg} uses {ast.unparse(node)}, which cannot be read without running the file"
            fix = "Use literals and the names in gradinc.config.values"
            raise UserError(f"{path}:{node.lineno}", what, fix) from error
        found[argument.arg] = Parameter(annotation, value, helps.get(argument.arg, ""))
    return found


def summary_of(text: str) -> str:
    """Return the first line of a docstring, without its full stop."""
    return text.partition("\n")[0].strip().rstrip(".")


def paper_of(text: str) -> str | None:
    """Return the text after ``Paper:`` in a docstring, or None."""
    for line in text.splitlines():
        if line.strip().startswith("Paper:"):
            return line.strip().removeprefix("Paper:").strip().rstrip(".")
    return None


def arguments_of(text: str) -> dict[str, str]:
    """Return the entries of a docstring's ``Args:`` sections, each as one line."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    margin = inside = -1
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        if line.strip() == "Args:":
            margin, inside, current = depth, -1, None
        elif margin < 0 or not line.strip():
            continue
        elif depth <= margin:
            margin = -1
        else:
            inside = depth if inside < 0 else inside
            name, colon, rest = line.strip().partition(":")
            if depth == inside and colon:
                current = found.setdefault(name.split(" ")[0].strip("*`"), [])
                current.append(rest.strip())
            elif current is not None:
                current.append(line.strip())
    return {name: " ".join(" ".join(lines).split()).rstrip(".") for name, lines in found.items()}


class _Unreadable(Exception):
    def __init__(self, node: ast.expr) -> None:
        self.node = node


class _Reader:
    """Evaluates annotations and defaults: literals, types and ranges; nothing else is called or looked up.

    Args:
        aliases: the right-hand sides of the module's own assignments, by name.
    """

    NAMES: typing.ClassVar[dict[str, Any]] = {
        **{t.__name__: t for t in (int, float, bool, str, list, tuple, dict)},
        **{name: getattr(typing, name) for name in ("Annotated", "Any", "Literal", "Optional", "Union")},
        **{name: thing for name, thing in vars(values).items() if name[0].isupper()},
    }
    MODULES: typing.ClassVar[dict[str, Any]] = {
        "math": math,
        "typing": typing,
        "annotated_types": annotated_types,
        "values": values,
    }
    RANGES: typing.ClassVar[dict[str, Any]] = {
        name: getattr(annotated_types, name)
        for name in ("Ge", "Gt", "Le", "Lt", "Interval", "Len", "MaxLen", "MinLen", "MultipleOf")
    }

    def __init__(self, aliases: Mapping[str, ast.expr]) -> None:
        self.aliases = dict(aliases)

    def read(self, node: ast.expr) -> Any:
        """Return the value of an expression.

        Raises:
            _Unreadable: it is more than a literal, a type or a range.
        """
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self._named(node, name)
            case ast.Attribute(value=ast.Name(id=module), attr=name) if module in self.MODULES:
                if module == "math" and name not in ("inf", "pi", "e"):
                    raise _Unreadable(node)
                return getattr(self.MODULES[module], name)
            case ast.Tuple(elts=elements):
                return tuple(self.read(element) for element in elements)
            case ast.List(elts=elements):
                return [self.read(element) for element in elements]
            case ast.Dict(keys=keys, values=entries) if None not in keys:
                return {self.read(k): self.read(v) for k, v in zip(keys, entries, strict=True) if k is not None}
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.read(operand)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return typing.Union[self.read(left), self.read(right)]  # noqa: UP007
            case ast.Subscript(value=value, slice=index):
                return self.read(value)[self.read(index)]
            case ast.Call(func=function, args=arguments, keywords=keywords):
                made = self.read(function)
                if made not in self.RANGES.values():
                    raise _Unreadable(node)
                return made(
                    *(self.read(a) for a in arguments), **{k.arg: self.read(k.value) for k in keywords if k.arg}
                )
        raise _Unreadable(node)

    def _named(self, node: ast.expr, name: str) -> Any:
        if name in self.aliases:
            # Removed while it is read, so that a name defined by itself ends in an error.
            alias = self.aliases.pop(name)
            try:
                return self.read(alias)
            finally:
                self.aliases[name] = alias
        for known in (self.NAMES, self.RANGES):
            if name in known:
                return known[name]
        raise _Unreadable(node)
