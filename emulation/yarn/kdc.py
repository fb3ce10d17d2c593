"""A real Kerberos KDC (Debian's krb5-kdc) in a folder of its own, with keytabs for daemons and tickets for people."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from emulation.yarn.daemons import listens
from emulation.yarn.errors import YarnEmulationError

REALM = "SPARKVAULT.INTERNAL"
PORT = 10088
_PROGRAMS = "/usr/sbin:/usr/bin:/sbin:/bin"
_SECONDS = 60


class Kdc:
    """One realm; nothing of the machine's own Kerberos configuration is read or written."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.address = address
        self.configuration = folder / "krb5.conf"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, services: Sequence[str], host: str, people: Sequence[str]) -> None:
        """Make the realm with ``SERVICE/host`` for each service and a principal for each person; serve it.

        Keytabs are `service.keytab`, in small letters, and `PERSON.keytab` in ``folder``. Raises YarnEmulationError.
        """
        missing = [each for each in ("krb5kdc", "kdb5_util", "kadmin.local", "kinit") if not _program(each)]
        if missing:
            raise YarnEmulationError(
                f"not installed: {', '.join(missing)}", "apt-get install krb5-kdc krb5-admin-server krb5-user"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o711)
        self.configuration.write_text(
            f"[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n"
            f" rdns = false\n udp_preference_limit = 1\n ticket_lifetime = 2h\n renew_lifetime = 1d\n"
            f"[realms]\n {REALM} = {{\n  kdc = {self.address}:{PORT}\n }}\n[domain_realm]\n {host} = {REALM}\n",
            encoding="utf-8",
        )
        (self.folder / "kdc.conf").write_text(
            f'[kdcdefaults]\n kdc_listen = ""\n kdc_tcp_listen = {self.address}:{PORT}\n'
            f"[realms]\n {REALM} = {{\n  database_name = {self.folder}/principal\n"
            f"  key_stash_file = {self.folder}/stash\n  acl_file = {self.folder}/kadm5.acl\n"
            "  supported_enctypes = aes256-cts-hmac-sha384-192:normal aes256-cts:normal\n }\n"
            f"[logging]\n kdc = FILE:{self.folder}/kdc.log\n admin_server = FILE:{self.folder}/kadmin.log\n",
            encoding="utf-8",
        )
        # The master password goes in by standard input, twice; the stash file stands for it afterwards.
        password = secrets.token_hex(24)
        self._run(["kdb5_util", "create", "-s"], f"{password}\n{password}\n")
        asked = []
        for name in services:
            keytab = f"{self.folder}/{name.lower()}.keytab"
            asked += [f"addprinc -randkey {name}/{host}", f"ktadd -k {keytab} {name}/{host}"]
        for name in people:
            asked += [f"addprinc -randkey {name}", f"ktadd -k {self.folder}/{name}.keytab {name}"]
        self._run(["kadmin.local"], "\n".join(asked) + "\n")
        self._process = subprocess.Popen(
            ["krb5kdc", "-n"], env=self._environment(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _SECONDS
        while not listens(self.address, PORT):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise YarnEmulationError("the KDC did not start", f"its log is {self.folder}/kdc.log")
            time.sleep(0.1)

    def ticket(self, person: str, host: str | None = None) -> Path:
        """A fresh ticket cache of that person, or of that service on ``host``."""
        cache = self.folder / f"{person}.ticket"
        principal = f"{person}/{host}" if host else person
        self._run(["kinit", "-k", "-t", f"{self.folder}/{person}.keytab", "-c", str(cache), principal])
        return cache

    def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(_SECONDS)

    def _run(self, command: list[str], said: str = "") -> None:
        done = subprocess.run(
            command, input=said, env=self._environment(), capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        if done.returncode:
            raise YarnEmulationError(f"{command[0]}: {done.stderr.strip()}", f"the realm lies in {self.folder}")

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": _PROGRAMS, "HOME": os.fspath(self.folder), "KRB5_CONFIG": str(self.configuration),
            "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf"),
        }  # fmt: skip


def _program(name: str) -> str | None:
    return shutil.which(name, path=_PROGRAMS)
