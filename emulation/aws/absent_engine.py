"""The stand-in for a Docker engine that is not there: the CDK CLI calls it, nothing is built and nothing is pushed.

Without it the CLI would run `docker login` against ECR's real host name. Each push that did not happen is written to
the file in `EMBEDDED_AWS_NOT_PUSHED`, one image name per line, so that nobody takes the images for pushed.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
from pathlib import Path

NOT_PUSHED = "EMBEDDED_AWS_NOT_PUSHED"


def main(arguments: list[str]) -> int:
    """Answer what `cdk deploy` asks of `docker`; anything else fails as a missing engine does."""
    verb = arguments[0] if arguments else ""
    if verb == "login":
        sys.stdin.read()  # the password, which is worth nothing
    elif verb == "push":
        with Path(os.environ[NOT_PUSHED]).open("a") as record:
            record.write(f"{arguments[-1]}\n")
        print(f"embedded AWS: no container engine here; {arguments[-1]} was neither built nor pushed", file=sys.stderr)
    elif verb not in ("inspect", "build", "tag", "logout"):
        print(f"embedded AWS: no container engine here, and no stand-in for `docker {verb}`", file=sys.stderr)
        return 1
    return 0


def write_command(folder: Path, root: Path) -> Path:
    """An executable in `folder` that runs this stand-in with this interpreter, for `CDK_DOCKER`."""
    command = folder / "absent-engine"
    run = f"import sys; sys.path.insert(0, {str(root)!r}); from emulation.aws.absent_engine import main; "
    # By way of the shell: a first line cannot name an interpreter whose path has a space in it.
    program = shlex.join([sys.executable, "-c", f"{run}sys.exit(main(sys.argv[1:]))"])
    command.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return command
