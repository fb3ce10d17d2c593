"""The same probes in a container of each runtime, started as YARN's are: what is blocked, what is possible."""

from benchmarks.security.run import main

__all__ = ["main"]
