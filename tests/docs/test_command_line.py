"""The generated page about the command line says what the program says."""

from sparkvault.cli.reference import REFERENCE_FILE, reference
from tests.docs.commands import ROOT


def test_the_reference_in_docs_is_current() -> None:
    page = (ROOT / "docs" / REFERENCE_FILE).read_text(encoding="utf-8")
    assert page == reference(), "run `python -m sparkvault.cli.reference`"


def test_every_verb_argument_and_option_is_described() -> None:
    page = reference()
    for verb in ("deploy", "submit", "enclave promote", "local up", "keys new", "pins update"):
        assert f"\n## `sparkvault {verb}`\n" in page
    assert "|  |\n" not in page, "something is without help"
    assert "| `--enclave ADDRESS` | localhost:5005 |" in page
