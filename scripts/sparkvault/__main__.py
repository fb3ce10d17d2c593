"""Entry point of `sparkvault`: runs a verb, and turns every error into one message and an exit code."""

import os
import sys
import traceback

from spark_constructs.config_errors import ConfigError
from sparkvault.errors import SparkvaultError


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong use."""
    try:
        from sparkvault.cli.root import app

        app()
    except ConfigError as error:
        _fail(str(error), None, 2)
    except SparkvaultError as error:
        _fail(error.what, error.remedy, error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone (`sparkvault logs | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 (the last resort: no traceback at a user)
        _unexpected(error)


def _fail(what: str, remedy: str | None, code: int) -> None:
    from rich.markup import escape

    from sparkvault.console import err

    err.print(f"[bold red]Error:[/] {escape(what)}")
    if remedy:
        err.print(f"[bold]Remedy:[/] {escape(remedy)}")
    sys.exit(code)


def _unexpected(error: Exception) -> None:
    """An error of AWS's client library, or one nobody thought of: its message here, its trace in a file."""
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(error, BotoCoreError | ClientError):
        _fail(f"AWS answered: {error}", "check the permissions of your role, and the network", 1)
    from sparkvault.project import work_folder

    try:
        trace = work_folder() / "last-error.txt"
        trace.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        where = f"please report it, with {trace}"
    except (SparkvaultError, OSError):
        where = "please report it"
    _fail(f"something went wrong that sparkvault did not expect: {type(error).__name__}: {error}", where, 1)


if __name__ == "__main__":
    main()
