"""The one item that says which swarm is the cluster's, and who may change it."""

from dataclasses import dataclass

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from constructs import Construct

from spark_constructs.naming import table_name
from spark_constructs.permissions import Permission

#: Last part of the table's name; hosts know it by the same convention (assets/hosts/sparkvault_host/identity.py).
TABLE_PART = "swarm-authority"


@dataclass(frozen=True)
class SwarmAuthorityProps:
    """What SwarmAuthority needs to know."""

    cluster: str
    """Name of the cluster."""
    key: kms.IKey
    """Encrypts the table; its policy must let DynamoDB use it."""


class SwarmAuthority(Construct):
    """A table with one item per cluster: {epoch, swarm id, leader, members}, changed by conditional write only.

    Two managers that boot at once, or an old one that comes back from a partition, cannot both lead: the table takes
    one of their writes. Hosts get exactly what they need by ``read`` and ``write``.

    Example::

        authority = SwarmAuthority(self, "Authority", SwarmAuthorityProps(cluster="analytics", key=key))
        role.add(*authority.read(), *authority.write())

    Attributes:
        table: the table, ``<cluster>-swarm-authority``.
    """

    table: dynamodb.Table

    def __init__(self, scope: Construct, construct_id: str, props: SwarmAuthorityProps) -> None:
        super().__init__(scope, construct_id)
        self._props = props
        self._name = table_name(props.cluster, TABLE_PART)
        self.table = dynamodb.Table(
            self,
            "Table",
            table_name=self._name,
            partition_key=dynamodb.Attribute(name="cluster", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=props.key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            # It says nothing that outlives the hosts, and a retained one would keep its name from the next deployment.
            removal_policy=RemovalPolicy.DESTROY,
        )

    def read(self) -> tuple[Permission, ...]:
        """Every host: which swarm is ours."""
        return (
            Permission("ReadAuthority", ("dynamodb:GetItem",), (self.table.table_arn,)),
            # DynamoDB developer guide, "DynamoDB encryption at rest": the table's key is decrypted in the name of
            # whoever reads, with the table in the encryption context.
            Permission(
                "AuthorityEncryption",
                ("kms:Decrypt",),
                (self._props.key.key_arn,),
                conditions={
                    "StringEquals": {
                        "kms:ViaService": f"dynamodb.{Stack.of(self).region}.amazonaws.com",
                        "kms:EncryptionContext:aws:dynamodb:tableName": self._name,
                    }
                },
            ),
        )

    def write(self) -> tuple[Permission, ...]:
        """Managers: claim it, by a write with a condition."""
        return (Permission("ClaimAuthority", ("dynamodb:PutItem",), (self.table.table_arn,)),)
