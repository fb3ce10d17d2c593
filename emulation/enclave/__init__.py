"""The enclave's own server in a process without a network, its security module simulated: for learning and tests."""

from emulation.enclave.code_measurement import measure_code, policy_for
from emulation.enclave.parent_host import HostSide
from emulation.enclave.simulated import EnclaveDidNotStart, SimulatedEnclave

__all__ = ["EnclaveDidNotStart", "HostSide", "SimulatedEnclave", "measure_code", "policy_for"]
