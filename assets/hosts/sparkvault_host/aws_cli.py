"""AWS through the ``aws`` program that every host has: bounded in time and retries, secrets never on a command line."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from sparkvault_host.errors import HostError

#: How long one call may take, in seconds, with the program's own retries in it.
TIMEOUT_SECONDS = 60.0

#: How often a call is made before its error is reported.
ATTEMPTS = 4

#: First pause between two attempts, in seconds; it doubles, with jitter.
FIRST_PAUSE_SECONDS = 0.5

#: Errors after which the same call may succeed (AWS SDK reference guide, "Retry behavior").
_TRANSIENT = {
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TooManyUpdates",
}

#: Our names for what has no code of AWS.
UNREACHABLE = "Unreachable"
TIMED_OUT = "TimedOut"
NO_CREDENTIALS = "NoCredentials"

_ERROR = re.compile(r"An error occurred \((?P<code>[\w.]+)\)[^:]*: (?P<message>.*)", re.DOTALL)


class AwsError(HostError):
    """A call failed: ``code`` is AWS's (``ParameterNotFound``) or one of this module's names."""

    def __init__(self, code: str, message: str, call: str = "") -> None:
        self.code = code
        self.message = message
        super().__init__("{} failed: {}: {}".format(call or "an AWS call", code, message))


def aws(
    *arguments: str,
    secret_input: Mapping[str, Any] | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    attempts: int = ATTEMPTS,
) -> Any:
    """Call ``aws`` and return its parsed JSON; None where it prints nothing.

    ``secret_input`` holds parameters of the call by the names of the API (``{"Value": …}``); they go through a
    file in memory, so that no other process sees them. Raises AwsError.

    Example::

        aws("ssm", "get-parameter", "--name", name, "--with-decryption")["Parameter"]["Value"]
    """
    call = " ".join(arguments[:2])
    pause = FIRST_PAUSE_SECONDS
    for attempt in range(1, attempts + 1):
        try:
            return _once(call, arguments, secret_input, timeout_seconds)
        except AwsError as error:
            if attempt == attempts or error.code not in _TRANSIENT | {UNREACHABLE, TIMED_OUT, NO_CREDENTIALS}:
                raise
        # Jitter, so that hosts which failed together do not come back together.
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
        pause *= 2
    raise AssertionError("not reached: the last attempt returns or raises")


def other_endpoint(service: str) -> str:
    """Another address of a service than AWS's own, where this host was given one; else empty.

    ``service``: as its variable ends (``S3``, ``CLOUDWATCH_LOGS``; AWS SDK reference, "Service-specific endpoints").
    """
    return os.environ.get(f"AWS_ENDPOINT_URL_{service}") or os.environ.get("AWS_ENDPOINT_URL", "")


def _once(call: str, arguments: tuple[str, ...], secret_input: Mapping[str, Any] | None, timeout_seconds: float) -> Any:
    command = ["aws", *arguments, "--output", "json", "--cli-connect-timeout", "5", "--cli-read-timeout", "20"]
    environment = {"AWS_RETRY_MODE": "standard", "AWS_MAX_ATTEMPTS": "2", **os.environ, "AWS_PAGER": ""}
    for ours in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
        # The program may be Python, too, and none of ours.
        environment.pop(ours, None)
    with contextlib.ExitStack() as opened:
        inherited: tuple[int, ...] = ()
        if secret_input is not None:
            # Not standard input: the program reads its parameters twice.
            memory = opened.enter_context(os.fdopen(os.memfd_create("aws-input"), "w", encoding="utf-8"))
            json.dump(dict(secret_input), memory)
            memory.flush()
            inherited = (memory.fileno(),)
            command += ["--cli-input-json", f"file:///proc/self/fd/{memory.fileno()}"]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_seconds,
                env=environment,
                pass_fds=inherited,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise AwsError(TIMED_OUT, f"no answer within {timeout_seconds:.0f} s", call) from error
        except OSError as error:
            raise AwsError("NotInstalled", str(error), call) from error
    if done.returncode != 0:
        raise _failure(call, done.stderr)
    if not done.stdout.strip():
        return None
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        # Not shown: what a call returns may be a secret.
        raise AwsError("NotJson", "the aws program printed something else than JSON", call) from error


def _failure(call: str, stderr: str) -> AwsError:
    found = _ERROR.search(stderr)
    if found:
        return AwsError(found.group("code"), found.group("message").strip(), call)
    last = (stderr.strip().splitlines() or ["no message"])[-1]
    if "locate credentials" in stderr:
        return AwsError(NO_CREDENTIALS, last, call)
    if "Could not connect" in stderr or "timeout" in stderr.lower() or "Connection" in stderr:
        return AwsError(UNREACHABLE, last, call)
    return AwsError("Failed", last, call)
