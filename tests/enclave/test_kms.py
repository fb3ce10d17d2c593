"""Data keys through KMS: given to a measured enclave, and to nobody who goes another way."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from emulation.aws.embedded import ACCOUNT_ID
from emulation.kms import enveloped_data as sealing
from emulation.nsm import Registers, SimulatedNsm, SimulatedPki
from spark_constructs.enclave_key import TrustedImage, decrypt_in_enclaves
from spark_enclave.kms import AttestedKms, KmsCredentials, KmsKeyArn, KmsRefused, amazon_roots
from spark_enclave.kms.enveloped_data import EnvelopeRefused, open_envelope
from spark_enclave.kms.request_signing import signed_headers
from spark_enclave.server.boot_identity import BootIdentity
from spark_enclave.server.parent_host import TlsOver, kms_tls, read_credentials
from spark_enclave.tables import encryption_context
from tests.enclave.kms_account import EVERYTHING, KmsAccount, kms_account

PCRS = {0: b"\x10" * 48, 1: b"\x11" * 48, 2: b"\x12" * 48}
CONTEXT = encryption_context("sales", 1, b"k" * 32)


@dataclass
class World(KmsAccount):
    """The account, and enclaves under the simulated root that counts there."""

    pki: SimulatedPki = field(default_factory=SimulatedPki.new)

    def data_key(self, context: dict[str, str] = CONTEXT) -> tuple[bytes, bytes]:
        """Plaintext and ciphertext of a new data key of the owner."""
        answer = self.client("owner").generate_data_key(
            KeyId=self.key_arn, KeySpec="AES_256", EncryptionContext=context
        )
        return answer["Plaintext"], answer["CiphertextBlob"]

    def enclave(self, registers: Registers | None = None, pki: SimulatedPki | None = None) -> AttestedKms:
        nsm = SimulatedNsm(pki or self.pki, registers or Registers(PCRS))
        return AttestedKms(nsm, self.connect)

    def connect(self, host: str) -> http.client.HTTPConnection:
        assert host == f"kms.{self.aws.region}.amazonaws.com"
        address = self.aws.endpoint.removeprefix("http://")
        return http.client.HTTPConnection(address, timeout=10)

    def decrypt(self, enclave: AttestedKms, ciphertext: bytes, role: str = "parent", **changes: Any) -> bytes:
        given = self.credentials[role]
        credentials = KmsCredentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        asked = {"key": KmsKeyArn(self.key_arn), "context": CONTEXT, "credentials": credentials, **changes}
        return enclave.decrypt(ciphertext, **asked)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    pki = SimulatedPki.new()
    image = TrustedImage("image", {f"PCR{index}": value.hex() for index, value in PCRS.items()})
    with kms_account(pki.root_pem, image) as account:
        yield World(account.aws, account.key_arn, account.credentials, account.names, pki)


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


class TestTheMeasuredEnclave:
    def test_gets_the_data_key(self, world: World) -> None:
        plaintext, ciphertext = world.data_key()
        assert world.decrypt(world.enclave(), ciphertext) == plaintext

    def test_needs_no_more_than_the_swarms_stack_gives_its_host(self, world: World) -> None:
        plaintext, ciphertext = world.data_key()
        try:
            world.give("parent", decrypt_in_enclaves(world.key_arn).statement().to_statement_json())
            assert world.decrypt(world.enclave(), ciphertext) == plaintext
            world.give("parent", decrypt_in_enclaves(world.key_arn[:-1]).statement().to_statement_json())
            with pytest.raises(KmsRefused):
                world.decrypt(world.enclave(), ciphertext)
        finally:
            world.give("parent", EVERYTHING)

    def test_gets_nothing_in_the_clear(self, world: World) -> None:
        _, ciphertext = world.data_key()
        document = SimulatedNsm(world.pki, Registers(PCRS)).attest(public_key=spki())
        answer = world.client("parent").decrypt(
            CiphertextBlob=ciphertext,
            EncryptionContext=CONTEXT,
            Recipient={"AttestationDocument": document, "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"},
        )
        assert "Plaintext" not in answer
        assert answer["CiphertextForRecipient"]


class TestRefusals:
    @pytest.mark.parametrize(
        "registers",
        [Registers.debug_mode(), Registers({**PCRS, 0: b"\x99" * 48}), Registers({**PCRS, 2: b"\x99" * 48})],
        ids=["debug mode", "other image", "other application"],
    )
    def test_another_measurement(self, world: World, registers: Registers) -> None:
        _, ciphertext = world.data_key()
        with pytest.raises(KmsRefused) as refused:
            world.decrypt(world.enclave(registers), ciphertext)
        assert refused.value.code == "AccessDeniedException"

    def test_a_document_under_another_root(self, world: World) -> None:
        _, ciphertext = world.data_key()
        with pytest.raises(KmsRefused, match="attestation document is refused"):
            world.decrypt(world.enclave(pki=SimulatedPki.new()), ciphertext)

    def test_another_encryption_context(self, world: World) -> None:
        _, ciphertext = world.data_key()
        with pytest.raises(KmsRefused):
            world.decrypt(world.enclave(), ciphertext, context={**CONTEXT, "sparkvault:table": "other"})

    def test_the_measured_enclave_on_a_host_with_another_role(self, world: World) -> None:
        _, ciphertext = world.data_key()
        with pytest.raises(KmsRefused, match="not authorized to perform: kms:Decrypt"):
            world.decrypt(world.enclave(), ciphertext, role="admin")

    @pytest.mark.parametrize("role", ["parent", "owner", "admin"])
    def test_decrypt_without_a_document(self, world: World, role: str) -> None:
        _, ciphertext = world.data_key()
        with pytest.raises(ClientError) as refused:
            world.client(role).decrypt(CiphertextBlob=ciphertext, EncryptionContext=CONTEXT)
        assert code_of(refused) == "AccessDeniedException"

    def test_reencryption_to_a_key_of_ones_own(self, world: World) -> None:
        _, ciphertext = world.data_key()
        own = world.aws.client("kms").create_key()["KeyMetadata"]["Arn"]
        with pytest.raises(ClientError) as refused:
            world.client("parent").re_encrypt(
                CiphertextBlob=ciphertext, SourceEncryptionContext=CONTEXT, DestinationKeyId=own
            )
        assert code_of(refused) == "AccessDeniedException"

    def test_a_grant_to_oneself(self, world: World) -> None:
        with pytest.raises(ClientError) as refused:
            world.client("parent").create_grant(
                KeyId=world.key_arn, GranteePrincipal=f"arn:aws:iam::{ACCOUNT_ID}:role/parent", Operations=["Decrypt"]
            )
        assert code_of(refused) == "AccessDeniedException"

    def test_a_policy_of_the_hosts_own_making(self, world: World) -> None:
        with pytest.raises(ClientError) as refused:
            world.client("parent").put_key_policy(KeyId=world.key_arn, PolicyName="default", Policy="{}")
        assert code_of(refused) == "AccessDeniedException"

    def test_credentials_whose_secret_is_not_known(self, world: World) -> None:
        stolen = {**world.credentials["parent"], "SecretAccessKey": "guessed"}
        other = KmsAccount(world.aws, world.key_arn, {"parent": stolen})
        with pytest.raises(ClientError) as refused:
            other.client("parent").describe_key(KeyId=world.key_arn)
        assert code_of(refused) == "InvalidSignatureException"


class TestHostileInputs:
    @pytest.mark.parametrize(
        "text",
        [
            "arn:aws:kms:evil.example/:123456789012:key/0a1b2c3d-0000-4000-8000-000000000001",
            "arn:aws:kms:eu-central-1@x:123456789012:key/0a1b2c3d-0000-4000-8000-000000000001",
            "alias/mine",
            "arn:aws:kms:eu-central-1:123456789012:alias/mine",
            "",
        ],
    )
    def test_a_key_that_names_another_host_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="whole ARN"):
            KmsKeyArn(text)

    def test_credentials_with_line_breaks_are_refused(self) -> None:
        with pytest.raises(ValueError, match="credentials"):
            KmsCredentials("AKIA", "secret", "token\r\nX-Injected: 1")

    def test_a_service_that_does_not_answer_is_an_error_of_its_own(self, world: World) -> None:
        def nowhere(host: str) -> http.client.HTTPConnection:
            return http.client.HTTPSConnection("127.0.0.1", 9, timeout=1, context=ssl.create_default_context())

        enclave = AttestedKms(SimulatedNsm(world.pki, Registers(PCRS)), nowhere)
        with pytest.raises(KmsRefused) as refused:
            world.decrypt(enclave, b"x")
        assert refused.value.code == "Unreachable"


class TestTheWayToKms:
    def test_requests_are_signed_as_the_sdk_signs_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from botocore import auth, awsrequest, credentials

        at, payload = datetime(2026, 11, 21, 12, 0, tzinfo=UTC), b'{"CiphertextBlob":"eA=="}'
        monkeypatch.setattr(auth, "get_current_datetime", lambda: at.replace(tzinfo=None))
        request = awsrequest.AWSRequest(
            method="POST",
            url="https://kms.eu-central-1.amazonaws.com/",
            data=payload,
            headers={
                "Host": "kms.eu-central-1.amazonaws.com",
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": "TrentService.Decrypt",
            },
        )
        auth.SigV4Auth(credentials.Credentials("AKIA", "secret", "token"), "kms", "eu-central-1").add_auth(request)
        ours = signed_headers(
            host="kms.eu-central-1.amazonaws.com",
            region="eu-central-1",
            target="TrentService.Decrypt",
            payload=payload,
            access_key_id="AKIA",
            secret_access_key="secret",
            session_token="token",
            at=at,
        )
        assert ours["authorization"] == request.headers["Authorization"]

    def test_the_roots_are_amazons(self) -> None:
        trusted = [hashlib.sha256(one).hexdigest() for one in kms_tls().get_ca_certs(binary_form=True)]
        assert sorted(trusted) == sorted(amazon_roots.FINGERPRINTS)

    def test_a_host_that_answers_in_the_place_of_kms_is_hung_up_on(self) -> None:
        """It ends TLS itself, with any certificate but one of Amazon's: nothing is sent."""
        identity = BootIdentity.generate()
        inside, outside = socket.socketpair()
        heard: list[bytes] = []

        def host() -> None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with tempfile.NamedTemporaryFile() as pem:
                pem.write(identity.certificate_pem + identity.tls_key_pem)
                pem.flush()
                context.load_cert_chain(pem.name)
            with contextlib.suppress(OSError), context.wrap_socket(outside, server_side=True) as tls:
                heard.append(tls.recv(100))

        thread = threading.Thread(target=host)
        thread.start()
        connection = TlsOver("kms.eu-central-1.amazonaws.com", inside, kms_tls())
        with pytest.raises(ssl.SSLCertVerificationError):
            connection.request("POST", "/", body=b"document")
        thread.join(10)
        assert not b"".join(heard)

    @pytest.mark.parametrize("said", [b"", b"[]", b"{", b'{"AccessKeyId": 1}', b"[" * 20_000, b"x" * 40_000])
    def test_what_the_host_gives_for_credentials_is_held_against_their_form(self, said: bytes) -> None:
        inside, outside = socket.socketpair()
        with inside, outside:

            def host() -> None:
                outside.sendall(said)
                outside.shutdown(socket.SHUT_WR)

            threading.Thread(target=host).start()
            with pytest.raises(KmsRefused, match="form"):
                read_credentials(inside)


class TestEnvelope:
    KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2048)

    def test_it_opens_with_its_key_only(self) -> None:
        envelope = sealing.seal(b"data key", self.KEY.public_key())
        assert open_envelope(envelope, self.KEY) == b"data key"
        with pytest.raises(EnvelopeRefused):
            open_envelope(envelope, rsa.generate_private_key(public_exponent=65_537, key_size=2048))

    @given(st.data())
    def test_no_mutation_of_it_crashes_the_reader(self, data: st.DataObject) -> None:
        envelope = bytearray(sealing.seal(b"data key", self.KEY.public_key()))
        for _ in range(data.draw(st.integers(1, 4))):
            envelope[data.draw(st.integers(0, len(envelope) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(EnvelopeRefused):
            open_envelope(bytes(envelope), self.KEY)

    @given(st.binary(max_size=600))
    def test_what_is_no_envelope_is_refused(self, envelope: bytes) -> None:
        with pytest.raises(EnvelopeRefused):
            open_envelope(envelope, self.KEY)


def spki() -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return TestEnvelope.KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
