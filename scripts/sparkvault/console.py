"""What a person sees: results on standard output, progress and errors on standard error."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Progress = Callable[[str], None]


@contextmanager
def progress(first: str) -> Iterator[Progress]:
    """Show what is going on: a spinner on a terminal, a line for each step elsewhere."""
    if err.is_terminal:
        with err.status(first) as status:
            yield lambda text: status.update(text)
    else:
        say(first)
        yield say


def say(text: str) -> None:
    """One line about what goes on, on standard error."""
    err.print(text, markup=False)


def result(text: str) -> None:
    """One line of a result, on standard output, never wrapped or styled."""
    out.print(text, markup=False)


def print_json(data: object) -> None:
    """A result for programs."""
    sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the house style."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def confirm(question: str) -> bool:
    """Ask yes or no on the terminal; without one the answer is no."""
    if not sys.stdin.isatty():
        return False
    answer = err.input(f"{question} [y/N] ", markup=False)
    return answer.strip().lower() in ("y", "yes")
