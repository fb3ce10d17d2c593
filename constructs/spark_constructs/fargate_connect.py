"""The one session document of target fargate: it forwards a Spark Connect server's port, and nothing else."""

from typing import Any

from aws_cdk import aws_ssm as ssm
from constructs import Construct

from spark_constructs.job_interface import CONNECT_DOCUMENT, CONNECT_PORT
from spark_constructs.naming import document_name


class ConnectDocument(Construct):
    """AWS's own document for forwarding takes any port; this one takes the port on which a Connect server listens.

    Example::

        ConnectDocument(self, "Connect", cluster="analytics")

    Attributes:
        name: the document's name.
    """

    name: str

    def __init__(self, scope: Construct, construct_id: str, *, cluster: str) -> None:
        super().__init__(scope, construct_id)
        self.name = document_name(cluster, CONNECT_DOCUMENT)
        ssm.CfnDocument(
            self,
            "Document",
            name=self.name,
            document_type="Session",
            document_format="JSON",
            update_method="NewVersion",
            content=connect_document(),
        )


def connect_document() -> dict[str, Any]:
    """Its content (Systems Manager user guide, "Session document schema", type Port)."""
    return {
        "schemaVersion": "1.0",
        "description": "sparkvault: a Spark Connect server of the caller's own",
        "sessionType": "Port",
        "parameters": {
            "portNumber": {
                "type": "String",
                "description": "The server's port on its task's loopback",
                "allowedPattern": f"^{CONNECT_PORT}$",
                "default": str(CONNECT_PORT),
            },
            "localPortNumber": {
                "type": "String",
                "description": "Port on the caller's machine; 0 for any that is free",
                "allowedPattern": "^(0|[1-9][0-9]{0,4})$",
                "default": "0",
            },
        },
        "properties": {
            "portNumber": "{{ portNumber }}",
            "type": "LocalPortForwarding",
            "localPortNumber": "{{ localPortNumber }}",
        },
    }
