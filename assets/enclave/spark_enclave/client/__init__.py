"""The client of an enclave: connect, attest, open a session, send encrypted tables, ask, and open the sealed result.

trust = Trust(MeasurementPolicy.from_file(Path("assets/enclave/measurements.json")))
with EnclaveConnection("localhost:5005") as enclave, enclave.open_session(trust, signing_key) as session:
    print(session.attested.explain())
    session.put_table("sales", TableFolder.open(Path("sales.enc"), table_key=key, owner_key=owner))
    table = session.query("SELECT region, sum(amount) FROM sales GROUP BY region").to_table()
"""

from spark_enclave.client.connection import Attested, EnclaveConnection, Trust
from spark_enclave.client.detached import DetachedQuery, Ticket
from spark_enclave.client.errors import (
    EnclaveError,
    EnclaveFull,
    EnclaveRefused,
    NotReachable,
    QueryFailed,
    QueryRefused,
    ResultIncomplete,
    SessionLost,
    StateUnreadable,
    TableNotTaken,
)
from spark_enclave.client.owner_key import DataKeyRefused, table_key
from spark_enclave.client.result_store import FolderStore, ResultStore, StoreFailed, open_store
from spark_enclave.client.results import QueryResult
from spark_enclave.client.session import EnclaveSession
from spark_enclave.client.table_folder import TableFolder
from spark_enclave.protocol.messages import Limits, Parameter

__all__ = [
    "Attested",
    "DataKeyRefused",
    "DetachedQuery",
    "EnclaveConnection",
    "EnclaveError",
    "EnclaveFull",
    "EnclaveRefused",
    "EnclaveSession",
    "FolderStore",
    "Limits",
    "NotReachable",
    "Parameter",
    "QueryFailed",
    "QueryRefused",
    "QueryResult",
    "ResultIncomplete",
    "ResultStore",
    "SessionLost",
    "StateUnreadable",
    "StoreFailed",
    "TableFolder",
    "TableNotTaken",
    "Ticket",
    "Trust",
    "open_store",
    "table_key",
]
