"""What a query costs under each isolation: seconds measured here times an instance's list price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Price:
    """An instance that a runtime can run on, and its list price."""

    instance: str
    usd_hour: float | None
    """On demand, Linux, us-east-1; None where no source could be had."""


#: What is known of their day: nothing. They could not be looked up from where this was measured.
PRICES_OF = "as AWS listed it; the day it was looked up is not on record, so look again before you decide"

#: Two vCPUs, as the machine here has two cores. Kata needs nested virtualization (C8i, M8i, R8i) or metal.
PRICES: Mapping[str, Price] = {
    "runc": Price("m5.large", 0.096),
    "runsc": Price("m5.large", 0.096),
    "kata": Price("m8i.large", None),
}


def usd(runtime: str, seconds: float) -> float | None:
    """USD of so many seconds of that runtime's instance, all of it; None where its price is not known."""
    price = PRICES[runtime].usd_hour
    return None if price is None else seconds / 3600 * price
