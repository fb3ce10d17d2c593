"""The simulated device does what the real one does: registers and locks, limits, wire format, real signatures."""

import hashlib
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulation.nsm import NsmServer, NsmSocketError, Registers, SimulatedNsm, SimulatedPki, exchange, wire_protocol
from emulation.nsm.__main__ import main
from spark_enclave.attestation import TrustAnchor, inspect, refusals
from tests.enclave.conftest import NOW, PCRS, make_enclave
from tests.enclave.eif_recipes import cook

REPOSITORY = Path(__file__).resolve().parents[2]
SILENT = make_enclave().nsm


@pytest.fixture
def nsm() -> SimulatedNsm:
    return make_enclave().nsm


def ask(nsm: SimulatedNsm, request: object) -> Any:
    return cbor2.loads(wire_protocol.answer(nsm, cbor2.dumps(request)))


def test_the_device_describes_itself(nsm: SimulatedNsm) -> None:
    described = ask(nsm, "DescribeNSM")["DescribeNSM"]
    assert described["max_pcrs"] == 32
    assert described["digest"] == "SHA384"
    assert described["locked_pcrs"] == list(range(16))
    assert (described["version_major"], described["version_minor"], described["version_patch"]) == (1, 0, 0)
    assert re.fullmatch(r"i-[0-9a-f]{17}-enc[0-9a-f]{16}", described["module_id"])


def test_the_registers_of_the_hypervisor_are_locked_from_the_start(nsm: SimulatedNsm) -> None:
    for index in range(16):
        expected = {"DescribePCR": {"lock": True, "data": PCRS.get(index, bytes(48))}}
        assert ask(nsm, {"DescribePCR": {"index": index}}) == expected
        assert ask(nsm, {"ExtendPCR": {"index": index, "data": b"x"}}) == {"Error": "ReadOnlyIndex"}
        assert ask(nsm, {"LockPCR": {"index": index}}) == {"Error": "ReadOnlyIndex"}


def test_the_enclaves_own_registers_are_zero_and_open(nsm: SimulatedNsm) -> None:
    for index in range(16, 32):
        assert ask(nsm, {"DescribePCR": {"index": index}}) == {"DescribePCR": {"lock": False, "data": bytes(48)}}


def test_extending_hashes_the_old_value_with_the_data(nsm: SimulatedNsm) -> None:
    first = hashlib.sha384(bytes(48) + b"one").digest()
    second = hashlib.sha384(first + b"two").digest()
    assert ask(nsm, {"ExtendPCR": {"index": 16, "data": b"one"}}) == {"ExtendPCR": {"data": first}}
    assert ask(nsm, {"ExtendPCR": {"index": 16, "data": b"two"}}) == {"ExtendPCR": {"data": second}}
    assert ask(nsm, {"DescribePCR": {"index": 16}}) == {"DescribePCR": {"lock": False, "data": second}}


def test_a_locked_register_stays_as_it_is(nsm: SimulatedNsm) -> None:
    ask(nsm, {"ExtendPCR": {"index": 20, "data": b"one"}})
    assert ask(nsm, {"LockPCR": {"index": 20}}) == "LockPCR"
    before = ask(nsm, {"DescribePCR": {"index": 20}})
    assert before["DescribePCR"]["lock"] is True
    assert ask(nsm, {"ExtendPCR": {"index": 20, "data": b"two"}}) == {"Error": "ReadOnlyIndex"}
    assert ask(nsm, {"LockPCR": {"index": 20}}) == {"Error": "ReadOnlyIndex"}
    assert ask(nsm, {"DescribePCR": {"index": 20}}) == before


def test_registers_are_locked_in_a_range_from_zero(nsm: SimulatedNsm) -> None:
    assert ask(nsm, {"LockPCRs": {"range": 18}}) == "LockPCRs"
    assert ask(nsm, "DescribeNSM")["DescribeNSM"]["locked_pcrs"] == list(range(18))
    assert ask(nsm, {"LockPCRs": {"range": 33}}) == {"Error": "InvalidIndex"}
    assert ask(nsm, {"LockPCRs": {"range": 32}}) == "LockPCRs"
    assert ask(nsm, {"ExtendPCR": {"index": 31, "data": b"x"}}) == {"Error": "ReadOnlyIndex"}


@pytest.mark.parametrize("operation", ["DescribePCR", "ExtendPCR", "LockPCR"])
@pytest.mark.parametrize("index", [32, 255, 65_535])
def test_there_are_32_registers(nsm: SimulatedNsm, operation: str, index: int) -> None:
    assert ask(nsm, {operation: {"index": index, "data": b"x"}}) == {"Error": "InvalidIndex"}


def test_random_bytes_are_never_the_same(nsm: SimulatedNsm) -> None:
    drawn = [ask(nsm, "GetRandom")["GetRandom"]["random"] for _ in range(4)]
    assert {len(value) for value in drawn} == {256}
    assert len(set(drawn)) == 4


