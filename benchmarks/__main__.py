"""`python -m benchmarks NAME [ARGS]`: runs one benchmark; without a name, lists them."""

import pkgutil
import sys
from importlib import import_module
from pathlib import Path

from sparkvault.errors import SparkvaultError
from sparkvault.targets.interruption import interruptible

#: Modules that are not benchmarks.
_SHARED = {"__main__", "emulated_swarm", "network_app", "report", "tpch_application", "tpch_queries"}


def names() -> list[str]:
    """The benchmarks there are: one module each."""
    found = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(module.name for module in found if module.name not in _SHARED)


def main(arguments: list[str]) -> int:
    """Run one benchmark: 0 goals met, 1 not met or failed, 2 for a name that none has, 130 interrupted."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m benchmarks NAME [ARGS]\n")
        for name in names():
            summary = (import_module(f"benchmarks.{name}").__doc__ or "").strip().splitlines()[0]
            print(f"  {name:<16}{summary}")
        return 0
    name, *rest = arguments
    if name not in names():
        print(f"there is no benchmark {name!r}; there are {', '.join(names())}", file=sys.stderr)
        return 2
    try:
        with interruptible():
            result: int = import_module(f"benchmarks.{name}").main(rest)
    except SparkvaultError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; everything that was started has been ended", file=sys.stderr)
        return 130
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
