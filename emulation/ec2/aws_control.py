"""Talks to the embedded AWS about its instances: what should run, and what has become of it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from emulation.ec2.errors import Ec2EmulationError

ANSWER_TIMEOUT_SECONDS = 60.0


class AwsControl:
    """The emulation's own requests to one embedded AWS; raises `Ec2EmulationError` where it refuses or is gone."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def attach(self, grace_seconds: float | None) -> None:
        """From now on this process boots the hosts."""
        self._ask("attach", grace_seconds=grace_seconds)

    def detach(self) -> None:
        """Nobody boots hosts any more."""
        self._ask("detach")

    def fleet(self, after: int = -1, seconds: float = 0) -> dict[str, Any]:
        """`version` and `instances`, as soon as the version is not `after`, at the latest after so many seconds."""
        return self._ask("fleet", after=after, seconds=seconds)

    def report(self, instance: str, what: str) -> None:
        """`running`, `stopped`, `terminated` or `impaired`."""
        self._ask("report", instance=instance, what=what)

    def spot_notice(self, instance: str, seconds: float) -> None:
        """The instance will be taken back after so many seconds."""
        self._ask("spot-notice", instance=instance, seconds=seconds)

    def credentials(self, instance: str) -> dict[str, str]:
        """A session of the role of an instance's profile."""
        return self._ask("credentials", instance=instance)

    def listen(self, namespace: str, address: str, port: int) -> None:
        """Answer requests inside a network namespace too."""
        self._ask("listen", namespace=namespace, address=address, port=port)

    def _ask(self, action: str, **given: Any) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 (the embedded AWS, on loopback)
            f"{self.endpoint}/emulation/{action}", data=json.dumps(given).encode(), method="POST"
        )
        try:
            with self._opener.open(request, timeout=ANSWER_TIMEOUT_SECONDS) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            raise Ec2EmulationError(f"the embedded AWS refused `{action}`: {error.read().decode()}") from error
        except OSError as error:
            raise Ec2EmulationError(f"the embedded AWS at {self.endpoint} does not answer: {error}") from error
