"""A stand-in for Systems Manager's Run Command and sessions on emulated hosts; documents are enforced as SSM does.

What it does not have: Systems Manager's own schedule and rate limits, output to S3, KMS encryption of sessions.
"""

from emulation.ssm_sessions.agents import Machine, SsmAgents
from emulation.ssm_sessions.errors import SsmError

__all__ = ["Machine", "SsmAgents", "SsmError"]
