"""An AWS account on loopback: moto behind a CloudFormation engine that keeps CloudFormation's promises.

Public: `EmbeddedAws` (the server as a context manager), `bootstrap` (the real `cdk bootstrap`), `leftovers` (what is
still there).
"""

from emulation.aws.bootstrap import bootstrap
from emulation.aws.embedded import EmbeddedAws, EmbeddedAwsError
from emulation.aws.leftovers import leftovers

__all__ = ["EmbeddedAws", "EmbeddedAwsError", "bootstrap", "leftovers"]
