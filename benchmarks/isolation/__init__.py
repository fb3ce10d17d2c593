"""What an isolation costs: disk, network, processor, memory, start of containers, side by side in each runtime."""

from benchmarks.isolation.run import main

__all__ = ["main"]
