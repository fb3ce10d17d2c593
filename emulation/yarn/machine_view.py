"""What the cluster's processes see of this machine: users, groups and host names of their own, in a mount namespace.

Nothing of it is left on the machine: neither users nor lines in /etc/hosts.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assets.yarn.sparkvault_yarn import tenants as tenancy


@dataclass(frozen=True)
class MachineView:
    """Files that lie over the machine's own for a process that is started through `command`."""

    folder: Path
    hostname: str
    #: Folders that lie somewhere else, too: where → what. Tenants cannot look into everybody's home.
    folders: Mapping[Path, Path] = field(default_factory=dict)

    def write(self, address: str, tenants: Sequence[tenancy.Tenant], extra_hosts: Sequence[str] = ()) -> None:
        """Users of the machine and the tenants; the cluster's host name at ``address``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ours = {tenant.name for tenant in tenants}
        for name, made in (("passwd", tenancy.passwd(tenants)), ("group", tenancy.group(tenants))):
            text = Path("/etc", name).read_text(encoding="utf-8")
            added = [line for line in made.splitlines() if line.split(":")[0] in ours]
            (self.folder / name).write_text(text.rstrip("\n") + "\n" + "\n".join(added) + "\n", encoding="utf-8")
        krb5 = Path("/etc/krb5.conf")
        if not (self.folder / "krb5.conf").exists():
            (self.folder / "krb5.conf").write_text(krb5.read_text(encoding="utf-8") if krb5.exists() else "")
        hosts = ["127.0.0.1 localhost", f"{address} {self.hostname}", *extra_hosts]
        (self.folder / "hosts").write_text("\n".join(hosts) + "\n", encoding="utf-8")

    def command(self, command: Sequence[str]) -> list[str]:
        """The same command, seeing these files."""
        names = ["passwd", "group", "hosts"]
        if Path("/etc/krb5.conf").exists():
            names.append("krb5.conf")
        places = {Path("/etc") / name: self.folder / name for name in names} | dict(self.folders)
        binds = " && ".join(
            f"mount --bind {shlex.quote(str(what))} {shlex.quote(str(at))}" for at, what in places.items()
        )
        script = f'{binds} && hostname {shlex.quote(self.hostname)} && exec "$@"'
        return ["unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", script, "sh", *command]
