"""The instance metadata service, version 2 only, of one emulated VPC; who asks is told by the address asked from.

Source: EC2 user guide, "Use the Instance Metadata Service to access instance metadata" and "Instance metadata
categories". The answer to a token's PUT has the instance's hop limit as its IP time to live, as on EC2: with a limit of
one it does not get through to a container.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from emulation.ec2.errors import Ec2EmulationError

LONGEST_TOKEN_SECONDS = 21600
#: How long before their end credentials are replaced by new ones.
CREDENTIALS_MARGIN_SECONDS = 3600
_TOKEN_PATH = "/latest/api/token"  # noqa: S105 (a path)

Instance = Mapping[str, Any]


class MetadataService:
    """Answers on a socket until `close`. `instance_at(address)` finds who asks, or None."""

    def __init__(
        self,
        listener: socket.socket,
        instance_at: Callable[[str], Instance | None],
        credentials: Callable[[str], dict[str, str]],
    ) -> None:
        self._instance_at = instance_at
        self._issue = credentials
        self._tokens: dict[str, tuple[str, float]] = {}
        self._sessions: dict[str, tuple[dict[str, str], float]] = {}
        self._lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_GET(self) -> None:
                service._get(self)

            def do_PUT(self) -> None:
                service._put(self)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Say nothing: credentials pass here."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A host that ends in mid-request is no error of ours."""

        self._server = Server(("", 0), Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listener
        self._server.server_name, self._server.server_port = "169.254.169.254", 80
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="instance metadata", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    # ------------------------------------------------------------- requests
    def _put(self, request: BaseHTTPRequestHandler) -> None:
        instance = self._caller(request)
        ttl = request.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if instance is None:
            _send(request, 403, "")
        elif request.path != _TOKEN_PATH:
            _send(request, 404, "")
        elif "X-Forwarded-For" in request.headers:
            _send(request, 403, "")
        elif not ttl.isdigit() or not 1 <= int(ttl) <= LONGEST_TOKEN_SECONDS:
            _send(request, 400, "")
        else:
            token = secrets.token_urlsafe(41)
            with self._lock:
                now = time.monotonic()
                self._tokens = {key: one for key, one in self._tokens.items() if one[1] > now}
                self._tokens[token] = (instance["address"], now + int(ttl))
            request.connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, int(instance["metadata"]["hop_limit"]))
            # The connection keeps that limit to its end: what is lost is sent again, and must be lost again.
            request.close_connection = True
            _send(request, 200, token, {"X-aws-ec2-metadata-token-ttl-seconds": ttl, "Connection": "close"})

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        instance = self._caller(request)
        token = request.headers.get("X-aws-ec2-metadata-token", "")
        with self._lock:
            bound, end = self._tokens.get(token, ("", 0.0))
        if instance is None:
            _send(request, 403, "")
            return
        if bound != instance["address"] or end < time.monotonic():
            _send(request, 401, "")
            return
        try:
            found = self._answer(instance, request.path)
        except Ec2EmulationError as error:
            _send(request, 500, str(error))
            return
        _send(request, 404 if found is None else 200, found or "")

    def _caller(self, request: BaseHTTPRequestHandler) -> Instance | None:
        instance = self._instance_at(request.client_address[0])
        return instance if instance and instance["metadata"]["endpoint"] == "enabled" else None

    def _answer(self, instance: Instance, path: str) -> str | None:
        parts = [part for part in path.partition("?")[0].split("/") if part]
        if parts[:1] != ["latest"]:
            return None
        if parts[1:] == ["user-data"]:
            data = instance["user_data"]
            return b64decode(data).decode() if data else None
        if parts[1:] == ["dynamic", "instance-identity", "document"]:
            return json.dumps(identity_document(instance), indent=2)
        if parts[1:2] != ["meta-data"]:
            return None
        found: Any = self._tree(instance)
        for part in parts[2:]:
            if not isinstance(found, dict) or part not in found:
                return None
            found = found[part]
        if callable(found):
            found = found()
        if isinstance(found, dict):
            return "\n".join(f"{name}/" if isinstance(below, dict) else name for name, below in found.items())
        return None if found is None else str(found)

    def _tree(self, instance: Instance) -> dict[str, Any]:
        mac = instance["mac"]
        tree: dict[str, Any] = {
            "ami-id": instance["image"],
            "hostname": instance["name"],
            "instance-id": instance["id"],
            "instance-life-cycle": "spot" if instance["spot"] else "on-demand",
            "instance-type": instance["type"],
            "local-hostname": instance["name"],
            "local-ipv4": instance["address"],
            "mac": mac,
            "network": {
                "interfaces": {
                    "macs": {
                        mac: {
                            "local-ipv4s": instance["address"],
                            "security-group-ids": "\n".join(instance["security_groups"]),
                            "subnet-id": instance["subnet"],
                            "subnet-ipv4-cidr-block": instance["subnet_cidr"],
                            "vpc-id": instance["vpc"],
                        }
                    }
                }
            },
            "placement": {
                "availability-zone": instance["zone"],
                "availability-zone-id": instance["zone_id"],
                "region": instance["region"],
            },
            "services": {"domain": "amazonaws.com", "partition": "aws"},
        }
        if instance["prefixes"]:
            interface = tree["network"]["interfaces"]["macs"][mac]
            interface["ipv4-prefix"] = "\n".join(instance["prefixes"])
        if instance["role"]:
            name = instance["role"].rpartition("/")[2]
            info = {"Code": "Success", "InstanceProfileArn": instance["profile"]}
            tree["iam"] = {
                "info": json.dumps(info),
                "security-credentials": {name: lambda: json.dumps(self._credentials(instance["id"]))},
            }
        if instance["notice"]:
            tree["spot"] = {
                "instance-action": json.dumps(instance["notice"]),
                "termination-time": instance["notice"]["time"],
            }
        if instance["lifecycle"]:
            leaving = instance["lifecycle"].startswith("Terminating")
            tree["autoscaling"] = {"target-lifecycle-state": "Terminated" if leaving else "InService"}
        if instance["metadata"]["tags"] == "enabled":
            tree["tags"] = {"instance": dict(instance["tags"])}
        return tree

    def _credentials(self, instance: str) -> dict[str, str]:
        with self._lock:
            kept, renew = self._sessions.get(instance, ({}, 0.0))
            if time.time() >= renew:
                issued = self._issue(instance)
                end = time.mktime(time.strptime(issued["Expiration"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
                now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                kept = {"Code": "Success", "LastUpdated": now, "Type": "AWS-HMAC"} | issued
                self._sessions[instance] = (kept, end - CREDENTIALS_MARGIN_SECONDS)
            return kept


def identity_document(instance: Instance) -> dict[str, Any]:
    """The instance identity document, unsigned."""
    return {
        "accountId": instance["account"],
        "architecture": "x86_64",
        "availabilityZone": instance["zone"],
        "imageId": instance["image"],
        "instanceId": instance["id"],
        "instanceType": instance["type"],
        "pendingTime": instance["launched"],
        "privateIp": instance["address"],
        "region": instance["region"],
        "version": "2017-09-30",
    }


def _send(request: BaseHTTPRequestHandler, status: int, body: str, headers: Mapping[str, str] | None = None) -> None:
    data = body.encode()
    request.send_response(status)
    request.send_header("Content-Type", "text/plain")
    request.send_header("Content-Length", str(len(data)))
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(data)
    request.wfile.flush()