def test_a_document_has_all_locked_registers_and_no_others() -> None:
    enclave = make_enclave()
    enclave.nsm.extend_pcr(17, b"own measurement")
    assert 17 not in inspect(enclave.attest(), trust=enclave.trust, at=NOW).pcrs
    enclave.nsm.lock_pcr(17)
    seen = inspect(enclave.attest(), trust=enclave.trust, at=NOW).pcrs
    assert seen[17] == hashlib.sha384(bytes(48) + b"own measurement").digest()
    assert list(seen) == [*range(16), 17]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"public_key": bytes(1025)}, "InputTooLarge"),
        ({"user_data": bytes(513)}, "InputTooLarge"),
        ({"nonce": bytes(513)}, "InputTooLarge"),
        ({"public_key": b""}, "InvalidArgument"),
        ({"nonce": "text"}, "InvalidOperation"),
        ({"nonce": bytes(5000)}, "InputTooLarge"),
    ],
)
def test_what_a_document_cannot_carry_is_refused(nsm: SimulatedNsm, arguments: dict[str, object], error: str) -> None:
    assert ask(nsm, {"Attestation": arguments}) == {"Error": error}


def test_the_largest_document_fits_the_devices_answer() -> None:
    enclave = make_enclave()
    enclave.nsm.lock_pcrs(32)
    largest = {"public_key": bytes(1024), "user_data": bytes(512), "nonce": bytes(512)}
    document = ask(enclave.nsm, {"Attestation": largest})["Attestation"]["document"]
    assert len(document) < wire_protocol.MAX_RESPONSE_BYTES
    seen = inspect(document, trust=enclave.trust, at=NOW)
    assert (seen.public_key, seen.user_data, seen.nonce) == (bytes(1024), bytes(512), bytes(512))
    assert len(seen.pcrs) == 32


@pytest.mark.parametrize(
    "request_",
    ["Unknown", {"Unknown": {}}, {}, [], 1, None, {"DescribePCR": {}}, {"DescribePCR": 0}, {"LockPCR": {"index": -1}}],
)
def test_what_is_no_request_is_refused(nsm: SimulatedNsm, request_: object) -> None:
    assert ask(nsm, request_) == {"Error": "InvalidOperation"}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_whatever_comes_in_an_answer_goes_out(request_: bytes) -> None:
    answer = cbor2.loads(wire_protocol.answer(SILENT, request_))
    assert isinstance(answer, dict | str)


def test_the_role_and_the_instance_are_measured_as_the_hypervisor_does() -> None:
    arn, instance = "arn:aws:iam::123456789012:role/worker", "i-0123456789abcdef0"
    registers = Registers.measured(pcr0=PCRS[0], pcr1=PCRS[1], pcr2=PCRS[2], role_arn=arn, instance_id=instance)
    assert registers.values[3] == hashlib.sha384(bytes(48) + arn.encode()).digest()
    assert registers.values[4] == hashlib.sha384(bytes(48) + instance.encode()).digest()
    assert 8 not in registers.values


@pytest.mark.parametrize("values", [{16: bytes(48)}, {0: bytes(47)}, {-1: bytes(48)}])
def test_the_hypervisor_sets_no_other_registers(values: dict[int, bytes]) -> None:
    with pytest.raises(ValueError, match="PCR0 to PCR15"):
        Registers(values)


def test_the_chain_is_built_like_awss() -> None:
    from cryptography import x509

    leaf = SimulatedPki.new().issue_leaf("i-0-enc0")
    certificates = [x509.load_der_x509_certificate(der) for der in (*leaf.cabundle, leaf.certificate)]
    basic = [certificate.extensions.get_extension_for_class(x509.BasicConstraints) for certificate in certificates]
    assert [(extension.value.ca, extension.value.path_length) for extension in basic] == [
        (True, None),
        (True, 2),
        (True, 1),
        (True, 0),
        (False, None),
    ]
    lifetimes = [certificate.not_valid_after_utc - certificate.not_valid_before_utc for certificate in certificates]
    assert lifetimes == sorted(lifetimes, reverse=True)
    assert 3 * 3600 <= lifetimes[-1].total_seconds() <= 3 * 3600 + 10
    for certificate in certificates:
        assert "SIMULATION" in certificate.subject.rfc4514_string()


# On a socket


@pytest.fixture
def served(tmp_path: Path, nsm: SimulatedNsm) -> Iterator[NsmServer]:
    with NsmServer(tmp_path / "nsm.sock", nsm) as server:
        yield server


def test_the_device_answers_on_its_socket(served: NsmServer) -> None:
    assert cbor2.loads(exchange(served.path, cbor2.dumps("DescribeNSM")))["DescribeNSM"]["max_pcrs"] == 32


