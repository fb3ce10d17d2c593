"""Attestation documents that real Nitro hypervisors signed, found through SPARKVAULT_FIXTURES."""

from __future__ import annotations

import base64
import os
from datetime import datetime
from pathlib import Path

import pytest

#: File → a moment at which all of its certificates were valid.
MOMENTS = {
    "production": datetime.fromisoformat("2022-10-13T08:58:03+00:00"),
    "debug-mode-1": datetime.fromisoformat("2023-09-18T15:03:31+00:00"),
    "debug-mode-2": datetime.fromisoformat("2022-10-12T13:50:07+00:00"),
}


def fixtures_folder() -> Path:
    """Where the fixtures should be: beside the project unless the environment says otherwise."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "fixtures"
    return Path(os.environ.get("SPARKVAULT_FIXTURES", beside)) / "attestation"


def available() -> bool:
    return all((fixtures_folder() / f"{name}.b64").is_file() for name in MOMENTS)


def real_document(name: str) -> bytes:
    """The document's bytes; without fixtures the test is skipped with that reason, and fails where CI=true."""
    if not available():
        reason = f"no real attestation documents in {fixtures_folder()} (SPARKVAULT_FIXTURES)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return base64.b64decode((fixtures_folder() / f"{name}.b64").read_text())
