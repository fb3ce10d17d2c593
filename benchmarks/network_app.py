"""An app with the network stack alone, checked as the whole one is: what benchmark `synth` compares with."""

from aws_cdk import Validations
from cdk_nag import AwsSolutionsChecks

from app import create_app, read_deployment
from stacks.network import NetworkStack

app = create_app()
deployment = read_deployment(app).model_copy(
    update={"kms_key_arn": "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"}
)
NetworkStack(app, "Network", deployment=deployment)
Validations.of(app).add_plugins(AwsSolutionsChecks(app))
app.synth()
