"""`python -m emulation.demo [PART]`: runs the demo, or one part of it, and ends with a summary."""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from emulation.aws import EmbeddedAws
from emulation.demo import enclave, fargate, local, swarm, yarn
from emulation.demo.steps import Demo, console
from sparkvault.errors import SparkvaultError
from sparkvault.project import WORK_FOLDER_VARIABLE, work_folder
from sparkvault.targets.interruption import interruptible
from sparkvault.toolchain import find_node, tool_environment

#: Part → what runs it. `all` runs every one but those on request.
PARTS: dict[str, Callable[[Demo, EmbeddedAws, Path], None]] = {
    "local": local.run,
    "swarm": swarm.run,
    "enclave": enclave.run,
    "fargate": fargate.run,
    "yarn": yarn.run,
}

#: Parts that take as long as all others together: `all` leaves them out, and says so.
ON_REQUEST = ("yarn",)


def main(arguments: list[str]) -> int:
    """Run the demo: 0 done, 1 failed, 2 for a part that there is not."""
    wanted = arguments[0] if arguments else "all"
    if len(arguments) > 1 or wanted not in ("all", *PARTS):
        print(f"usage: make demo [TARGET={'|'.join(('all', *PARTS))}]", file=sys.stderr)
        return 2
    started = time.monotonic()
    try:
        find_node(tool_environment())
        # A work folder of its own: a cluster that the user runs is left alone. Short, as paths of sockets are bounded.
        work = Path(tempfile.mkdtemp(prefix="demo-", dir=work_folder()))
    except SparkvaultError as error:
        console.print(f"[bold red]Error:[/] {error}")
        return 1
    try:
        with interruptible(), EmbeddedAws() as aws:
            environment = aws.environment(tool_environment()) | {WORK_FOLDER_VARIABLE: str(work)}
            demo = Demo(environment)
            parts = dict(PARTS)
            if wanted == "all" and not swarm.why_not():
                # The same stacks are deployed with their hosts then.
                parts["local"] = local.on_one_machine
            for name, part in parts.items():
                if wanted == name or (wanted == "all" and name not in ON_REQUEST):
                    part(demo, aws, work)
            if wanted == "all":
                demo.note("YARN", "not part of this: `make demo TARGET=yarn` shows it in some minutes")
    except SparkvaultError as error:
        console.print("\n[bold red]The demo failed:[/]", end=" ")
        console.print(str(error), markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("\ninterrupted; everything that was started has been ended")
        return 130
    finally:
        shutil.rmtree(work, ignore_errors=True)
    demo.note("time", f"{time.monotonic() - started:.0f} s")
    summary = Table("what", "found", title="Summary", title_justify="left", show_header=False, box=None)
    for what, found in demo.rows:
        summary.add_row(f"[bold]{what}[/]", found)
    console.print()
    console.print(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
