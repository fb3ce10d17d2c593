"""`EmulatedEcs`: the service behind HTTP on loopback, with the metadata and credentials that tasks ask for."""

import json
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from emulation.ecs.account import Account
from emulation.ecs.containers import Containers
from emulation.ecs.errors import EcsError
from emulation.ecs.faults import Faults
from emulation.ecs.service import EcsService, Timings

_TARGET = "AmazonEC2ContainerServiceV20141113."
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/")

#: All that a task's process gets of this machine.
_PASSED_ON = ("PATH", "LANG", "JAVA_HOME")


class EmulatedEcs:
    """An ECS for one region on a free port of 127.0.0.1; tasks are processes of this machine.

        with EmulatedEcs(account, endpoints={"AWS_ENDPOINT_URL_KMS": "http://127.0.0.1:5000"}) as ecs:
            subprocess.run([...], env=os.environ | {"AWS_ENDPOINT_URL_ECS": ecs.endpoint})

    Signatures are not verified: who calls is told by the access key, as declared in the account. ``endpoints`` are
    variables that every task gets, as an AWS network would lead it to the services. ``image``: paths in the image →
    where this machine has that, in place of a container's root file system; ``containers``: run tasks in such instead.
    """

    def __init__(
        self,
        account: Account,
        *,
        endpoints: Mapping[str, str] | None = None,
        faults: Faults | None = None,
        timings: Timings | None = None,
        simulate: Callable[[int], bool] = lambda number: False,
        image: Mapping[str, str] | None = None,
        containers: Containers | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="emulated-ecs-"))
        base = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | dict(endpoints or {})
        self.service = EcsService(
            account,
            self.folder,
            base,
            faults=faults,
            timings=timings,
            simulate=simulate,
            image=image,
            containers=containers,
        )
        self._server = _Server(("127.0.0.1", 0), self.service)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.service.at = self.endpoint
        self.service.base.setdefault("AWS_ENDPOINT_URL_ECS", self.endpoint)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.service.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address: tuple[str, int], service: EcsService) -> None:
        super().__init__(address, _Handler)
        self.service = service


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """A call of the API."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        action = self.headers.get("X-Amz-Target", "").removeprefix(_TARGET)
        try:
            answer = self.server.service.call(action, json.loads(body or b"{}"), self._who())
        except EcsError as error:
            self._answer(error.status, {"__type": error.code, "message": error.message})
            return
        self._answer(200, answer)

    def do_GET(self) -> None:
        """Task metadata (version 4) and the credentials of a task's role."""
        _, kind, identity, *rest = [*self.path.split("/"), "", ""]
        task = self.server.service.task(identity)
        if task is None:
            self._answer(404, {"message": "no such task"})
        elif kind == "v4":
            metadata = task.metadata()
            self._answer(200, metadata if rest[0] == "task" else metadata["Containers"][0])
        elif kind == "credentials" and task.role:
            self._answer(200, self.server.service.account.credentials(task))
        else:
            self._answer(404, {"message": "the task has no role"})

    def _who(self) -> str:
        """The ARN behind the access key of the request; tasks act as their roles."""
        found = _CREDENTIAL.search(self.headers.get("Authorization", ""))
        key = found[1] if found else ""
        service = self.server.service
        if key in service.account.users:
            return service.account.users[key]
        role = next((task.role for task in list(service.tasks.values()) if task.access_key == key), None)
        return role or f"unknown access key {key}"

    def _answer(self, status: int, data: dict[str, Any]) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tests look at what was called, not at a log."""