def test_the_socket_is_for_its_owner_only(served: NsmServer) -> None:
    assert stat.S_IMODE(served.path.stat().st_mode) == 0o600


def test_one_connection_serves_many_requests(served: NsmServer) -> None:
    from emulation.nsm import framing

    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(served.path))
        for _ in range(3):
            framing.send(connection, cbor2.dumps("GetRandom"))
            answer = framing.receive(connection, wire_protocol.MAX_RESPONSE_BYTES)
            assert answer is not None
            assert len(cbor2.loads(answer)["GetRandom"]["random"]) == 256


def test_a_request_that_is_too_large_is_answered_so(served: NsmServer) -> None:
    answer = exchange(served.path, bytes(wire_protocol.MAX_REQUEST_BYTES + 1))
    assert cbor2.loads(answer) == {"Error": "InputTooLarge"}


@pytest.mark.parametrize("bytes_sent", [b"\xff\xff\xff\xff", b"\x00\x00", b"\x00\x00\x00\x10half"])
def test_a_client_that_breaks_the_framing_is_let_go_and_others_are_served(served: NsmServer, bytes_sent: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(served.path))
        connection.sendall(bytes_sent)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert cbor2.loads(exchange(served.path, cbor2.dumps("GetRandom")))


def test_many_clients_extend_one_register_one_after_the_other(served: NsmServer) -> None:
    def extend(number: int) -> None:
        exchange(served.path, cbor2.dumps({"ExtendPCR": {"index": 16, "data": bytes([7])}}))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(extend, range(40)))
    expected = bytes(48)
    for _ in range(40):
        expected = hashlib.sha384(expected + bytes([7])).digest()
    assert served.nsm.describe_pcr(16) == (False, expected)


def test_a_device_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(NsmSocketError, match="did not answer"):
        exchange(tmp_path / "nothing.sock", cbor2.dumps("GetRandom"))


def test_a_socket_left_behind_is_replaced_and_one_in_use_is_not(tmp_path: Path, nsm: SimulatedNsm) -> None:
    path = tmp_path / "nsm.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    with NsmServer(path, nsm):
        with pytest.raises(OSError, match="in use"), NsmServer(path, nsm):
            pass
        assert exchange(path, cbor2.dumps("GetRandom"))
    assert not path.exists()


# From the command line


def start(*arguments: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "emulation.nsm", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "assets" / "enclave")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def first_lines(process: "subprocess.Popen[str]", count: int) -> list[str]:
    """The first lines that a process prints; it is killed when they do not come within 30 s."""
    assert process.stdout is not None
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    try:
        return [process.stdout.readline() for _ in range(count)]
    finally:
        watchdog.cancel()


def test_the_command_serves_the_measurements_of_an_image_until_it_is_ended(tmp_path: Path) -> None:
    image, measured = cook("three-ramdisks-signed", tmp_path)
    path, state = tmp_path / "nsm.sock", tmp_path / "state"
    process = start("--socket", path, "--state", state, "--eif", image)
    try:
        assert first_lines(process, 4)[0].startswith("SIMULATED")
        answer = exchange(path, cbor2.dumps({"Attestation": {"nonce": b"n" * 32, "user_data": None}}))
        document = cbor2.loads(answer)["Attestation"]["document"]
        seen = inspect(document, trust=TrustAnchor.simulated((state / "root.pem").read_bytes()))
        assert [seen.pcrs[index] for index in (0, 1, 2, 8)] == [
            measured.pcr0,
            measured.pcr1,
            measured.pcr2,
            measured.pcr8,
        ]
        with pytest.raises(refusals.UntrustedRoot):
            inspect(document)
        assert stat.S_IMODE((state / "root-key.pem").stat().st_mode) == 0o600
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert not path.exists()
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_the_root_is_the_same_after_a_restart(tmp_path: Path) -> None:
    first = SimulatedPki.kept_in(tmp_path / "state")
    second = SimulatedPki.kept_in(tmp_path / "state")
    assert first.root_pem == second.root_pem
    document = SimulatedNsm(second, Registers(PCRS)).attest()
    assert inspect(document, trust=TrustAnchor.simulated(first.root_pem)).simulated


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--eif", "missing.eif"], "No such file"),
        (["--pcr", "0=" + "ab" * 48], "PCR0, PCR1 and PCR2"),
        ([argument for index in (0, 1, 2, 17) for argument in ("--pcr", f"{index}={'ab' * 48}")], "PCR0 to PCR15"),
    ],
)
def test_the_command_says_what_it_misses(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--socket", str(tmp_path / "s"), "--state", str(tmp_path / "state"), *arguments]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--pcr", "x=ab"], ["--pcr", "0=ab"], ["--eif", "x", "--debug-mode"]])
def test_the_command_refuses_wrong_use(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--socket", str(tmp_path / "s"), "--state", str(tmp_path), *arguments])
    assert ended.value.code == 2
