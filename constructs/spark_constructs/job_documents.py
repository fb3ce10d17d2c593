"""The SSM documents of a cluster: all that people may run on its hosts, each with one validated parameter at most."""

from dataclasses import dataclass
from typing import Any

from aws_cdk import aws_ssm as ssm
from constructs import Construct

from spark_constructs.access_policies import HOST_DOCUMENTS, JOB_DOCUMENTS, VIEW_DOCUMENTS, HostTarget, family
from spark_constructs.job_interface import FORWARDED_PORTS, JOB_ID_PATTERN
from spark_constructs.naming import document_name

#: The root-owned program that every document runs, at a fixed path of the host bundle.
LAUNCHER = "/opt/sparkvault/hosts/bin/sparkvault-launcher"
YARN_LAUNCHER = "/opt/sparkvault/hosts/bin/sparkvault-yarn-launcher"

#: Longest that a command may take on a host, in seconds; jobs themselves run on after it.
COMMAND_SECONDS = 300

_JOB_PARAMETER = {"job": {"type": "String", "description": "The job's id", "allowedPattern": JOB_ID_PATTERN}}
_LOCAL_PORT = "^(0|[1-9][0-9]{0,4})$"


@dataclass(frozen=True)
class JobDocumentsProps:
    """What JobDocuments needs to know."""

    cluster: str
    """Name of the cluster."""
    tenants: tuple[str, ...] = ("default",)
    """Names of the tenants; each has documents of its own."""
    target: HostTarget = "swarm"
    """Whose hosts run them; YARN's jobs have neither shells nor forwarded ports. Default: swarm."""


class JobDocuments(Construct):
    """Documents for submitters (``<cluster>-job.*``, ``<cluster>-view.*``) and operators (``<cluster>-host.*``).

    A document never carries what a person wrote: the one parameter is a job's id, and what is to be done lies in the
    job bucket, where the launcher reads and checks it. What is done to a job stands in documents of each tenant
    (``job.<tenant>.submit``), which name the tenant to the launcher: who may run one speaks for that tenant alone.
    Sessions attach to the shell of a job or forward a listed port; none of them is a shell on the host.

    Example::

        JobDocuments(self, "Documents", JobDocumentsProps(cluster="analytics"))

    Attributes:
        names: the documents' names by their short names (``job.sales.submit``).
    """

    names: dict[str, str]

    def __init__(self, scope: Construct, construct_id: str, props: JobDocumentsProps) -> None:
        super().__init__(scope, construct_id)
        self.names = {}
        made = documents(props.tenants) if props.target == "swarm" else yarn_documents(props.tenants)
        for short, (kind, content) in made.items():
            name = document_name(props.cluster, family(props.target) + short)
            ssm.CfnDocument(
                self,
                "".join(part.capitalize() for part in short.replace("-", ".").split(".")),
                name=name,
                document_type=kind,
                document_format="JSON",
                update_method="NewVersion",
                content=content,
            )
            self.names[short] = name


def documents(tenants: tuple[str, ...] = ("default",)) -> dict[str, tuple[str, dict[str, Any]]]:
    """Type and content of every document by its short name."""
    found = {
        f"{VIEW_DOCUMENTS}status": _command("What the swarm and Spark consist of", "status"),
        f"{VIEW_DOCUMENTS}port": ("Session", _port()),
        f"{HOST_DOCUMENTS}status": _command("What the swarm and Spark consist of", "status"),
        f"{HOST_DOCUMENTS}rotate": _command("Rotate join tokens and Spark's RPC secret", "rotate"),
    }
    for tenant in tenants:
        own = f"{JOB_DOCUMENTS}{tenant}."
        found |= {
            f"{own}submit": _command(f"Start a job of {tenant} that lies in the job bucket", "submit", tenant),
            f"{own}cancel": _command(f"End a job of {tenant}", "cancel", tenant),
            f"{own}driver-ui": _command(f"Put the web UI of a driver of {tenant} behind a listed port", "ui", tenant),
            f"{own}shell": ("Session", _shell(tenant)),
        }
    return found


def yarn_documents(tenants: tuple[str, ...]) -> dict[str, tuple[str, dict[str, Any]]]:
    """The same for a YARN cluster, whose master runs them."""
    found = {
        f"{family_}status": _command("What the YARN cluster consists of", "status", launcher=YARN_LAUNCHER)
        for family_ in (VIEW_DOCUMENTS, HOST_DOCUMENTS)
    }
    for tenant in tenants:
        for verb, what in (("submit", f"Start a job of {tenant} that lies in the bucket"), ("cancel", "End a job")):
            found[f"{JOB_DOCUMENTS}{tenant}.{verb}"] = _command(what, verb, tenant, launcher=YARN_LAUNCHER)
    return found


def _command(description: str, verb: str, tenant: str = "", *, launcher: str = LAUNCHER) -> tuple[str, dict[str, Any]]:
    """A Run Command document (Systems Manager user guide, "Data elements and parameters", schema 2.2)."""
    line = f"exec {launcher} {verb}" + (f" '{{{{ job }}}}' {tenant}" if tenant else "")
    content: dict[str, Any] = {
        "schemaVersion": "2.2",
        "description": f"sparkvault: {description}",
        "mainSteps": [
            {
                "action": "aws:runShellScript",
                "name": "launcher",
                "precondition": {"StringEquals": ["platformType", "Linux"]},
                "inputs": {"timeoutSeconds": str(COMMAND_SECONDS), "runCommand": [line]},
            }
        ],
    }
    if tenant:
        content["parameters"] = _JOB_PARAMETER
    return "Command", content


def _shell(tenant: str) -> dict[str, Any]:
    """Attaches to a job's own container (user guide, "Session document schema", InteractiveCommands)."""
    return {
        "schemaVersion": "1.0",
        "description": f"sparkvault: the terminal of an interactive job of {tenant}",
        "sessionType": "InteractiveCommands",
        "parameters": _JOB_PARAMETER,
        "properties": {"linux": {"commands": f"{LAUNCHER} attach '{{{{ job }}}}' {tenant}", "runAsElevated": True}},
    }


def _port() -> dict[str, Any]:
    """Forwards one of the listed ports of a host's loopback, where only our relays listen."""
    ports = "|".join(str(port) for port in sorted(FORWARDED_PORTS))
    return {
        "schemaVersion": "1.0",
        "description": "sparkvault: a web UI of Spark, or an enclave",
        "sessionType": "Port",
        "parameters": {
            "portNumber": {
                "type": "String",
                "description": "What to reach, by its port on the host's loopback",
                "allowedPattern": f"^({ports})$",
            },
            "localPortNumber": {
                "type": "String",
                "description": "Port on the caller's machine; 0 for any that is free",
                "allowedPattern": _LOCAL_PORT,
                "default": "0",
            },
        },
        "properties": {
            "portNumber": "{{ portNumber }}",
            "type": "LocalPortForwarding",
            "localPortNumber": "{{ localPortNumber }}",
        },
    }
