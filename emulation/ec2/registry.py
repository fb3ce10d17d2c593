"""ECR's registry: Debian's docker-registry behind TLS and a token, under the names that ECR's images have.

It serves on loopback, where images are pushed, and inside each emulated VPC at the address of the AWS endpoints, where
hosts pull them. Its certificate is from an authority of the emulation's own, which only the hosts trust.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import ipaddress
import json
import os
import secrets
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from emulation.ec2.capability import PROGRAM_PATH
from emulation.ec2.errors import Ec2EmulationError
from emulation.ec2.vpc_network import VpcNetwork

START_TIMEOUT_SECONDS = 30.0
#: Some ten builds of all images.
MOST_STORED_BYTES = 4 * 1024**3
_ROOT = Path(__file__).resolve().parents[2]
_LIFE = timedelta(days=30)


class ImageRegistry:
    """The registry of one account and region. `start` before hosts are made: they are given its authority."""

    def __init__(self, aws: Any, account: str, region: str, folder: Path, store: Path | None = None) -> None:
        """`folder` holds its keys; `store` what is pushed (default: the same folder)."""
        self.name = f"{account}.dkr.ecr.{region}.amazonaws.com"
        self._aws = aws
        self._folder = folder
        self._store = store or folder / "images"
        self._port = 0
        self._credentials = ""
        self._processes: list[subprocess.Popen[bytes]] = []
        self._networks: list[VpcNetwork] = []

    @classmethod
    def known(cls, aws: Any, account: str, region: str, folder: Path, address: str) -> ImageRegistry:
        """The registry that another process has started, for what it holds."""
        found = cls(aws, account, region, folder)
        found._port = int(address.rpartition(":")[2])
        found._credentials = aws.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
        return found

    # ------------------------------------------------------------------ life
    def prepare(self) -> None:
        """Make its keys, its password and its port."""
        self._folder.mkdir(parents=True, exist_ok=True)
        _bound(self._store)
        self._make_certificates()
        token = self._aws.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, password = b64decode(token).decode().partition(":")
        self._credentials = token
        (self._folder / "htpasswd").write_text(f"{user}:{bcrypt(password)}\n")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]

    def start(self) -> None:
        """Serve on loopback and in every VPC; returns when it answers."""
        self._serve(f"127.0.0.1:{self._port}", ())
        for network in self._networks:
            self._serve(f"{network.services}:443", ("ip", "netns", "exec", network.name))
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            with contextlib.suppress(OSError):
                self._get("/v2/", {})
                return
            if time.monotonic() > deadline:
                raise Ec2EmulationError(f"docker-registry did not answer within {START_TIMEOUT_SECONDS:.0f} s")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it; what was pushed stays. `start` brings it back."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        self._processes = []

    def open_in(self, network: VpcNetwork) -> None:
        """Serve inside this VPC from now on."""
        self._networks.append(network)
        if self._processes:
            self._serve(f"{network.services}:443", ("ip", "netns", "exec", network.name))

    # ------------------------------------------------------------------- use
    @property
    def authority(self) -> bytes:
        """PEM of the certificate of its authority."""
        return (self._folder / "authority.pem").read_bytes()

    @property
    def address(self) -> str:
        """Where images are pushed from this machine; Docker takes loopback without asking for a certificate."""
        return f"127.0.0.1:{self._port}"

    def manifest(self, repository: str, reference: str) -> tuple[str, str]:
        """(manifest, media type) of an image by tag or digest; raises `Ec2EmulationError` where there is none."""
        kinds = (
            "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json, "
            "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.index.v1+json"
        )
        try:
            return self._get(f"/v2/{repository}/manifests/{reference}", {"Accept": kinds})
        except OSError as error:
            raise Ec2EmulationError(f"the registry has no {repository}:{reference}: {error}") from error

    @contextlib.contextmanager
    def forged(self, repository: str, digest: str, *, of: str) -> Iterator[None]:
        """While in here, the manifest of image `of` is given under a digest that is not its own."""
        algorithm, _, value = digest.partition(":")
        storage = self._store / "docker" / "registry" / "v2"
        right = storage / "blobs" / algorithm / of.partition(":")[2][:2] / of.partition(":")[2] / "data"
        blob = storage / "blobs" / algorithm / value[:2] / value
        revision = storage / "repositories" / repository / "_manifests" / "revisions" / algorithm / value
        blob.mkdir(parents=True)
        revision.mkdir(parents=True)
        shutil.copy(right, blob / "data")
        (revision / "link").write_text(digest)
        try:
            yield
        finally:
            shutil.rmtree(blob)
            shutil.rmtree(revision)

    def docker_command(self, environment: Mapping[str, str], engine: Mapping[str, str]) -> Path:
        """A `docker` for the CDK CLI: the engine's own, but what is pushed to ECR's name goes to this registry.

        `environment` is that of the deployment, `engine` what the engine's own client needs.
        """
        settings = {
            "docker": engine["CDK_DOCKER"],
            "engine": {name: value for name, value in engine.items() if name != "CDK_DOCKER"},
            "ecr": self.name,
            "registry": self.address,
            "endpoint": environment["AWS_ENDPOINT_URL"],
            "folder": str(self._folder),
        }
        command = self._folder / "docker"
        run = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from emulation.ec2.docker_to_registry import main; "
        program = shlex.join([sys.executable, "-c", f"{run}sys.exit(main(sys.argv[1:]))"])
        command.write_text(f'#!/bin/sh\nSPARKVAULT_REGISTRY={shlex.quote(json.dumps(settings))} exec {program} "$@"\n')
        command.chmod(0o700)
        return command

    # ------------------------------------------------------------- internals
    def _serve(self, address: str, inside: tuple[str, ...]) -> None:
        config = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self._store)}, "delete": {"enabled": False}},
            "http": {
                "addr": address,
                "tls": {"certificate": str(self._folder / "server.pem"), "key": str(self._folder / "server.key")},
                "secret": secrets.token_hex(16),
            },
            "auth": {"htpasswd": {"realm": "ECR", "path": str(self._folder / "htpasswd")}},
        }
        file = self._folder / f"config-{len(self._processes)}.json"
        file.write_text(json.dumps(config))  # JSON is YAML
        program = shutil.which("docker-registry", path=PROGRAM_PATH) or "docker-registry"
        with (self._folder / "registry.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    [*inside, program, "serve", str(file)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={"PATH": PROGRAM_PATH},
                    start_new_session=True,
                )
            )

    def _get(self, path: str, headers: Mapping[str, str]) -> tuple[str, str]:
        trusted = ssl.create_default_context(cadata=self.authority.decode())
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
        )
        request = urllib.request.Request(
            f"https://{self.address}{path}", headers={"Authorization": f"Basic {self._credentials}", **headers}
        )
        with opener.open(request, timeout=START_TIMEOUT_SECONDS) as answer:
            return answer.read().decode(), answer.headers.get("Content-Type", "")

    def _make_certificates(self) -> None:
        authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Emulated AWS, for hosts of this emulation only")])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        names = x509.SubjectAlternativeName(
            [x509.DNSName(self.name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        now = datetime.now(UTC)

        def begin(name: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
            return (
                x509.CertificateBuilder()
                .subject_name(name)
                .issuer_name(issuer)
                .public_key(public)
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - timedelta(minutes=5))
                .not_valid_after(now + _LIFE)
            )

        root = (
            begin(issuer, authority_key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(authority_key, hashes.SHA256())
        )
        leaf = (
            begin(subject, key.public_key()).add_extension(names, critical=False).sign(authority_key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        (self._folder / "authority.pem").write_bytes(root.public_bytes(pem))
        (self._folder / "server.pem").write_bytes(leaf.public_bytes(pem))
        secret = self._folder / "server.key"
        with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(
                key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
            )


def _bound(store: Path) -> None:
    """Begin anew where what was pushed in the past has grown too large; the engine still has the images themselves."""
    size = sum(file.stat().st_size for file in store.rglob("data") if file.is_file())
    if size > MOST_STORED_BYTES:
        shutil.rmtree(store, ignore_errors=True)


def bcrypt(password: str) -> str:
    """A password as docker-registry's htpasswd wants it (its only form is bcrypt), made by the system's crypt(3)."""
    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    alphabet = b64encode(secrets.token_bytes(32), b"./").decode()[:21]
    # The last of the 22 characters carries two bits only; these have the others clear.
    hashed = library.crypt(password.encode(), f"$2y$05${alphabet}{secrets.choice('.Oeu')}".encode())
    if not hashed or not hashed.startswith(b"$2y$"):
        raise Ec2EmulationError("this system's crypt(3) has no bcrypt, which the registry's password needs")
    return str(hashed.decode())
