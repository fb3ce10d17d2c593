"""One error for everything that is wrong with a configuration: where, what, which rule, what to do."""

from dataclasses import dataclass
from difflib import get_close_matches

MAX_SHOWN_VALUE = 120


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    ``path`` is the field's path as it is written in the file (``hosts.workers.instance_types[0]``).
    """

    path: str
    value: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path} = {self.value}: {self.rule}. Remedy: {self.remedy}"


class ConfigError(Exception):
    """The configuration was refused. Holds every problem that was found, never only the first."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {problem}" for problem in problems)]))


def shown(value: object) -> str:
    """A value as an error shows it: quoted as JSON would quote it, shortened."""
    text = repr(value) if isinstance(value, str) else _plain(value)
    return text if len(text) <= MAX_SHOWN_VALUE else text[: MAX_SHOWN_VALUE - 1] + "…"


def _plain(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def closest(wrong: str, known: list[str]) -> str | None:
    """The known name nearest to a wrong one, if any is near enough to be a likely slip."""
    matches = get_close_matches(wrong.lower(), [name.lower() for name in known], n=1, cutoff=0.6)
    if not matches:
        return None
    return next(name for name in known if name.lower() == matches[0])
