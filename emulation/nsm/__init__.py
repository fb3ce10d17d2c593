"""A simulated Nitro Security Module: AWS's certificate chain, device rules and wire format, under a root of its own.

It signs for real, so that the code that verifies is always the same; what it signs proves nothing, and says so.
"""

from emulation.nsm.attestation_pki import SimulatedPki
from emulation.nsm.device import Registers, SimulatedNsm
from emulation.nsm.socket_client import NsmSocketError, exchange
from emulation.nsm.socket_server import NsmServer

__all__ = ["NsmServer", "NsmSocketError", "Registers", "SimulatedNsm", "SimulatedPki", "exchange"]
