"""Notifications about hosts are encrypted, at rest and on the way."""

from spark_constructs.host_notifications import HostNotifications, HostNotificationsProps
from tests.support.swarm_surroundings import CLUSTER, KEY_ARN, only, surroundings
from tests.support.synth_app import synthesise_alone


def test_the_topic_is_encrypted_and_takes_messages_over_tls_only() -> None:
    of = synthesise_alone(
        lambda stack: HostNotifications(
            stack, "Notifications", HostNotificationsProps(cluster=CLUSTER, key=surroundings(stack).key)
        )
    )
    assert of.violations == []
    template = of.template("Alone")
    assert only(template, "AWS::SNS::Topic")["Properties"]["KmsMasterKeyId"] == KEY_ARN
    (statement,) = only(template, "AWS::SNS::TopicPolicy")["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
