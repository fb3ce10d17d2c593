"""How old a document may be, and how far two clocks may disagree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from spark_enclave.attestation.refusals import DocumentFromTheFuture, DocumentStale

#: An enclave's certificate lives three hours, so no older document can be valid.
_LONGEST_AGE: Final = timedelta(hours=3)
_LARGEST_SKEW: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Freshness:
    """`max_age` up to 3 hours; `clock_skew` up to 10 minutes: how far the document may lie in this machine's future.

    The nonce is what proves that a document is new; the age is a second line, and what remains where no nonce was kept.
    """

    max_age: timedelta = timedelta(minutes=5)
    clock_skew: timedelta = timedelta(minutes=1)

    def __post_init__(self) -> None:
        if not timedelta(0) < self.max_age <= _LONGEST_AGE:
            raise ValueError(f"max_age must be more than 0 and at most {_LONGEST_AGE}")
        if not timedelta(0) <= self.clock_skew <= _LARGEST_SKEW:
            raise ValueError(f"clock_skew must be 0 to {_LARGEST_SKEW}")

    def check(self, made: datetime, at: datetime) -> None:
        """Raises DocumentStale or DocumentFromTheFuture."""
        age = at - made
        if age > self.max_age:
            raise DocumentStale(f"The document was made {age.total_seconds():.0f} s ago, more than {self.max_age}.")
        if -age > self.clock_skew:
            raise DocumentFromTheFuture(
                f"The document is dated {-age.total_seconds():.0f} s ahead of this machine's clock, "
                f"more than {self.clock_skew}."
            )


DEFAULT_FRESHNESS: Final = Freshness()


def moment_of(timestamp_ms: int) -> datetime:
    """A document's timestamp (milliseconds since 1970) as an aware time, exact to the millisecond."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=timestamp_ms)
