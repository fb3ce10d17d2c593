"""The engine for tests, or the reason why this machine has none: a skip elsewhere, a failure in CI."""

import os
from collections.abc import Generator

import pytest

from emulation.engine import Engine, EngineMissing, engine_lease


def leased_engine() -> Generator[Engine, None, None]:
    """Body of a session fixture: a lease on the machine's engine."""
    try:
        with engine_lease() as engine:
            yield engine
    except EngineMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must run this: {missing}")
        pytest.skip(str(missing))
