"""Sessions of tenants' roles: an hour each, kept in memory, renewed before they end for as long as somebody asks."""

from __future__ import annotations

import calendar
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from sparkvault_host.aws_cli import aws
from sparkvault_host.broker.tokens import Claim

#: Role chaining ends after an hour, whatever the role allows (IAM user guide, "Roles terms and concepts").
SESSION_SECONDS = 3600
#: Seconds before its end at which a session is renewed; SDKs ask for new ones five minutes before the end.
RENEW_SECONDS = 900.0

#: Session tags; spark_constructs/tenant_roles.py writes policies that ask for them.
TENANT_TAG, JOB_TAG = "sparkvault-tenant", "sparkvault-job"


class Sessions:
    """Credentials by job, in the form in which SDKs take them from a container credentials endpoint."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._locks: dict[Claim, threading.Lock] = {}
        self._kept: dict[Claim, tuple[float, Mapping[str, str]]] = {}

    def credentials(self, claim: Claim, role: str) -> Mapping[str, str]:
        """AccessKeyId, SecretAccessKey, Token, Expiration. Raises AwsError."""
        with self._lock:
            self._forget_old()
            lock = self._locks.setdefault(claim, threading.Lock())
        # One job at a time asks once; jobs do not wait for each other.
        with lock:
            kept = self._kept.get(claim)
            if kept is not None and kept[0] - self._clock() > RENEW_SECONDS:
                return kept[1]
            fresh = self._assume(claim, role)
            self._kept[claim] = (_seconds(fresh["Expiration"]), fresh)
            return fresh

    def _assume(self, claim: Claim, role: str) -> Mapping[str, str]:
        tags = [{"Key": TENANT_TAG, "Value": claim.tenant}, {"Key": JOB_TAG, "Value": claim.job}]
        answer: dict[str, Any] = aws(
            "sts",
            "assume-role",
            "--role-arn",
            role,
            "--role-session-name",
            claim.job,
            "--duration-seconds",
            str(SESSION_SECONDS),
            "--tags",
            json.dumps(tags),
        )
        given = answer["Credentials"]
        return {
            "AccessKeyId": given["AccessKeyId"],
            "SecretAccessKey": given["SecretAccessKey"],
            "Token": given["SessionToken"],
            "Expiration": _zulu(given["Expiration"]),
        }

    def _forget_old(self) -> None:
        now = self._clock()
        for claim in [claim for claim, (ends, _) in self._kept.items() if ends < now]:
            del self._kept[claim]
            self._locks.pop(claim, None)


def _zulu(text: str) -> str:
    """The end of a session as SDKs read it; the aws program writes ``+00:00``."""
    return text[:19] + "Z"


def _seconds(text: str) -> float:
    return float(calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")))
