"""What can go wrong in the emulation itself, apart from what it emulates."""

from __future__ import annotations

from sparkvault.errors import SparkvaultError


class Ec2EmulationError(SparkvaultError):
    """The emulation cannot do its work: what is missing or went wrong, and what to do."""


class HostError(Ec2EmulationError):
    """A command on a host failed or took too long; `output` is what it printed."""

    def __init__(self, message: str, *, output: str = "") -> None:
        super().__init__(message)
        self.output = output
