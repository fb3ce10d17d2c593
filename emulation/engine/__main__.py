"""`python -m emulation.engine up|down|status`: the engine held for work by hand, until it is given back."""

from __future__ import annotations

import argparse
import shlex
import sys
import time

from emulation.engine.daemon import Engine
from emulation.engine.home import EngineHome
from emulation.engine.lease import acquire
from sparkvault.errors import SparkvaultError

_DOWN_TIMEOUT_SECONDS = 60.0


def main(arguments: list[str]) -> int:
    """Hold the engine, give it back, or say who holds it."""
    parser = argparse.ArgumentParser(prog="python -m emulation.engine", description=__doc__)
    parser.add_argument("verb", choices=("up", "down", "status"))
    verb = parser.parse_args(arguments).verb
    try:
        home = EngineHome.default()
        if verb == "up":
            acquire(home, held=True)
            for name, value in Engine(home).environment().items():
                print(f"export {name}={shlex.quote(value)}")
        elif verb == "down":
            return _down(home)
        else:
            _status(home)
    except SparkvaultError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _down(home: EngineHome) -> int:
    home.held.unlink(missing_ok=True)
    deadline = time.monotonic() + _DOWN_TIMEOUT_SECONDS
    while home.keeper_alive() and time.monotonic() < deadline:
        if others := home.live_lessees():
            print(f"given back; it runs on for {', '.join(others)}")
            return 0
        time.sleep(0.2)
    print("the engine has ended" if not home.keeper_alive() else f"it still runs; its log is {home.log}")
    return int(home.keeper_alive())


def _status(home: EngineHome) -> None:
    if not home.keeper_alive():
        print(f"no engine runs in {home.root}")
        return
    print(
        f"an engine runs at {home.socket}, leased by {', '.join(home.live_lessees()) or 'nobody (it is about to end)'}"
    )
    client = Engine(home).client()
    for container in client.containers.list():
        print(f"  {container.name}: {container.attrs['Config']['Image']}, {container.status}")
    client.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
