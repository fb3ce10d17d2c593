"""AWS's own session-manager-plugin, which puts a session of Systems Manager on this terminal."""

import json
import os
import shutil
from typing import Any

from sparkvault.account import Account
from sparkvault.errors import NotAvailable
from sparkvault.targets.interruption import run_on_terminal

PLUGIN = "session-manager-plugin"

#: The plugin reads the answer that opened the session from it.
_ANSWER_VARIABLE = "AWS_SSM_START_SESSION_RESPONSE"


def find_plugin() -> str:
    """Raises NotAvailable where the plugin is not installed."""
    plugin = shutil.which(PLUGIN)
    if plugin is None:
        raise NotAvailable(
            f"{PLUGIN} is not installed on this machine",
            "install it as the Systems Manager user guide says (Install the Session Manager plugin for the AWS CLI)",
        )
    return plugin


def plugin_command(
    account: Account, answer: dict[str, Any], request: dict[str, Any], endpoint: str
) -> tuple[list[str], dict[str, str]]:
    """The plugin's command line and environment, as the AWS CLI gives them. Raises NotAvailable.

    Arguments: variable with the answer, region, operation, profile, request, Systems Manager's endpoint. The answer
    holds the token of this one session. The plugin takes it out of its environment at once; as an argument everybody
    on this machine could read it.
    """
    profile = account.session.profile_name
    command = [
        find_plugin(),
        _ANSWER_VARIABLE,
        account.region,
        "StartSession",
        profile if profile != "default" else "",
        json.dumps(request),
        endpoint,
    ]
    return command, {**os.environ, _ANSWER_VARIABLE: json.dumps(answer)}


def run_session(account: Account, session: dict[str, Any], target: str) -> int:
    """A session that was opened by another service, such as ECS Exec, on this terminal; returns when it ends.

    ``session``: id, address and token as that service gave them (``sessionId``, ``streamUrl``, ``tokenValue``).
    """
    answer = {
        "SessionId": session["sessionId"],
        "StreamUrl": session["streamUrl"],
        "TokenValue": session["tokenValue"],
    }
    endpoint = account.client("ssm").meta.endpoint_url
    command, environment = plugin_command(account, answer, {"Target": target}, endpoint)
    return run_on_terminal(command, environment)
