"""What can go wrong with the YARN cluster for tests and the demo."""

from sparkvault.errors import SparkvaultError


class YarnEmulationError(SparkvaultError):
    """A daemon, a runtime or something that was asked of the cluster failed."""
