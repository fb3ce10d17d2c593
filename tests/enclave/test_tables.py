"""Tables are encrypted, signed, and checked before anything opens them; each wrong thing has its own error."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow.parquet.encryption import create_decryption_properties

from spark_enclave.tables import (
    MANIFEST_NAME,
    ClientKeys,
    KeyFileRefused,
    SignedManifest,
    TableKey,
    TableRefused,
    VerifiedManifest,
    aad_prefix,
    encryption_context,
    read_key_file,
    refusals,
    verify_manifest,
    worker_table,
    write_key_file,
)
from spark_enclave.tables.encryption import encrypt_table


@dataclass(frozen=True)
class Encrypted:
    """A table as its owner has it."""

    folder: Path
    keys: ClientKeys
    table_id: str

    @property
    def key(self) -> TableKey:
        return self.keys.table_key(self.table_id)

    @property
    def data(self) -> bytes:
        return SignedManifest.read(self.folder).data

    def verified(self) -> VerifiedManifest:
        return verify_manifest(self.data, self.keys.public_key, 1)

    def read(self) -> pa.Table:
        manifest = self.verified()
        parts = []
        for file in manifest.files:
            opened = create_decryption_properties(
                self.key.file_key(self.table_id, manifest.version, file.name, file.salt),
                aad_prefix=aad_prefix(self.table_id, manifest.version, file.name),
            )
            parts.append(pq.read_table(self.folder / file.name, decryption_properties=opened, partitioning=None))
        return pa.concat_tables(parts)


KEYS = ClientKeys.new()


def encrypt(
    folder: Path, rows: str = "id,name\n1,one\n2,two\n", *, version: int = 1, table_id: str = "people"
) -> Encrypted:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.csv").write_text(rows, encoding="utf-8")
    out = folder / f"{table_id}-{version}"
    encrypt_table(
        [folder / "rows.csv"],
        out,
        KEYS.table_key(table_id),
        table_id=table_id,
        version=version,
        signing_key=KEYS.signing_key,
    )
    return Encrypted(out, KEYS, table_id)


@pytest.fixture
def table(tmp_path: Path) -> Encrypted:
    return encrypt(tmp_path)


def test_what_was_csv_comes_back_with_its_types(tmp_path: Path) -> None:
    table = encrypt(tmp_path, "id,amount,day,name\n1,2.5,2026-01-31,zoë\n2,,2026-02-01,\n")
    assert table.read().to_pydict() == {
        "id": [1, 2],
        "amount": [2.5, None],
        "day": [date(2026, 1, 31), date(2026, 2, 1)],
        "name": ["zoë", ""],
    }


def test_several_parquet_files_keep_schema_and_chosen_columns(tmp_path: Path) -> None:
    schema = pa.schema(
        [("n", pa.uint32()), ("d", pa.decimal128(12, 2)), ("s", pa.large_string()), ("l", pa.list_(pa.int8()))]
    )
    for part in (1, 2):
        rows = {"n": [part], "d": [Decimal("1.25")], "s": ["x" * part], "l": [[part]]}
        pq.write_table(pa.table(rows, schema=schema), tmp_path / f"p{part}.parquet")
    out = tmp_path / "out"
    encrypt_table(
        [str(tmp_path / "p*.parquet")],
        out,
        KEYS.table_key("t"),
        table_id="t",
        version=3,
        signing_key=KEYS.signing_key,
        columns=["s", "n", "d"],
    )
    read = Encrypted(out, KEYS, "t").read()
    assert read.to_pydict() == {"s": ["x", "xx"], "n": [1, 2], "d": [Decimal("1.25")] * 2}
    assert read.schema.field("n").type == pa.int64()


def test_nothing_of_a_table_is_readable_in_its_files(tmp_path: Path) -> None:
    table = encrypt(tmp_path, "secret_column\nsecret-value-1\nsecret-value-2\n")
    for file in table.folder.iterdir():
        content = file.read_bytes()
        assert b"secret" not in content, file.name
    (part,) = table.folder.glob("part-*.parquet")
    assert part.read_bytes()[:4] == part.read_bytes()[-4:] == b"PARE"


def test_encrypting_the_same_again_uses_other_keys(tmp_path: Path) -> None:
    first, again = encrypt(tmp_path / "a"), encrypt(tmp_path / "b")
    keys = {
        one.key.file_key("people", 1, file.name, file.salt) for one in (first, again) for file in one.verified().files
    }
    assert len(keys) == 2
    file = first.verified().files[0]
    others = [("other", 1, file.name), ("people", 2, file.name), ("people", 1, "part-00001.parquet")]
    assert not keys & {first.key.file_key(*other, file.salt) for other in others}


def test_a_failed_encryption_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(refusals.SourceRefused):
        encrypt(tmp_path, "a,b\n1,2\n3\n")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"columns": ["nope"]}, "no column nope"),
        ({"types": {"id": "money"}}, "money is no type"),
        ({"types": {"name": "int"}}, "cannot be read"),
    ],
)
def test_a_wrong_wish_is_told_before_anything_is_written(tmp_path: Path, options: dict[str, object], said: str) -> None:
    (tmp_path / "rows.csv").write_text("id,name\n1,one\n", encoding="utf-8")
    with pytest.raises(refusals.SourceRefused, match=said):
        encrypt_table(
            [tmp_path / "rows.csv"],
            tmp_path / "out",
            TableKey.new(),
            table_id="t",
            version=1,
            signing_key=KEYS.signing_key,
            **options,  # type: ignore[arg-type]
        )
    assert not (tmp_path / "out").exists()


def test_a_manifest_counts_only_as_signed_by_its_owner(table: Encrypted) -> None:
    with pytest.raises(refusals.OwnerMismatch):
        verify_manifest(table.data, ClientKeys.new().public_key, 1)
    manifest = table.verified().manifest
    thief = ClientKeys.new()
    forged = replace(manifest, owner=thief.public_key).sign(thief.signing_key)
    with pytest.raises(refusals.OwnerMismatch):
        verify_manifest(forged.data, KEYS.public_key, 1)
    with pytest.raises(refusals.OwnerMismatch):
        manifest.sign(thief.signing_key)


def test_an_old_version_is_refused_and_so_is_another_table(tmp_path: Path) -> None:
    old = encrypt(tmp_path, version=4)
    assert verify_manifest(old.data, KEYS.public_key, 4).version == 4
    with pytest.raises(refusals.TableRolledBack, match="version 4"):
        verify_manifest(old.data, KEYS.public_key, 5)
    with pytest.raises(refusals.TableMismatch):
        verify_manifest(old.data, KEYS.public_key, 1, table_id="orders")


@given(position=st.integers(min_value=0), flip=st.integers(1, 255), cut=st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_changed_manifest_is_believed(altered: bytes, position: int, flip: int, cut: bool) -> None:
    at = position % len(altered)
    changed = altered[:at] if cut else altered[:at] + bytes([altered[at] ^ flip]) + altered[at + 1 :]
    with pytest.raises(TableRefused):
        verify_manifest(changed, KEYS.public_key, 1)


@pytest.fixture(scope="module")
def altered(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return encrypt(tmp_path_factory.mktemp("manifest")).data


def _replaced_by_plain_parquet(table: Encrypted) -> None:
    pq.write_table(pa.table({"id": [1]}), table.folder / "part-00000.parquet")


TAMPERINGS: dict[str, tuple[Callable[[Encrypted], object], type[TableRefused]]] = {
    "missing": (lambda t: (t.folder / "part-00000.parquet").unlink(), refusals.FileMissing),
    "more than was signed": (lambda t: (t.folder / "extra.parquet").write_bytes(b"x"), refusals.FileUnexpected),
    "truncated": (
        lambda t: (t.folder / "part-00000.parquet").write_bytes((t.folder / "part-00000.parquet").read_bytes()[:-1]),
        refusals.FileLengthMismatch,
    ),
    "changed": (lambda t: _flip(t.folder / "part-00000.parquet"), refusals.FileDigestMismatch),
    "replaced by plaintext": (_replaced_by_plain_parquet, refusals.FileLengthMismatch),
    "a link": (lambda t: _link(t.folder / "part-00000.parquet"), refusals.FileMissing),
}


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _link(path: Path) -> None:
    elsewhere = path.parent.parent / "elsewhere"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


@pytest.mark.parametrize("how", TAMPERINGS)
def test_a_file_that_is_not_as_signed_is_refused(table: Encrypted, how: str) -> None:
    manifest = table.verified()
    manifest.check_files(table.folder)
    tamper, refusal = TAMPERINGS[how]
    tamper(table)
    with pytest.raises(refusal):
        manifest.check_files(table.folder)


def test_a_signed_plaintext_file_is_refused_too(table: Encrypted) -> None:
    path = table.folder / "part-00000.parquet"
    pq.write_table(pa.table({"id": [1]}), path)
    content = path.read_bytes()
    manifest = table.verified().manifest
    file = replace(manifest.files[0], length=len(content), sha256=hashlib.sha256(content).digest())
    signed = replace(manifest, files=(file,)).sign(KEYS.signing_key)
    with pytest.raises(refusals.FilePlaintext):
        verify_manifest(signed.data, KEYS.public_key, 1).check_files(table.folder)


def test_a_verified_manifest_cannot_be_made_by_hand(table: Encrypted) -> None:
    with pytest.raises(TypeError):
        VerifiedManifest(manifest=table.verified().manifest, sha256=bytes(32), seal=object())  # type: ignore[arg-type]


def test_another_key_opens_neither_schema_nor_files(table: Encrypted) -> None:
    with pytest.raises(refusals.KeyMismatch):
        worker_table(table.verified(), TableKey.new(), name="people", directory=table.folder)


def test_key_files_are_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_key_file(path, KEYS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key_file(path).public_key == KEYS.public_key
    assert read_key_file(path).table_key("t") == KEYS.table_key("t")
    with pytest.raises(KeyFileRefused, match="exists already"):
        write_key_file(path, ClientKeys.new())
    path.chmod(0o640)
    with pytest.raises(KeyFileRefused, match="readable by others"):
        read_key_file(path)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"format":"sparkvault-keys-1","signing_key":"!","master_key":""}', b"[1]"]
)
def test_what_is_no_key_file_is_told_without_its_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileRefused, match="is not a key file") as refused:
        read_key_file(path)
    assert refused.value.__cause__ is None


def test_keys_do_not_show_in_what_is_printed() -> None:
    shown = repr(KEYS) + repr(KEYS.table_key("t"))
    assert KEYS.master_key.hex() not in shown
    assert repr(KEYS.master_key) not in shown


def test_the_owner_is_in_the_encryption_context() -> None:
    context = encryption_context("people", 2, KEYS.public_key)
    assert context["sparkvault:owner"] == KEYS.public_key.hex()
    assert all(isinstance(value, str) for value in context.values())


def test_a_manifest_lies_beside_its_files(table: Encrypted) -> None:
    assert sorted(path.name for path in table.folder.iterdir()) == [MANIFEST_NAME, "part-00000.parquet"]
