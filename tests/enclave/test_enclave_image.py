"""Enclave images: measured as AWS's own tool measures them, the same bytes from the same inputs, read strictly."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_enclave_image import (
    BuildMetadata,
    EifError,
    EifInputError,
    EifMalformed,
    EifSignatureInvalid,
    ImageSigner,
    build,
    describe,
    measure,
    read,
)
from tests.enclave.eif_recipes import RECIPES, VECTORS_FILE, cook, signer
from tests.enclave.eif_surgery import Eif

VECTORS = json.loads(VECTORS_FILE.read_text())["images"]
#: PCR2 of an image with one ramdisk: SHA-384(48 zero bytes ‖ SHA-384 of nothing).
NO_OTHER_RAMDISKS = hashlib.sha384(bytes(48) + hashlib.sha384(b"").digest()).hexdigest()
METADATA = BuildMetadata(image_name="test", image_version="1")


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Any]:
    """What a small image is built from."""
    for name in ("kernel", "init", "app"):
        (tmp_path / name).write_bytes(name.encode() * 50)
    return {
        "kernel": tmp_path / "kernel",
        "cmdline": "reboot=k panic=30",
        "ramdisks": [tmp_path / "init", tmp_path / "app"],
        "metadata": METADATA,
    }


def test_there_is_a_vector_for_every_recipe() -> None:
    assert VECTORS.keys() == RECIPES.keys()
    assert all(vector["crc_check"] for vector in VECTORS.values())
    assert all(vector["signature_check"] for vector in VECTORS.values() if vector["is_signed"])
    assert {len(recipe["ramdisks"]) for recipe in RECIPES.values()} == {1, 2, 3}


@pytest.mark.parametrize("name", RECIPES)
def test_an_image_measures_as_nitro_cli_says(name: str, tmp_path: Path) -> None:
    path, built = cook(name, tmp_path)
    assert built.to_json() == VECTORS[name]["measurements"]
    assert measure(path).to_json() == VECTORS[name]["measurements"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == VECTORS[name]["eif_sha256"]


@pytest.mark.parametrize("name", ["two-ramdisks-odd-sizes", "three-ramdisks-signed"])
def test_two_builds_in_two_folders_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    images = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        path, _ = cook(name, folder)
        os.utime(path, (0, 0))
        images.append(path.read_bytes())
    assert images[0] == images[1]


def test_an_image_says_what_is_in_it(tmp_path: Path) -> None:
    path, measured = cook("three-ramdisks-signed", tmp_path)
    text = describe(path)
    for said in (
        measured.pcr0.hex(),
        "PCR8",
        "a=1 b=2",
        "Signed by CN=sparkvault test image signer",
        "ramdisk 777",
        "unmeasured",
    ):
        assert said in text
    report = json.loads(json.dumps(read(path).to_json()))
    assert report["measurements"] == measured.to_json()
    assert report["architecture"] == "x86_64"
    assert [part["kind"] for part in report["sections"]][:3] == ["kernel", "cmdline", "metadata"]


def test_an_image_without_signature_says_so(tmp_path: Path) -> None:
    path, measured = cook("one-ramdisk", tmp_path)
    assert measured.pcr8 is None
    assert "PCR8" not in measured.to_json()
    assert measured.pcr2.hex() == NO_OTHER_RAMDISKS
    assert "Not signed" in describe(path)


def test_what_an_image_says_of_itself_is_not_measured(tmp_path: Path, inputs: dict[str, Any]) -> None:
    first = build(tmp_path / "1.eif", **inputs)
    metadata = BuildMetadata(image_name="other", image_version="2", build_time="2026-11-21T12:00:00+00:00")
    second = build(tmp_path / "2.eif", **{**inputs, "metadata": metadata})
    assert first == second
    assert (tmp_path / "1.eif").read_bytes() != (tmp_path / "2.eif").read_bytes()


def test_the_architecture_that_an_image_names_is_not_measured(tmp_path: Path, inputs: dict[str, Any]) -> None:
    first = build(tmp_path / "1.eif", **inputs)
    assert build(tmp_path / "2.eif", **inputs, architecture="aarch64") == first
    assert read(tmp_path / "2.eif").architecture == "aarch64"


def test_without_a_build_time_none_is_written(tmp_path: Path, inputs: dict[str, Any]) -> None:
    build(tmp_path / "1.eif", **inputs)
    metadata = read(tmp_path / "1.eif").metadata
    assert metadata is not None
    assert metadata["BuildMetadata"]["BuildTime"] == "1970-01-01T00:00:00+00:00"  # type: ignore[index]


def test_each_part_is_measured_where_it_belongs(tmp_path: Path, inputs: dict[str, Any]) -> None:
    before = build(tmp_path / "1.eif", **inputs)
    (tmp_path / "app").write_bytes(b"another application")
    after = build(tmp_path / "2.eif", **inputs)
    assert after.pcr1 == before.pcr1
    assert after.pcr0 != before.pcr0
    assert after.pcr2 != before.pcr2
    (tmp_path / "init").write_bytes(b"another init")
    last = build(tmp_path / "3.eif", **inputs)
    assert last.pcr1 != after.pcr1
    assert last.pcr2 == after.pcr2
    assert build(tmp_path / "4.eif", **{**inputs, "cmdline": "x"}).pcr1 != last.pcr1


def test_where_the_kernel_ends_and_its_command_line_begins_is_not_measured(
    tmp_path: Path, inputs: dict[str, Any]
) -> None:
    """A limit of the format, which AWS's tool shares: nothing may rest on the command line alone."""
    before = build(tmp_path / "1.eif", **inputs)
    (tmp_path / "kernel").write_bytes((tmp_path / "kernel").read_bytes() + b"reboot=k ")
    moved = build(tmp_path / "2.eif", **{**inputs, "cmdline": "panic=30"})
    assert moved == before
    assert read(tmp_path / "2.eif").cmdline != read(tmp_path / "1.eif").cmdline


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cmdline": ""}, "cmdline has 0 bytes"),
        ({"cmdline": "x" * 2048}, "cmdline has 2048 bytes"),
        ({"cmdline": "two\nlines"}, "printable ASCII"),
        ({"cmdline": "zero\0byte"}, "printable ASCII"),
        ({"cmdline": "grün"}, "printable ASCII"),
        ({"ramdisks": []}, "1 to 28 ramdisks, not 0"),
        ({"ramdisks": [Path("x")] * 29}, "1 to 28 ramdisks, not 29"),
        ({"ramdisks": [Path("/nowhere/init")]}, "ramdisk /nowhere/init: No such file"),
        ({"kernel": Path("/nowhere/kernel")}, "kernel /nowhere/kernel: No such file"),
        ({"kernel": Path("/")}, "kernel /: Is a directory"),
        ({"kernel": Path("/dev/null")}, "kernel /dev/null has 0 bytes"),
        ({"metadata": BuildMetadata(image_name="x", image_version="1", custom={"a": object()})}, "not JSON"),
        ({"metadata": BuildMetadata(image_name="x", image_version="1", custom={"a": float("nan")})}, "not JSON"),
        ({"metadata": BuildMetadata(image_name="x" * 2_000_000, image_version="1")}, "metadata has"),
    ],
)
def test_what_cannot_be_built_is_refused_and_nothing_is_left(
    changes: dict[str, Any], said: str, tmp_path: Path, inputs: dict[str, Any]
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(EifInputError, match=said):
        build(folder / "image.eif", **{**inputs, **changes})
    assert list(folder.iterdir()) == []


def test_an_image_cannot_be_written_where_there_is_no_folder(tmp_path: Path, inputs: dict[str, Any]) -> None:
    with pytest.raises(EifInputError, match="cannot be written: No such file"):
        build(tmp_path / "none" / "image.eif", **inputs)


def test_an_input_that_changes_while_it_is_read_stops_the_build(
    tmp_path: Path, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from spark_enclave_image import eif_builder

    measuring = eif_builder._measure

    def then_change(*arguments: Any) -> Any:
        result = measuring(*arguments)
        data = (tmp_path / "app").read_bytes()
        (tmp_path / "app").write_bytes(b"!" + data[1:])
        return result

    monkeypatch.setattr(eif_builder, "_measure", then_change)
    with pytest.raises(EifInputError, match="changed while"):
        build(tmp_path / "image.eif", **inputs)
    assert not (tmp_path / "image.eif").exists()


def test_an_image_replaces_the_old_one_only_when_it_is_complete(tmp_path: Path, inputs: dict[str, Any]) -> None:
    out = tmp_path / "image.eif"
    build(out, **inputs)
    before = out.read_bytes()
    with pytest.raises(EifInputError):
        build(out, **{**inputs, "ramdisks": [tmp_path / "missing"]})
    assert out.read_bytes() == before
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_only_a_p384_key_with_its_own_certificate_signs() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def pem(curve: ec.EllipticCurve) -> bytes:
        return ec.generate_private_key(curve).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    certificate = signer()._certificate_pem
    with pytest.raises(EifInputError, match="P-384"):
        ImageSigner(private_key_pem=pem(ec.SECP256R1()), certificate_pem=certificate)
    with pytest.raises(EifInputError, match="another key"):
        ImageSigner(private_key_pem=pem(ec.SECP384R1()), certificate_pem=certificate)
    with pytest.raises(EifInputError, match="cannot be read"):
        ImageSigner(private_key_pem=b"no key", certificate_pem=certificate)


# Reading what others made


def damaged(tmp_path: Path, name: str, change: Any) -> Path:
    eif = Eif.parse(cook(name, tmp_path)[0].read_bytes())
    change(eif)
    out = tmp_path / "changed.eif"
    out.write_bytes(eif.pack())
    return out


def swap(first: int, second: int) -> Any:
    def change(eif: Eif) -> None:
        eif.sections[first], eif.sections[second] = eif.sections[second], eif.sections[first]

    return change


def change_signature(**changes: Any) -> Any:
    """Replaces values in the (one) entry of the signature section."""

    def change(eif: Eif) -> None:
        entry = cbor2.loads(eif.sections[-1].data)[0]
        eif.sections[-1].data = cbor2.dumps([{**entry, **changes}])

    return change


def sign_other_content(eif: Eif) -> None:
    eif.sections[-1].data = signer().sign(b"\x01" * 48)


def flip_in_signature(eif: Eif) -> None:
    entry = cbor2.loads(eif.sections[-1].data)[0]
    entry["signature"][-1] ^= 1
    eif.sections[-1].data = cbor2.dumps([entry])


@pytest.mark.parametrize(
    ("change", "refusal", "said"),
    [
        (lambda eif: setattr(eif, "magic", b".elf"), EifMalformed, "does not begin with"),
        (lambda eif: setattr(eif, "version", 3), EifMalformed, "version 3, not 4"),
        (lambda eif: setattr(eif, "version", 5), EifMalformed, "version 5, not 4"),
        (lambda eif: setattr(eif, "flags", 2), EifMalformed, "flags or reserved"),
        (lambda eif: setattr(eif, "reserved", 1), EifMalformed, "flags or reserved"),
        (lambda eif: setattr(eif, "unused", 1), EifMalformed, "flags or reserved"),
        (lambda eif: setattr(eif, "count", 2), EifMalformed, "2 sections, not 3 to 32"),
        (lambda eif: setattr(eif, "count", 65_535), EifMalformed, "65535 sections"),
        (lambda eif: setattr(eif, "count", 4), EifMalformed, "entries beyond its last section"),
        (lambda eif: eif.table_offsets.update({1: 549}), EifMalformed, "Section 1 begins at 549"),
        (lambda eif: eif.table_offsets.update({0: 2**64 - 1}), EifMalformed, "Section 0 begins at"),
        (lambda eif: eif.table_sizes.update({0: 2**64 - 1}), EifMalformed, "Section 1 begins at"),
        (lambda eif: eif.table_offsets.update({20: 1}), EifMalformed, "entries beyond"),
        (lambda eif: setattr(eif, "rest", b"x"), EifMalformed, "the file at"),
        (lambda eif: setattr(eif.sections[0], "kind", 0), EifMalformed, "unknown kind, 0"),
        (lambda eif: setattr(eif.sections[3], "kind", 6), EifMalformed, "unknown kind, 6"),
        (lambda eif: setattr(eif.sections[3], "flags", 1), EifMalformed, "Section 3 has flags"),
        (lambda eif: setattr(eif.sections[3], "said_size", 1), EifMalformed, "the header's table says"),
        (lambda eif: setattr(eif.sections[3], "said_size", 2**64 - 1), EifMalformed, "the header's table says"),
        (lambda eif: setattr(eif.sections[1], "data", b""), EifMalformed, "cmdline has 0 bytes"),
        (lambda eif: setattr(eif.sections[1], "data", b"x" * 2048), EifMalformed, "cmdline has 2048 bytes"),
        (lambda eif: setattr(eif.sections[1], "data", b"a\0b"), EifSignatureInvalid, "its PCR0 is not the image's"),
        (lambda eif: setattr(eif.sections[2], "data", b"{"), EifMalformed, "not JSON"),
        (lambda eif: setattr(eif.sections[2], "data", b"[]"), EifMalformed, "not a JSON object"),
        (lambda eif: setattr(eif.sections[2], "data", b"[" * 100_000), EifMalformed, "not JSON"),
        (swap(0, 1), EifMalformed, "does not begin with its kernel"),
        (swap(1, 3), EifMalformed, "does not begin with its kernel"),
        (swap(3, 4), EifSignatureInvalid, "its PCR0 is not the image's"),
        (lambda eif: eif.sections.append(eif.sections[0]), EifMalformed, "two kernel sections"),
        (lambda eif: eif.sections.append(eif.sections[2]), EifMalformed, "two metadata sections"),
        (lambda eif: eif.sections.append(eif.sections[-1]), EifMalformed, "two signature sections"),
        (lambda eif: eif.sections.__delitem__(slice(3, 6)), EifMalformed, "no ramdisk"),
        (sign_other_content, EifSignatureInvalid, "for other content"),
        (flip_in_signature, EifSignatureInvalid, "does not fit its certificate"),
        (change_signature(signature=[]), EifMalformed, "not readable CBOR"),
        (change_signature(signature=[0x80]), EifMalformed, "not COSE_Sign1"),
        (change_signature(signature=[0x84, 0, 0, 0, 0]), EifMalformed, "not COSE_Sign1"),
        (change_signature(signature="text"), EifMalformed, "lists of bytes"),
        (change_signature(signature=[256]), EifMalformed, "lists of bytes"),
        (change_signature(signing_certificate=[]), EifMalformed, "certificate cannot be read"),
        (change_signature(other=[]), EifMalformed, "something else"),
        (lambda eif: setattr(eif.sections[-1], "data", b"\x80"), EifMalformed, "exactly one signature"),
        (lambda eif: setattr(eif.sections[-1], "data", eif.sections[-1].data + b"\0"), EifMalformed, "encoding"),
        (lambda eif: setattr(eif.sections[-1], "data", b"\xff"), EifMalformed, "not readable CBOR"),
    ],
)
def test_an_image_with_a_right_crc_and_anything_else_wrong_is_refused(
    change: Any, refusal: type[EifError], said: str, tmp_path: Path
) -> None:
    path = damaged(tmp_path, "three-ramdisks-signed", change)
    with pytest.raises(refusal, match=said) as refused:
        read(path)
    assert str(refused.value).startswith(str(path))
    assert type(refused.value) is refusal


def test_another_signers_certificate_in_the_signature_is_refused(tmp_path: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from tests.enclave.forged_chains import RIGHT, chain_of

    other = x509.load_der_x509_certificate(chain_of(RIGHT).certificates[-1]).public_bytes(Encoding.PEM)
    path = damaged(tmp_path, "three-ramdisks-signed", change_signature(signing_certificate=list(other)))
    with pytest.raises(EifSignatureInvalid, match="does not fit its certificate"):
        read(path)


@pytest.mark.parametrize("length", [0, 1, 547, 548, 560, 1000])
def test_a_file_that_ends_early_is_refused(length: int, tmp_path: Path) -> None:
    path, _ = cook("one-ramdisk", tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(EifMalformed):
        read(path)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(EifError, match=r"none\.eif: No such file"):
        measure(tmp_path / "none.eif")
    with pytest.raises(EifError, match="Is a directory"):
        measure(tmp_path)


def test_every_damaged_byte_of_an_image_is_noticed(tmp_path: Path) -> None:
    """The CRC finds every single bit, wherever it is."""
    path, _ = cook("one-byte-of-everything", tmp_path)
    original = path.read_bytes()
    for position in range(len(original)):
        changed = bytearray(original)
        changed[position] ^= 1 << (position % 8)
        path.write_bytes(changed)
        with pytest.raises(EifError):
            read(path)


def test_every_change_under_a_right_crc_is_refused_or_shows_in_the_measurements(tmp_path: Path) -> None:
    """Whoever changes an image can mend its CRC; what he cannot do is keep the measurements."""
    path, measured = cook("two-ramdisks-odd-sizes", tmp_path)
    original = path.read_bytes()
    eif = Eif.parse(original)
    metadata = range(eif.begin(2), eif.begin(2) + len(eif.sections[2].data))
    #: default memory and vCPUs, and the metadata: not measured by AWS, and nothing rests on them.
    unmeasured = {*range(8, 24), *metadata}
    for position in [*range(650), *range(650, len(original), 11)]:
        if position in range(544, 548):
            continue
        changed = bytearray(original)
        changed[position] ^= 0x20
        path.write_bytes(Eif.with_crc(bytes(changed)))
        try:
            same = measure(path) == measured
        except EifError:
            continue
        assert same == (position in unmeasured), position


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=1200))
def test_random_bytes_are_no_image(data: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(b".eif\x00\x04" + data)
        file.flush()
        with pytest.raises(EifMalformed):
            read(Path(file.name))
