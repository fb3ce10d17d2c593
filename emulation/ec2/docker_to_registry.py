"""The `docker` that the CDK CLI calls for emulated hosts: a real engine builds, and a push to ECR is a real push.

ECR's name is not this machine's to resolve, so what goes to it is tagged and pushed to the emulation's registry, and
then made known to the embedded AWS, as ECR would know it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PUSH_TIMEOUT_SECONDS = 900


def main(arguments: list[str]) -> int:
    """Run `docker` with these arguments; its exit code."""
    settings = json.loads(os.environ["SPARKVAULT_REGISTRY"])
    verb = arguments[0] if arguments else ""
    own = [argument.replace(settings["ecr"], settings["registry"], 1) for argument in arguments]
    if verb == "push" and settings["ecr"] in arguments[-1]:
        image = arguments[-1]
        for command in (["tag", image, own[-1]], ["push", own[-1]]):
            code = _docker(settings, command)
            if code != 0:
                return code
        _make_known(settings, image)
        return 0
    if verb == "login" and any(settings["ecr"] in argument for argument in arguments):
        # The same password, for the address that the push will use.
        return _docker(settings, [argument.replace("https://", "") for argument in own])
    return _docker(settings, arguments)


def _docker(settings: dict[str, Any], arguments: list[str]) -> int:
    environment = dict(os.environ) | settings["engine"]
    done = subprocess.run([settings["docker"], *arguments], env=environment, timeout=PUSH_TIMEOUT_SECONDS, check=False)
    return done.returncode


def _make_known(settings: dict[str, Any], image: str) -> None:
    """What the push itself does with ECR: the image is in the repository, under its tag."""
    from emulation.aws import client as clients
    from emulation.ec2.registry import ImageRegistry

    account, _, _, region = settings["ecr"].split(".")[:4]
    name, _, tag = image.partition("/")[2].rpartition(":")
    aws = _Account(settings["endpoint"], region, clients)
    registry = ImageRegistry.known(aws, account, region, Path(settings["folder"]), settings["registry"])
    manifest, kind = registry.manifest(name, tag)
    # The digest by which the registry answers: of the manifest's bytes, as they are (OCI distribution specification).
    digest = f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"
    ecr = aws.client("ecr")
    with contextlib.suppress(ecr.exceptions.ImageAlreadyExistsException):
        ecr.put_image(
            repositoryName=name,
            imageManifest=manifest,
            imageManifestMediaType=kind,
            imageTag=tag,
            imageDigest=digest,
        )


class _Account:
    def __init__(self, endpoint: str, region: str, clients: Any) -> None:
        self._endpoint, self._region, self._clients = endpoint, region, clients

    def client(self, service: str) -> Any:
        return self._clients.client(self._clients.session(self._region), service, self._endpoint, self._region)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
