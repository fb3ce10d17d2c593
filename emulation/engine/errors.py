"""What can go wrong with the engine for tests and the demo."""

from sparkvault.errors import SparkvaultError


class EngineError(SparkvaultError):
    """The engine, or something that was asked of it, failed."""


class EngineMissing(EngineError):
    """This machine cannot run an engine: no root, no Linux, or a program is not installed."""
