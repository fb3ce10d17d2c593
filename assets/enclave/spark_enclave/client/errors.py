"""What can go wrong for a client, beside an attestation or a message that is refused: each with what to do about it."""

from __future__ import annotations


class EnclaveError(Exception):
    """`what` happened, and the `remedy`."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} {remedy}")
        self.what, self.remedy = what, remedy


class NotReachable(EnclaveError):
    """Nobody answers at the address, or not in time."""


class EnclaveRefused(EnclaveError):
    """The enclave does not do what was asked, and says so in the clear: full, too slow, unknown session."""


class EnclaveFull(EnclaveRefused):
    """All sessions are taken."""


class SessionLost(EnclaveRefused):
    """The enclave does not know the session: it ended, or the enclave was started anew and has other keys."""


class TableNotTaken(EnclaveError):
    """The enclave refuses a table, by `rule`."""

    def __init__(self, name: str, rule: str, message: str) -> None:
        super().__init__(f"The enclave refuses the table {name} ({rule}): {message}", _TABLE_REMEDY)
        self.rule = rule


class QueryRefused(EnclaveError):
    """The enclave does not run a query, by `rule`."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(
            f"The enclave refuses the query ({rule}): {message}", "See docs/enclave-sql.md for what it runs."
        )
        self.rule, self.message = rule, message


class QueryFailed(EnclaveError):
    """A query was begun and failed; `kind` is memory, timeout, cancelled, limit, error or internal."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(
            f"The query failed ({kind}): {message}", _FAILED_REMEDIES.get(kind, "Mend the query and ask again.")
        )
        self.kind, self.message = kind, message


class ResultIncomplete(EnclaveError):
    """A detached result whose end is not in its store (yet)."""


class StateUnreadable(EnclaveError):
    """A saved state of a detached query that cannot be read."""


_TABLE_REMEDY = "Encrypt it anew with `sparkvault encrypt`, or ask its owner for the version that is current."
_FAILED_REMEDIES = {
    "memory": "Ask for less at once, or give the enclave more memory.",
    "timeout": "Ask for less at once, or allow more seconds.",
    "limit": "Ask for fewer rows, or allow more.",
    "internal": "Ask again; the session is still there.",
}
