"""Which third-party archives a YARN cluster's hosts install, and where their makers offer them. No CDK import."""

from dataclasses import dataclass

from spark_constructs.config import Deployment, Download
from spark_constructs.yarn_settings import archive_key

_APACHE = "https://archive.apache.org/dist/hadoop/common/hadoop-{version}"
_KATA = "https://github.com/kata-containers/kata-containers/releases/download/{version}"
_GVISOR = "https://storage.googleapis.com/gvisor/releases/release/{version}/{machine}"


@dataclass(frozen=True)
class Archive:
    """One archive: the file's name, where it is fetched from, and its SHA-512 in hexadecimal, if it is pinned."""

    name: str
    url: str
    sha512: str | None

    @property
    def key(self) -> str:
        """Key in the job bucket; only of one that is pinned."""
        return archive_key(self.sha512 or "", self.name)


def archives(deployment: Deployment) -> dict[str, Archive]:
    """By what they are: ``hadoop``, and ``kata`` or ``runsc`` where that is the runtime."""
    yarn, arm = deployment.yarn, deployment.architecture == "arm64"
    hadoop = yarn.hadoop
    found = {
        "hadoop": _archive(f"hadoop-{hadoop.version}{'-aarch64' if arm else ''}.tar.gz", _APACHE, hadoop),
    }
    if yarn.runtime == "kata":
        machine = "arm64" if arm else "amd64"
        found["kata"] = _archive(f"kata-static-{yarn.kata.version}-{machine}.tar.zst", _KATA, yarn.kata)
    if yarn.runtime == "runsc":
        version = yarn.gvisor.version.removesuffix(".0")
        folder = _GVISOR.format(version=version, machine="aarch64" if arm else "x86_64")
        found["runsc"] = _archive("runsc", folder, yarn.gvisor)
    return found


def _archive(name: str, maker: str, given: Download) -> Archive:
    folder = (given.mirror or maker.format(version=given.version)).rstrip("/")
    return Archive(name, f"{folder}/{name}", given.sha512)
