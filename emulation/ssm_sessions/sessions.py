"""Sessions: StartSession, the data channel that AWS's own plugin opens, and what runs on the host behind it."""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import json
import os
import pty
import secrets
import shlex
import signal
import struct
import subprocess
import termios
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from emulation.ssm_sessions import smux
from emulation.ssm_sessions.data_channel import PIECE, DataChannel
from emulation.ssm_sessions.documents import SessionPlan, session_plan
from emulation.ssm_sessions.errors import SsmError
from emulation.ssm_sessions.message import CONNECT_TO_PORT_ERROR, TERMINATE_SESSION, Message, Payload
from emulation.ssm_sessions.run_command import FindMachine, Machine, ReadDocument

#: A version of the agent that multiplexes connections and sends no keep-alives inside.
AGENT_VERSION = "3.3.1802.0"
HANDSHAKE_SECONDS = 15.0

#: Connects standard input and output to a port of the host's loopback; exit code 7 where nothing listens.
_CONNECT = """
import os, socket, sys, threading
try:
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
except OSError:
    sys.exit(7)
s.settimeout(None)
def up():
    while True:
        d = os.read(0, 65536)
        if not d: break
        s.sendall(d)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while True:
    d = s.recv(65536)
    if not d: break
    while d: d = d[os.write(1, d):]
"""


@dataclass
class Session:
    """A session that was started."""

    id: str
    instance: str
    machine: Machine
    plan: SessionPlan
    token: str = field(default_factory=lambda: secrets.token_urlsafe(48), repr=False)
    document: str = ""
    #: Where the machine notes which process the session's command is.
    notes: str = "/run"
    started: float = field(default_factory=time.time)
    opened: bool = False
    ended: threading.Event = field(default_factory=threading.Event)


class Sessions:
    """The API's actions, and the server of data channels. Raises SsmError."""

    def __init__(self, find: FindMachine, read_document: ReadDocument) -> None:
        self._find = find
        self._read = read_document
        self._sessions: dict[str, Session] = {}
        self._server: Server = serve(self._serve, "127.0.0.1", 0, max_size=None, ping_interval=None)
        self._port = int(self._server.socket.getsockname()[1])
        threading.Thread(target=self._server.serve_forever, daemon=True, name="SSM data channels").start()

    def stop(self) -> None:
        """End every session."""
        for session in self._sessions.values():
            session.ended.set()
        self._server.shutdown()

    def start_session(self, given: dict[str, Any], caller: str) -> dict[str, Any]:
        """StartSession with a session document; the default document, a shell, is not emulated."""
        name = given.get("DocumentName")
        if not name:
            raise SsmError("InvalidDocument", "SSM-SessionManagerRunShell is not emulated: name a document")
        document = self._read(name)
        if document["DocumentType"] != "Session":
            raise SsmError("InvalidDocument", f"{name} is not a session document")
        plan = session_plan(document["Content"], given.get("Parameters") or {})
        machine = self._find(given["Target"])
        if machine is None:
            raise SsmError("TargetNotConnected", f"{given['Target']} is not connected.")
        return self.open(Session(_new_id(caller), given["Target"], machine, plan, document=name))

    def open_command(self, target: str, machine: Machine, command: str, caller: str, notes: str) -> dict[str, Any]:
        """A command line on a terminal of a machine: what other services, such as ECS Exec, start sessions for."""
        plan = SessionPlan("InteractiveCommands", {"commands": command, "runAsElevated": False})
        return self.open(Session(_new_id(caller), target, machine, plan, notes=notes))

    def open(self, session: Session) -> dict[str, Any]:
        """Its id, token, and the address of its data channel."""
        self._sessions[session.id] = session
        stream = f"ws://127.0.0.1:{self._port}/v1/data-channel/{session.id}?role=publish_subscribe"
        return {"SessionId": session.id, "TokenValue": session.token, "StreamUrl": stream}

    def terminate_session(self, given: dict[str, Any]) -> dict[str, Any]:
        """TerminateSession; one that has ended is terminated again without complaint."""
        session = self._sessions.get(given["SessionId"])
        if session is None:
            raise SsmError("DoesNotExistException", f"Session {given['SessionId']} does not exist")
        session.ended.set()
        return {"SessionId": session.id}

    def describe_sessions(self, given: dict[str, Any]) -> dict[str, Any]:
        """DescribeSessions by state."""
        active = given.get("State", "Active") == "Active"
        return {
            "Sessions": [
                {
                    "SessionId": session.id,
                    "Target": session.instance,
                    "DocumentName": session.document,
                    "Status": "Terminated" if session.ended.is_set() else "Connected",
                    "StartDate": session.started,
                }
                for session in self._sessions.values()
                if session.ended.is_set() != active
            ]
        }

    # ------------------------------------------------------- data channels
    def _serve(self, connection: ServerConnection) -> None:
        session = self._opened(connection)
        if session is None:
            connection.close(1008, "no such session, or not its token")
            return
        channel = DataChannel(connection)
        messages = channel.receive()
        try:
            if _handshake(channel, messages, session):
                if session.plan.kind == "Port":
                    _Ports(channel, session).run(messages)
                else:
                    _Terminal(channel, session).run(messages)
        finally:
            session.ended.set()
            channel.close(session.id)
            connection.close()

    def _opened(self, connection: ServerConnection) -> Session | None:
        """The session whose id is in the address and whose token comes first; a token opens one channel."""
        path = connection.request.path if connection.request else ""
        session = self._sessions.get(path.partition("?")[0].rpartition("/")[2])
        try:
            first = json.loads(connection.recv(HANDSHAKE_SECONDS))
            token = str(first["TokenValue"])
        except (ConnectionClosed, TimeoutError, ValueError, KeyError, TypeError):
            return None
        if session is None or session.opened or session.ended.is_set():
            return None
        if not hmac.compare_digest(token, session.token):
            return None
        session.opened = True
        return session


