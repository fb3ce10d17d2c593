"""What the enclave's client refuses, as the command line's own errors: one message and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from sparkvault.errors import SparkvaultError, UsageError


@contextmanager
def enclave_errors() -> Iterator[None]:
    """Turn every refusal of attestation, protocol, tables and client into a SparkvaultError."""
    from spark_enclave.attestation import AttestationRefused, MeasurementPolicyError, SimulatedRootRefused
    from spark_enclave.client import EnclaveError
    from spark_enclave.protocol.refusals import ProtocolRefused
    from spark_enclave.tables import TableRefused

    try:
        yield
    except (AttestationRefused, ProtocolRefused, TableRefused, EnclaveError) as error:
        raise SparkvaultError(error.what, error.remedy) from None
    except (MeasurementPolicyError, SimulatedRootRefused) as error:
        raise UsageError(str(error), "give the file that was reviewed for this enclave") from None
