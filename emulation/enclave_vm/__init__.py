"""Boots a measured image in a virtual machine with real vsock and a simulated security module: tests without Nitro."""

from emulation.enclave_vm.machine import EnclaveVm, EnclaveVmError, missing_programs
from emulation.enclave_vm.simulator_ramdisk import simulator_ramdisk

__all__ = ["EnclaveVm", "EnclaveVmError", "missing_programs", "simulator_ramdisk"]
