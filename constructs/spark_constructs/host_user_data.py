"""Thin user data: who a host is, and the bundle that sets it up. All the rest of booting is in assets/hosts."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from spark_constructs.enclave_image import PIN_FILE, EnclaveImage
from spark_constructs.host_group_guards import EnclaveReservation
from spark_constructs.naming import BOOT_STREAM_PREFIX

#: EC2 takes 16 KiB; ours stays far below, because nobody reviews long user data.
MAX_USER_DATA_BYTES = 3072

#: The bundle in this repository.
BUNDLE_FOLDER = Path(__file__).resolve().parents[2] / "assets" / "hosts"

#: What lies in that folder and is for no host.
BUNDLE_EXCLUDED = ("**/__pycache__", "**/.*", "*.md", "ruff.toml")

#: Where the bundle is unpacked. Units in the bundle name this path.
BUNDLE_TARGET = "/opt/sparkvault/hosts"

#: Who the host is, for everything in the bundle.
HOST_FILE = "/etc/sparkvault/host.json"

#: Where the bundle leaves the reason when booting fails (assets/hosts/boot/failure.sh).
FAILURE_FILE = "/run/sparkvault/boot-failure"

#: Minutes that a host which failed to boot stays up to be looked at; then it powers off, and its group replaces it.
FAILED_HOST_MINUTES = 15


@dataclass(frozen=True)
class HostIdentity:
    """What a host knows of itself. Strings may be CDK tokens; nothing here is secret."""

    cluster: str
    role: str
    region: str
    stack: str
    """Name of the stack that waits for the host's signal."""
    resource: str
    """Logical id of the Auto Scaling group in that stack."""
    group: str
    """Name of the Auto Scaling group."""
    drain_hook: str
    """Name of the lifecycle hook that waits for the host to drain."""
    drain_timeout_seconds: int
    boot_timeout_seconds: int
    """How long the stack waits for the host's signal."""
    log_group: str
    parameters: str
    """Prefix of the cluster's SSM parameters: ``/sparkvault/<cluster>``."""
    job_bucket: str
    enclaves: EnclaveReservation | None = None
    """Per enclave; None where the host reserves nothing."""


def host_bundle(scope: Construct, construct_id: str) -> s3_assets.Asset:
    """The bundle as an asset. One per stack is enough: groups can share it."""
    return s3_assets.Asset(scope, construct_id, path=str(BUNDLE_FOLDER), exclude=list(BUNDLE_EXCLUDED))


def boot_commands(
    identity: HostIdentity,
    bundle_url: str,
    enclave_image: EnclaveImage | None = None,
    more: Mapping[str, object] | None = None,
) -> list[str]:
    """The lines of user data, run once per instance as root by cloud-init.

    ``enclave_image``: which image the host's enclaves run, if it has one. ``more``: path below /etc/sparkvault → what
    a further file there holds as JSON.
    """
    who = json.dumps(asdict(identity), indent=1)
    folder = HOST_FILE.rpartition("/")[0]
    return [
        "set -euo pipefail",
        f"export AWS_DEFAULT_REGION={identity.region} AWS_RETRY_MODE=standard AWS_MAX_ATTEMPTS=8",
        # Credentials come from the metadata service, which the program asks once for a second: a busy host needs more.
        "export AWS_METADATA_SERVICE_TIMEOUT=5 AWS_METADATA_SERVICE_NUM_ATTEMPTS=6",
        "mkdir -p /etc/sparkvault /etc/nitro_enclaves /run/sparkvault /opt/sparkvault",
        f"cat > {HOST_FILE} <<'END'\n{who}\nEND",
        *_allocator_config(identity.enclaves),
        *([f"cat > {PIN_FILE} <<'END'\n{enclave_image.pin()}\nEND"] if enclave_image else []),
        *[f"cat > {folder}/{name} <<'END'\n{json.dumps(held)}\nEND" for name, held in (more or {}).items()],
        "M=http://169.254.169.254/latest",
        'T=$(curl -sSf --retry 9 -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 900" $M/api/token)',
        'ID=$(curl -sSf --retry 9 -H "X-aws-ec2-metadata-token: $T" $M/meta-data/instance-id)',
        _FINISH.format(
            failure_file=FAILURE_FILE,
            log_group=identity.log_group,
            stream=BOOT_STREAM_PREFIX,
            stack=identity.stack,
            resource=identity.resource,
            minutes=FAILED_HOST_MINUTES,
        ),
        "trap finish EXIT",
        f"REASON='the bundle could not be fetched from {bundle_url}'",
        # A role that was made moments ago is not known everywhere yet.
        f"for _ in 1 2 3 4 5 6; do aws s3 cp --only-show-errors {bundle_url} /run/sparkvault/hosts.zip && break;"
        " sleep 10; done",
        f"python3 -m zipfile -e /run/sparkvault/hosts.zip {BUNDLE_TARGET}",
        "REASON='boot stopped without a reason'",
        f"bash {BUNDLE_TARGET}/boot/boot.sh",
    ]


def _allocator_config(enclaves: EnclaveReservation | None) -> list[str]:
    """Written here too, though boot checks it, so that a reviewer of the template sees what is taken from the host."""
    if enclaves is None:
        return []
    return [
        "cat > /etc/nitro_enclaves/allocator.yaml <<'END'\n"
        f"---\nmemory_mib: {enclaves.total_memory_mib}\ncpu_count: {enclaves.total_cpus}\nEND"
    ]


# How booting ended goes to the console and the log group before the signal, for a signal carries no reason; a stack
# that waits for no signal refuses it, which is not an error of the host.
_FINISH = """\
finish() {{
 CODE=$?
 set +e
 OUTCOME=SUCCESS
 if [ $CODE -ne 0 ]; then
  OUTCOME=FAILURE
  [ -s {failure_file} ] && REASON=$(cat {failure_file})
 else REASON=
 fi
 echo "sparkvault boot of $ID: $OUTCOME $REASON" | tee /dev/console
 python3 - "$ID" $OUTCOME "$REASON" > /run/sparkvault/events.json <<'END'
import json, sys, time
event = dict(zip(("instance", "boot", "reason"), sys.argv[1:]))
print(json.dumps([{{"timestamp": int(time.time() * 1000), "message": json.dumps(event)}}]))
END
 LOG="--log-group-name {log_group} --log-stream-name {stream}$ID"
 timeout 60 aws logs create-log-stream $LOG
 timeout 60 aws logs put-log-events $LOG --log-events file:///run/sparkvault/events.json
 timeout 90 aws cloudformation signal-resource --stack-name {stack} --logical-resource-id {resource} \
--unique-id $ID --status $OUTCOME
 [ $CODE -eq 0 ] || shutdown -P +{minutes}
 exit $CODE
}}"""
