"""The command line's reference for people: `python -m sparkvault.cli.reference` writes it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

from sparkvault.cli.root import app

REFERENCE_FILE = "command-line.md"

_INTRODUCTION = """# Command line

Generated from the program itself: `--help` after a verb says the same. Exit codes are 0 for done, 1 for failed and 2
for wrong use, unless the verb says otherwise. `sparkvault --version` names the versions of sparkvault and Spark.
"""

#: Every verb has it; the introduction says so once.
_HELP = "--help"


def reference() -> str:
    """The reference as it stands in ``docs/``: a section for each verb, with a table of what it takes."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name=app.info.name, **command.context_settings)
    return "\n".join([_INTRODUCTION, *_sections(context)])


def _sections(context: typer.Context) -> Iterator[str]:
    """The verbs of a group in its own order, those of groups among them in theirs."""
    group = context.command
    assert isinstance(group, TyperGroup)  # noqa: S101 (the program itself, and what has verbs)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = typer.Context(command, info_name=name, parent=context, **command.context_settings)
        if isinstance(command, TyperGroup):
            yield from _sections(inner)
        else:
            yield _section(inner)


def _section(context: typer.Context) -> str:
    arguments, needed, rows = [], [], []
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or _HELP in parameter.opts:
            continue
        name, (meaning, _, facts) = record[0], record[1].partition("  [")
        if isinstance(parameter, TyperArgument):
            # Without its type: in most cases it only says that it is text.
            name = parameter.metavar or parameter.display_name_raw.upper()
            arguments.append(name)
        elif isinstance(parameter, TyperOption) and parameter.required:
            needed.append(name)
        facts = facts.removesuffix("]").replace("default: ", "")
        rows.append(f"| {_code(name)} | {facts} | {meaning} |")
    options = ["[OPTIONS]"] if len(rows) > len(arguments) + len(needed) else []
    usage = " ".join([context.command_path, *options, *needed, *arguments])
    text = f"## `{context.command_path}`\n\n{(context.command.help or '').strip()}\n\n```text\n{usage}\n```\n"
    table = ["", "| argument, option | default, bounds | meaning |", "|---|---|---|", *rows, ""]
    return text + "\n".join(table) if rows else text


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def write(folder: Path) -> None:
    """Write the page into the folder."""
    (folder / REFERENCE_FILE).write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