def _new_id(caller: str) -> str:
    return f"{caller}-{secrets.token_hex(9)[:17]}"


def _handshake(channel: DataChannel, messages: Any, session: Session) -> bool:
    """Tells the plugin what kind of session this is; False where it cannot do that."""
    properties = dict(session.plan.properties) if session.plan.kind == "Port" else None
    action = {
        "ActionType": "SessionType",
        "ActionParameters": {"SessionType": session.plan.kind, "Properties": properties},
    }
    began = time.monotonic()
    request = {"AgentVersion": AGENT_VERSION, "RequestedClientActions": [action]}
    channel.send(Payload.HANDSHAKE_REQUEST, json.dumps(request).encode())
    for message in messages:
        if message.payload_kind == Payload.HANDSHAKE_RESPONSE:
            if json.loads(message.payload).get("Errors"):
                return False
            taken = {"HandshakeTimeToComplete": int((time.monotonic() - began) * 1e9), "CustomerMessage": ""}
            channel.send(Payload.HANDSHAKE_COMPLETE, json.dumps(taken).encode())
            return True
    return False


class _Terminal:
    """A command on a pseudo-terminal of the host."""

    def __init__(self, channel: DataChannel, session: Session) -> None:
        self._channel = channel
        self._session = session

    def run(self, messages: Any) -> None:
        """Until the command or the session ends, or the client goes."""
        marker = f"{self._session.notes}/ssm-session-{self._session.id}"
        # What the real agent does by closing the terminal: whoever holds it is told, with everything that it started.
        command = (
            f"echo $$ > {shlex.quote(marker)}; exec sh -c {shlex.quote(self._session.plan.properties['commands'])}"
        )
        master, slave = pty.openpty()
        streams: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": slave, "start_new_session": True}
        process = self._session.machine.process(["sh", "-c", command], terminal=True, **streams)
        os.close(slave)
        over = threading.Thread(target=self._watch, args=(process, marker), daemon=True)
        over.start()
        output = threading.Thread(target=self._output, args=(master,), daemon=True)
        output.start()
        takes = threading.Thread(target=self._input, args=(messages, master, process), daemon=True)
        takes.start()
        process.wait()
        output.join(timeout=5)
        self._session.ended.set()
        os.close(master)

    def _output(self, master: int) -> None:
        with contextlib.suppress(OSError):
            while piece := os.read(master, PIECE):
                self._channel.send(Payload.OUTPUT, piece)

    def _input(self, messages: Any, master: int, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(OSError):
            for message in messages:
                if message.payload_kind == Payload.OUTPUT:
                    os.write(master, message.payload)
                elif message.payload_kind == Payload.SIZE:
                    size = json.loads(message.payload)
                    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", size["rows"], size["cols"], 0, 0))
                    process.send_signal(signal.SIGWINCH)
                elif _says(message, TERMINATE_SESSION):
                    break
        self._session.ended.set()

    def _watch(self, process: subprocess.Popen[bytes], marker: str) -> None:
        self._session.ended.wait()
        if process.poll() is None:
            hang_up = f"kill -HUP -$(cat {shlex.quote(marker)}) 2>/dev/null; true"
            self._session.machine.process(["sh", "-c", hang_up], interactive=False).communicate(timeout=30)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


class _Ports:
    """Connections to one port of the host's loopback, all in one stream."""

    def __init__(self, channel: DataChannel, session: Session) -> None:
        self._channel = channel
        self._machine = session.machine
        self._session = session
        self._port = session.plan.properties["portNumber"]
        self._connections: dict[int, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def run(self, messages: Any) -> None:
        """Until the session ends or the client goes."""
        threading.Thread(target=self._close_when_ended, daemon=True).start()
        reader = smux.Reader()
        try:
            for message in messages:
                if _says(message, TERMINATE_SESSION) or self._session.ended.is_set():
                    break
                if message.payload_kind == Payload.OUTPUT:
                    for frame in reader.take(message.payload):
                        self._frame(frame)
        finally:
            for process in list(self._connections.values()):
                process.kill()

    def _close_when_ended(self) -> None:
        self._session.ended.wait()
        self._channel.close(self._session.id)

    def _frame(self, frame: smux.Frame) -> None:
        if frame.command == smux.SYN:
            process = self._machine.process(["python3", "-c", _CONNECT, self._port], stderr=subprocess.DEVNULL)
            self._connections[frame.stream] = process
            threading.Thread(target=self._back, args=(frame.stream, process), daemon=True).start()
            return
        found = self._connections.get(frame.stream)
        if found is None or found.stdin is None:
            return
        with contextlib.suppress(OSError):
            if frame.command == smux.PUSH:
                found.stdin.write(frame.data)
                found.stdin.flush()
            elif frame.command == smux.FIN:
                found.stdin.close()

    def _back(self, stream: int, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is not None:
            while piece := os.read(process.stdout.fileno(), smux.PIECE):
                self._send(smux.Frame(smux.PUSH, stream, piece))
        if process.wait() == 7:
            self._channel.send(Payload.FLAG, struct.pack(">I", CONNECT_TO_PORT_ERROR))
        self._send(smux.Frame(smux.FIN, stream))
        self._connections.pop(stream, None)

    def _send(self, frame: smux.Frame) -> None:
        with self._lock:
            self._channel.send(Payload.OUTPUT, frame.encoded())


def _says(message: Message, flag: int) -> bool:
    return message.payload_kind == Payload.FLAG and message.payload == struct.pack(">I", flag)
