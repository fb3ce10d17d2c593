"""The emulation's own requests to the server, under `/emulation/`: whoever boots hosts asks and reports by them.

They are answered on loopback only, never inside an emulated VPC.
"""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC
from typing import Any

from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from emulation.aws.server.authorization import FROM_HOSTS, trusts_service
from emulation.aws.server.fleet import FLEET
from emulation.aws.server.ssm_agents import AGENTS

PREFIX = "/emulation/"
#: The longest that a request for news is kept open, in seconds.
LONGEST_WAIT_SECONDS = 30.0
#: Sessions of instance profiles last six hours; the SDKs refresh before.
SESSION_SECONDS = 6 * 3600


def answer(request: Request, application: Any) -> Response:
    """Answer one request; errors are told as text with status 400."""
    given = json.loads(request.get_data() or b"{}")
    action = request.path.removeprefix(PREFIX)
    try:
        found = _ACTIONS[action](given, application)
    except KeyError as missing:
        return Response(str(missing), status=404)
    except (ValueError, OSError) as error:
        return Response(str(error), status=400)
    return Response(json.dumps(found), content_type="application/json")


def _attach(given: dict[str, Any], application: Any) -> Any:
    # Corrections of moto are installed with a service's first request; hosts need these two at once.
    for service in ("ec2", "autoscaling"):
        application.prepare(service)
    FLEET.attach(given.get("grace_seconds"))
    return {}


def _detach(given: dict[str, Any], application: Any) -> Any:
    FLEET.detach()
    return {}


def _fleet(given: dict[str, Any], application: Any) -> Any:
    return FLEET.wait(int(given.get("after", -1)), min(float(given.get("seconds", 0)), LONGEST_WAIT_SECONDS))


def _report(given: dict[str, Any], application: Any) -> Any:
    FLEET.report(given["instance"], given["what"])
    return {}


def _spot_notice(given: dict[str, Any], application: Any) -> Any:
    FLEET.notify_spot(given["instance"], float(given["seconds"]))
    return {}


def _credentials(given: dict[str, Any], application: Any) -> Any:
    """What the metadata service gives out for an instance's role."""
    from moto.sts.models import sts_backends

    instance = FLEET.instance(given["instance"])
    described = FLEET._described(instance)
    role = described["role"]
    if role is None:
        raise KeyError(f"{instance.id} has no role")
    if not trusts_service(role, "ec2.amazonaws.com", described["account"]):
        raise ValueError(f"the trust policy of {role} does not let EC2 assume it")
    session = sts_backends[described["account"]]["aws"].assume_role(
        region_name=described["region"],
        role_session_name=instance.id,
        role_arn=role,
        policy="",
        duration=int(given.get("seconds", SESSION_SECONDS)),
        external_id="",
    )
    return {
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "Token": session.session_token,
        "Expiration": session.expiration.replace(tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _listen(given: dict[str, Any], application: Any) -> Any:
    """Answer hosts too, on a listening socket inside their network that was passed by its process and descriptor."""

    def for_hosts(environ: dict[str, Any], start_response: Any) -> Any:
        environ[FROM_HOSTS] = True
        return application(environ, start_response)

    from moto.moto_server.werkzeug_app import MotoRequestHandler

    from emulation.network_namespace import listening_socket

    socket = listening_socket(given["namespace"], given["address"], int(given["port"]))
    with socket:
        server = make_server(
            given["address"],
            int(given["port"]),
            for_hosts,
            threaded=True,
            request_handler=MotoRequestHandler,
            fd=os.dup(socket.fileno()),
        )
    threading.Thread(target=server.serve_forever, name=f"endpoint in {given['namespace']}", daemon=True).start()
    return {}


def _ssm_agents(given: dict[str, Any], application: Any) -> Any:
    """From now on the SSM agents are there; None: nowhere."""
    AGENTS.endpoint = given["endpoint"]
    return {}


_ACTIONS = {
    "attach": _attach,
    "credentials": _credentials,
    "detach": _detach,
    "fleet": _fleet,
    "listen": _listen,
    "report": _report,
    "spot-notice": _spot_notice,
    "ssm-agents": _ssm_agents,
}
