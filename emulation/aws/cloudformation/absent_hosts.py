"""The stand-in for hosts that are not there: it reports success for every instance that nothing has booted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger("emulation.aws.absent_hosts")
REMARK = "sent by the stand-in for absent hosts: nothing was booted"


class AbsentHosts:
    """Signals SUCCESS once for each instance of a group, as `cfn-signal` on a healthy host would."""

    def __init__(self, signal: Callable[[str, str, str], None]) -> None:
        """`signal(stack_id, logical_id, instance_id)` sends a success."""
        self._signal = signal

    def expect(self, stack_id: str, logical_id: str, instances: list[str]) -> None:
        """Send the signals from a thread of its own, as they would come from outside."""
        threading.Thread(target=self._send, args=(stack_id, logical_id, instances), daemon=True).start()

    def _send(self, stack_id: str, logical_id: str, instances: list[str]) -> None:
        for instance in instances:
            _log.warning("absent hosts: signalling SUCCESS for %s, which nothing has booted", instance)
            self._signal(stack_id, logical_id, instance)
