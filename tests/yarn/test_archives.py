"""What `sparkvault deploy` does with a third-party archive: fetched by https, compared with its pin, put once."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from emulation.yarn.archive_mirror import ArchiveMirror, archive_mirror
from spark_constructs.config import Deployment
from spark_constructs.yarn_archives import archives
from sparkvault.account import Account
from sparkvault.archives import put_archives
from sparkvault.errors import SparkvaultError

CONTENT = b"what its maker publishes"
NAME = "hadoop-3.5.0.tar.gz"


class Bucket:
    """S3 as far as archives go."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def head_object(self, Bucket: str, Key: str) -> None:
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "404", "Message": f"no {Key} in {Bucket}"}}, "HeadObject")

    def upload_file(self, file: str, bucket: str, key: str) -> None:
        self.objects[key] = Path(file).read_bytes()


@pytest.fixture
def served(tmp_path: Path) -> Path:
    folder = tmp_path / "archives"
    folder.mkdir()
    (folder / NAME).write_bytes(CONTENT)
    return folder


@pytest.fixture
def mirror(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveMirror]:
    with archive_mirror(served, tmp_path) as found:
        monkeypatch.setenv("SSL_CERT_FILE", str(found.authority))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield found


def account(mirror: ArchiveMirror, bucket: Bucket) -> Account:
    pin = hashlib.sha512(CONTENT).hexdigest()
    hadoop = {"version": "3.5.0", "mirror": mirror.url, "sha512": pin}
    given = {"targets": ["yarn"], "tenants": [{"name": "ada"}], "yarn": {"runtime": "runc", "hadoop": hadoop}}
    found = SimpleNamespace(
        deployment=Deployment.model_validate(given), id="1" * 12, region="eu-central-1", client=lambda _: bucket
    )
    return cast("Account", found)


def told(_: str) -> None:
    """Nobody listens to progress here."""


def test_the_pinned_archive_is_fetched_once_and_lies_under_its_own_digest(mirror: ArchiveMirror) -> None:
    bucket: Any = Bucket()
    asked = account(mirror, bucket)
    key = archives(asked.deployment)["hadoop"].key
    assert put_archives(asked, told) == [key]
    assert bucket.objects == {key: CONTENT}
    assert put_archives(asked, told) == []


def test_an_archive_that_was_tampered_with_is_refused_and_not_kept(mirror: ArchiveMirror, served: Path) -> None:
    (served / NAME).write_bytes(CONTENT + b" and a little more")
    bucket = Bucket()
    with pytest.raises(SparkvaultError, match=rf"{NAME} has the SHA-512 .* is pinned") as refused:
        put_archives(account(mirror, bucket), told)
    assert "do not use it" in str(refused.value.remedy)
    assert bucket.objects == {}


def test_a_mirror_whose_certificate_nobody_vouches_for_is_not_believed(
    mirror: ArchiveMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(SparkvaultError, match=r"cannot be fetched: .*CERTIFICATE_VERIFY_FAILED"):
        put_archives(account(mirror, Bucket()), told)
