"""The SSM documents of a cluster: all that people may run on its hosts, each with one validated parameter at most."""

from dataclasses import dataclass
from typing import Any

from aws_cdk import aws_ssm as ssm
from constructs import Construct

from spark_constructs.access_policies import HOST_DOCUMENTS, JOB_DOCUMENTS
from spark_constructs.job_interface import FORWARDED_PORTS, JOB_ID_PATTERN
from spark_constructs.naming import document_name

#: The root-owned program that every document runs, at a fixed path of the host bundle.
LAUNCHER = "/opt/sparkvault/hosts/bin/sparkvault-launcher"

#: Longest that a command may take on a host, in seconds; jobs themselves run on after it.
COMMAND_SECONDS = 300

_JOB_PARAMETER = {"job": {"type": "String", "description": "The job's id", "allowedPattern": JOB_ID_PATTERN}}
_LOCAL_PORT = "^(0|[1-9][0-9]{0,4})$"


@dataclass(frozen=True)
class JobDocumentsProps:
    """What JobDocuments needs to know."""

    cluster: str
    """Name of the cluster."""


class JobDocuments(Construct):
    """Documents for submitters (``<cluster>-job.*``) and operators (``<cluster>-host.*``).

    A document never carries what a person wrote: the one parameter is a job's id, and what is to be done lies in the
    job bucket, where the launcher reads and checks it. Sessions attach to the shell of a job or forward a listed port;
    none of them is a shell on the host.

    Example::

        JobDocuments(self, "Documents", JobDocumentsProps(cluster="analytics"))

    Attributes:
        names: the documents' names by their short names (``job.submit``).
    """

    names: dict[str, str]

    def __init__(self, scope: Construct, construct_id: str, props: JobDocumentsProps) -> None:
        super().__init__(scope, construct_id)
        self.names = {}
        for short, (kind, content) in documents().items():
            name = document_name(props.cluster, short)
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


def documents() -> dict[str, tuple[str, dict[str, Any]]]:
    """Type and content of every document by its short name."""
    job, host = JOB_DOCUMENTS, HOST_DOCUMENTS
    return {
        f"{job}submit": _command("Start a job whose specification lies in the job bucket", "submit", of_job=True),
        f"{job}cancel": _command("End a job", "cancel", of_job=True),
        f"{job}driver-ui": _command("Make the web UI of a job's driver one of the listed ports", "ui", of_job=True),
        f"{job}status": _command("What the swarm and Spark consist of", "status", of_job=False),
        f"{job}shell": ("Session", _shell()),
        f"{job}port": ("Session", _port()),
        f"{host}status": _command("What the swarm and Spark consist of", "status", of_job=False),
        f"{host}rotate": _command("Rotate join tokens and Spark's RPC secret", "rotate", of_job=False),
    }


def _command(description: str, verb: str, *, of_job: bool) -> tuple[str, dict[str, Any]]:
    """A Run Command document (Systems Manager user guide, "Data elements and parameters", schema 2.2)."""
    line = f"exec {LAUNCHER} {verb}" + (" '{{ job }}'" if of_job else "")
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
    if of_job:
        content["parameters"] = _JOB_PARAMETER
    return "Command", content


def _shell() -> dict[str, Any]:
    """Attaches to a job's own container (user guide, "Session document schema", InteractiveCommands)."""
    return {
        "schemaVersion": "1.0",
        "description": "sparkvault: the terminal of an interactive job",
        "sessionType": "InteractiveCommands",
        "parameters": _JOB_PARAMETER,
        "properties": {"linux": {"commands": f"{LAUNCHER} attach '{{{{ job }}}}'", "runAsElevated": True}},
    }


def _port() -> dict[str, Any]:
    """Forwards one of the listed ports of a manager's loopback, where only our relay listens."""
    ports = "|".join(str(port) for port in sorted(FORWARDED_PORTS))
    return {
        "schemaVersion": "1.0",
        "description": "sparkvault: a web UI of Spark",
        "sessionType": "Port",
        "parameters": {
            "portNumber": {
                "type": "String",
                "description": "Which web UI, by its port on the host's loopback",
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
