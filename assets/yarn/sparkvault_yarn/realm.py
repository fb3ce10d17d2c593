"""The Kerberos realm on the master: MIT's KDC, its principals and keytabs, and a backup of what cannot be made anew."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from .errors import YarnHostError

_SECONDS = 60
_PRINCIPAL = re.compile(r"[A-Za-z][A-Za-z0-9-]*(/[A-Za-z0-9][A-Za-z0-9.-]*)?")
#: Encryption of tickets and keys; both ends are ours.
_ENCRYPTION = "aes256-cts-hmac-sha384-192:normal aes256-cts-hmac-sha1-96:normal"


class Realm:
    """A realm whose database lies in ``folder``; ``configuration`` is its clients' krb5.conf. Raises YarnHostError."""

    def __init__(
        self, name: str, folder: Path, configuration: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.folder = folder
        self.configuration = configuration
        self._environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "KRB5_CONFIG": str(configuration),
            "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
            **(environment or {}),
        }

    def configure(self, listen: str, ticket_hours: int) -> None:
        """Write kdc.conf: TCP at that address alone, no administration over the network."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(
            self.folder / "kdc.conf",
            f'[kdcdefaults]\n kdc_listen = ""\n kdc_tcp_listen = {listen}\n'
            f"[realms]\n {self.name} = {{\n  database_name = {self.folder}/principal\n"
            f"  key_stash_file = {self.folder}/stash\n  acl_file = {self.folder}/kadm5.acl\n"
            f"  max_life = {ticket_hours}h 0m 0s\n  max_renewable_life = 7d 0h 0m 0s\n"
            f"  supported_enctypes = {_ENCRYPTION}\n }}\n",
        )
        _write(self.folder / "kadm5.acl", "")

    def exists(self) -> bool:
        """Whether there is a database."""
        return (self.folder / "principal").exists() and (self.folder / "stash").exists()

    def create(self) -> None:
        """A new database. Its password is nobody's: the stash file stands for it."""
        password = secrets.token_hex(24)
        self._run(["kdb5_util", "create", "-s"], f"{password}\n{password}\n")

    def dump(self, folder: Path) -> None:
        """The database and its key as files ``dump`` and ``stash``: together they are the realm."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._run(["kdb5_util", "dump", str(folder / "dump")])
        (folder / "dump.dump_ok").unlink(missing_ok=True)
        _write_bytes(folder / "stash", (self.folder / "stash").read_bytes())

    def load(self, folder: Path) -> None:
        """What ``dump`` has written, in place of whatever is there."""
        _write_bytes(self.folder / "stash", (folder / "stash").read_bytes())
        self._run(["kdb5_util", "load", str(folder / "dump")])

    def principals(self) -> set[str]:
        """Names without the realm."""
        return {line.partition("@")[0] for line in self._admin(["listprincs"]).splitlines() if "@" in line}

    def keytab(self, path: Path, principals: Iterable[str]) -> None:
        """Principals with new keys, and a keytab of them that its owner alone reads; an old one ends with this."""
        partial = path.with_name(path.name + ".partial")
        partial.unlink(missing_ok=True)
        there = self.principals()
        asked = []
        for principal in principals:
            if principal not in there:
                asked.append(f"addprinc -randkey {_checked(principal)}")
            asked.append(f"ktadd -k {partial} {_checked(principal)}")
        self._admin(asked)
        if not partial.exists():
            raise YarnHostError(f"no keytab was made for {path.name}: see the KDC's log")
        partial.chmod(0o600)
        partial.replace(path)

    def forget(self, principals: Iterable[str]) -> None:
        """Principals of hosts that are gone."""
        there = self.principals()
        self._admin([f"delprinc -force {_checked(one)}" for one in principals if one in there])

    def _admin(self, asked: list[str]) -> str:
        return self._run(["kadmin.local"], "\n".join(asked) + "\n") if asked else ""

    def _run(self, command: list[str], said: str = "") -> str:
        try:
            done = subprocess.run(
                command,
                input=said,
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise YarnHostError(f"{command[0]}: {error}") from error
        if done.returncode:
            raise YarnHostError(f"{' '.join(command[:2])}: {done.stderr.strip()[-300:]}")
        return done.stdout


def client_configuration(realm: str, kdc: str, host_domain: str) -> str:
    """krb5.conf of every host: one realm at one address, nothing from DNS, TCP alone."""
    return (
        f"[libdefaults]\n default_realm = {realm}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n rdns = false\n"
        " udp_preference_limit = 1\n ticket_lifetime = 10h\n renew_lifetime = 7d\n"
        f"[realms]\n {realm} = {{\n  kdc = {kdc}\n }}\n[domain_realm]\n .{host_domain} = {realm}\n"
    )


def _checked(principal: str) -> str:
    """A principal that means nothing else to kadmin. Raises YarnHostError."""
    if not _PRINCIPAL.fullmatch(principal):
        raise YarnHostError(f"{principal!r} is no name of a principal")
    return principal


def _write(path: Path, text: str) -> None:
    _write_bytes(path, text.encode())


def _write_bytes(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
