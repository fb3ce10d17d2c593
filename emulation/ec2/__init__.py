"""Emulated EC2: the instances of the embedded AWS brought to life as hosts with real systemd and real Docker engines.

Public: `EmulatedEc2` (the hosts of one emulated VPC), `Host` (one of them), `HostError`, `Ec2EmulationError`.
"""

from emulation.ec2.capability import check_host_programs
from emulation.ec2.emulated import EmulatedEc2
from emulation.ec2.errors import Ec2EmulationError, HostError
from emulation.ec2.host import Host

__all__ = ["Ec2EmulationError", "EmulatedEc2", "Host", "HostError", "check_host_programs"]
