"""Where Auto Scaling says that it starts and ends hosts, or fails to."""

from dataclasses import dataclass

from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct


@dataclass(frozen=True)
class HostNotificationsProps:
    """What HostNotifications needs to know."""

    cluster: str
    """Name of the cluster."""
    key: kms.IKey
    """Encrypts the notifications; its policy must let the service-linked role of Auto Scaling use it."""


class HostNotifications(Construct):
    """An SNS topic encrypted under our key that takes messages over TLS only. Whoever is on duty subscribes to it.

    Example::

        notifications = HostNotifications(self, "Notifications", HostNotificationsProps(cluster="analytics", key=key))

    Attributes:
        topic: the topic.
    """

    topic: sns.Topic

    def __init__(self, scope: Construct, construct_id: str, props: HostNotificationsProps) -> None:
        super().__init__(scope, construct_id)
        self.topic = sns.Topic(
            self,
            "Topic",
            display_name=f"Hosts of {props.cluster}",
            master_key=props.key,
            enforce_ssl=True,
        )
