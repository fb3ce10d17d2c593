"""What the launcher says when it will not or cannot do what was asked."""

from sparkvault_host.errors import HostError


class RefusedSpecificationError(HostError):
    """The specification of a job breaks a rule; nothing was started."""

    def __init__(self, where: str, rule: str) -> None:
        self.where = where
        self.rule = rule
        super().__init__(f"the specification is refused: {where}: {rule}")


class LauncherError(HostError):
    """A job cannot be started, ended or looked at; the message says why."""


class NotReadyError(LauncherError):
    """The cluster takes no job yet, as after a boot; nothing was started, and the same may be asked again."""
