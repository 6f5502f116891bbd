"""A page for each command, from its argument parser."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from importlib import import_module

from gradinc.cli.arguments import Parser
from gradinc.cli.main import COMMANDS
from gradinc.cli.train_help import OPTIONS
from website import Incomplete
from website.markdown import block, leaf, page, table

EXAMPLES = {
    "doctor": "gradinc doctor",
    "bench": "gradinc bench --only mlp",
    "attack": "gradinc attack outputs/RUN --eps 0.1",
}
"""Examples of commands whose line in ``gradinc --help`` has none."""

MORE = {"bench": ("strategies", "incremental", "speech", "cuda")}
"""Commands with subcommands."""


class _Read(Exception):
    """Carries the parser of a command that was about to read its arguments."""


def parser_of(command: str, *words: str) -> argparse.ArgumentParser:
    """Return the argument parser of a command: the command is started and stopped when it reads its arguments."""

    def read(self: Parser, arguments: object) -> None:
        raise _Read(self)

    usual = Parser.read
    Parser.read = read  # type: ignore[method-assign, assignment]
    try:
        import_module(f"gradinc.cli.{command}").main(words)
    except _Read as found:
        return found.args[0]
    finally:
        Parser.read = usual  # type: ignore[method-assign]
    raise Incomplete(f"gradinc {command} reads no arguments")


def command_pages() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each command's page, and of their list.

    Raises:
        Incomplete: a command has no example.
    """
    rows = [[f"[{name}](commands/{name}.md)", line.partition(": gradinc")[0]] for name, line in COMMANDS.items()]
    about = """\
`gradinc COMMAND --help` prints the same. Every command takes `--quiet` (no progress) and `--with FOLDER` (a folder of
[your own parts](/own_parts.md)). Exit codes: 0 done; 1 something failed, or a table differs; 2 bad input, and nothing
was created; 130 and 143 interrupted, after saving."""
    yield "reference/commands", page("# Command line", about, table(["command", ""], rows))
    for name, line in COMMANDS.items():
        example = EXAMPLES.get(name) or "gradinc " + line.partition(": gradinc ")[2]
        if example == "gradinc ":
            raise Incomplete(f"gradinc.cli.main.COMMANDS: the line of {name} has no example")
        pieces = ["[Command line](../commands.md)", f"# gradinc {name}", block("console", f"$ {example}")]
        pieces += [train()] if name == "train" else [described(parser_of(name))]
        for more in MORE.get(name, ()):
            pieces += [f"## gradinc {name} {more}", described(parser_of(name, more))]
        yield f"reference/commands/{name}", leaf(*pieces)


def train() -> str:
    """Return the options of ``gradinc train``, which takes keys and flags."""
    rows = [[f"`{names}`", text] for names, text in OPTIONS]
    about = "Trains, resumes or sweeps. The other arguments are [keys](../keys.md) and choices of [parts](../index.md)."
    return f"{about}\n\n{table(['flag', 'meaning'], rows)}"


def described(parser: argparse.ArgumentParser) -> str:
    """Return the usage, the description and the arguments of a parser."""
    usage = re.sub(r"\s+", " ", parser.format_usage().removeprefix("usage: ")).strip()
    usage = usage.replace("[-h] ", "").replace("[--quiet] ", "").replace("[--with FOLDER] ", "")
    rows = []
    for action in parser._actions:
        if action.dest in ("help", "quiet", "folders") or action.help == argparse.SUPPRESS:
            continue
        name = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        value = action.metavar or (action.dest.upper() if action.option_strings and action.nargs != 0 else "")
        if action.choices:
            value = " or ".join(map(str, action.choices))
        if not action.help:
            raise Incomplete(f"{parser.prog}: {name} has no help")
        shown = action.help % {"default": action.default} if "%" in action.help else action.help
        rows.append([f"`{name}`" + (f" {value}" if value and action.option_strings else ""), shown])
    pieces = [(parser.description or "").strip(), block("text", usage)]
    pieces += [table(["argument", "meaning"], rows)] if rows else []
    pieces += [block("text", parser.epilog)] if parser.epilog else []
    return "\n\n".join(piece for piece in pieces if piece)
