"""The credentials broker: whose token is taken, from where, and what is given for it."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sparkvault_host.broker import client
from sparkvault_host.broker.service import PATH, Broker, CredentialsServer, IssuingServer
from sparkvault_host.broker.sessions import Sessions
from sparkvault_host.broker.sources import Source, Sources
from sparkvault_host.broker.tokens import Claim, RefusedTokenError, sign, verify

JOB, OTHER_JOB = "20261121-120000-0a1b2c3d", "20261121-120001-0a1b2c3e"
ROLE = "arn:aws:iam::111122223333:role/analytics-tenant-sales-eu-central-1"
NOW = 1_800_000_000.0
KEY = b"k" * 32


class Keys:
    """The cluster's key and roles, as Parameter Store would give them."""

    def keys(self, wanted: str = "") -> dict[str, bytes]:
        return {"0a1b2c3d": KEY}

    def role(self, tenant: str) -> str | None:
        return {"sales": ROLE, "_history": ROLE + "-history"}.get(tenant)


class Sts:
    """Counts the sessions that are asked for; each ends an hour after it began."""

    def __init__(self) -> None:
        self.now = NOW
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, *arguments: str, **_: Any) -> Any:
        self.calls.append(arguments)
        end = datetime.fromtimestamp(self.now + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
        number = len(self.calls)
        return {
            "Credentials": {
                "AccessKeyId": f"ASIA{number}",
                "SecretAccessKey": "secret",
                "SessionToken": "session",
                "Expiration": end,
            }
        }


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Sts:
    made = Sts()
    monkeypatch.setattr("sparkvault_host.broker.sessions.aws", made)
    return made


CONTAINERS = {
    "198.18.128.2": Source(job=JOB, tenant="sales"),
    "198.18.128.3": Source(job=OTHER_JOB, tenant="sales"),
    "198.18.128.4": Source(service="spark-worker"),
    "198.18.128.5": Source(service="spark-history"),
    "198.18.128.6": Source(),
}


@pytest.fixture
def broker(sts: Sts) -> Broker:
    keys: Any = Keys()
    return Broker(keys, CONTAINERS.get, Sessions(clock=lambda: sts.now), clock=lambda: sts.now)


def test_a_token_says_who_it_is_for(broker: Broker) -> None:
    claim = verify(broker.issue(JOB, "sales"), {"0a1b2c3d": KEY}, NOW)
    assert (claim.job, claim.tenant) == (JOB, "sales")


def test_any_change_of_a_token_is_noticed() -> None:
    token = sign(Claim(JOB, "sales", int(NOW) + 60), "0a1b2c3d", KEY)
    for place, letter in enumerate(token):
        changed = token[:place] + ("A" if letter != "A" else "B") + token[place + 1 :]
        # The last letter of each part holds bits that mean nothing to base64.
        if place + 1 == len(token) or token[place + 1] == ".":
            continue
        with pytest.raises(RefusedTokenError):
            verify(changed, {"0a1b2c3d": KEY}, NOW)


@pytest.mark.parametrize(
    "token", ["", "a.b.c.d", "sv1.0a1b2c3d..", "sv1.0a1b2c3d.e30.e30", "sv1.0a1b2c3d.é.é", "x" * 5000, "sv1...", "...."]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(RefusedTokenError):
        verify(token, {"0a1b2c3d": KEY}, NOW)


def test_a_token_ends() -> None:
    token = sign(Claim(JOB, "sales", int(NOW)), "0a1b2c3d", KEY)
    with pytest.raises(RefusedTokenError, match="over"):
        verify(token, {"0a1b2c3d": KEY}, NOW)


def test_a_token_of_another_cluster_is_refused() -> None:
    token = sign(Claim(JOB, "sales", int(NOW) + 60), "0a1b2c3d", b"another key")
    with pytest.raises(RefusedTokenError):
        verify(token, {"0a1b2c3d": KEY}, NOW)


@pytest.mark.parametrize(
    ("job", "tenant", "address", "is_given"),
    [
        (JOB, "sales", "198.18.128.2", True),
        (JOB, "sales", "198.18.128.3", False),
        (JOB, "sales", "198.18.128.4", True),
        (JOB, "sales", "198.18.128.5", False),
        (JOB, "sales", "198.18.128.6", False),
        (JOB, "sales", "198.18.128.77", False),
        ("history", "_history", "198.18.128.5", True),
        ("history", "_history", "198.18.128.2", False),
        ("history", "_history", "198.18.128.4", False),
    ],
)
def test_a_token_is_good_only_in_its_own_container(
    broker: Broker, job: str, tenant: str, address: str, is_given: bool
) -> None:
    token = broker.issue(job, tenant)
    if is_given:
        assert broker.credentials(token, address)["AccessKeyId"].startswith("ASIA")
    else:
        with pytest.raises(RefusedTokenError):
            broker.credentials(token, address)


def test_no_token_is_issued_for_a_tenant_that_is_not_there(broker: Broker) -> None:
    with pytest.raises(RefusedTokenError, match="no tenant"):
        broker.issue(JOB, "marketing")


def test_the_session_carries_tenant_and_job(broker: Broker, sts: Sts) -> None:
    broker.credentials(broker.issue(JOB, "sales"), "198.18.128.2")
    call = sts.calls[0]
    assert call[:4] == ("sts", "assume-role", "--role-arn", ROLE)
    assert call[call.index("--role-session-name") + 1] == JOB
    assert json.loads(call[call.index("--tags") + 1]) == [
        {"Key": "sparkvault-tenant", "Value": "sales"},
        {"Key": "sparkvault-job", "Value": JOB},
    ]


def test_a_job_that_outlives_its_session_goes_on(broker: Broker, sts: Sts) -> None:
    token = broker.issue(JOB, "sales")
    first = broker.credentials(token, "198.18.128.2")
    sts.now += 1800
    assert broker.credentials(token, "198.18.128.2") == first, "a session is used for as long as it is good"
    sts.now += 1000
    second = broker.credentials(token, "198.18.128.2")
    assert second["AccessKeyId"] != first["AccessKeyId"]
    assert second["Expiration"] > first["Expiration"]
    sts.now += 5 * 3600
    assert broker.credentials(token, "198.18.128.2")["AccessKeyId"] == "ASIA3"


@pytest.fixture
def server(broker: Broker) -> Iterator[tuple[str, int]]:
    made = CredentialsServer(broker, ("127.0.0.1", 0))
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made.server_address[0], made.server_address[1]  # type: ignore[misc]
    made.shutdown()
    made.server_close()
    thread.join(10)


def ask(address: tuple[str, int], token: str | None, path: str = PATH) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("GET", path, headers={"Authorization": token} if token is not None else {})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_the_endpoint_answers_as_sdks_want_it(
    broker: Broker, server: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONTAINERS, "127.0.0.1", Source(job=JOB, tenant="sales"))
    status, body = ask(server, broker.issue(JOB, "sales"))
    assert status == 200
    assert set(body) == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
    assert body["Expiration"].endswith("Z")


def test_the_endpoint_tells_strangers_nothing(broker: Broker, server: tuple[str, int]) -> None:
    answers = [ask(server, token) for token in (None, "", "nonsense", broker.issue(JOB, "sales"))]
    assert {status for status, _ in answers} == {401}
    assert len({json.dumps(body) for _, body in answers}) == 1, "every refusal reads the same"
    assert ask(server, broker.issue(JOB, "sales"), "/v1/other")[0] == 404


def test_root_has_tokens_issued_over_a_socket_that_nobody_else_can_open(broker: Broker, tmp_path: Path) -> None:
    path = tmp_path / "broker.sock"
    server = IssuingServer(broker, path)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert path.stat().st_mode & 0o777 == 0o600
        assert verify(client.issue(JOB, "sales", path), {"0a1b2c3d": KEY}, NOW).job == JOB
        with pytest.raises(client.BrokerError, match="no tenant"):
            client.issue(JOB, "marketing", path)
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(path))
            stranger.sendall(b"nonsense\n")
            assert b"error" in stranger.recv(4096)
    finally:
        server.shutdown()
        server.server_close()


class Engine:
    """What Docker says of a host with one job's task on the bridge."""

    def get(self, path: str, **_: Any) -> Any:
        if path == "/networks/docker_gwbridge":
            return {
                "Containers": {
                    "aa11": {"Name": "gateway_0a1b2c3d4e5f", "IPv4Address": "198.18.128.2/24"},
                    "ingress-sbox": {"Name": "gateway_ingress-sbox", "IPv4Address": "198.18.128.9/24"},
                }
            }
        if path == "/containers/json":
            return [{"Id": "c1"}, {"Id": "c2"}]
        labels = {"sparkvault.job": JOB, "sparkvault.tenant": "sales"}
        sandbox = "0a1b2c3d4e5f60718293" if path == "/containers/c2/json" else "ffff"
        return {"NetworkSettings": {"SandboxID": sandbox}, "Config": {"Labels": labels if "c2" in path else {}}}


def test_an_address_is_known_by_the_bridge_and_its_labels() -> None:
    engine: Any = Engine()
    sources = Sources(engine)
    assert sources.at("198.18.128.2") == Source(job=JOB, tenant="sales")
    assert sources.at("198.18.128.9") is None
    assert sources.at("10.20.0.5") is None
