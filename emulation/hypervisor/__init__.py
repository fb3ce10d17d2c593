"""The hypervisor beneath emulated hosts: it runs their enclaves, as images in virtual machines, SIMULATED."""

from emulation.hypervisor.host_parts import HOST_FOLDER, host_parts
from emulation.hypervisor.hypervisor import Hypervisor

__all__ = ["HOST_FOLDER", "Hypervisor", "host_parts"]
