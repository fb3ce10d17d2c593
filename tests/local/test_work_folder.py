"""A work folder that cannot be used is one clear error, and nothing is started: tried on real disks."""

import contextlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparkvault.errors import NotAvailable, SparkvaultError
from sparkvault.targets.local.cluster import LocalCluster
from sparkvault.targets.local.folder import LocalFolder, write_private
from sparkvault.targets.local.processes import MARKER, marked, start_detached
from sparkvault.targets.local.spark_conf import write_conf

needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "sparkvault-test", disk], check=True, timeout=30)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True, timeout=30)


def refused(root: Path) -> SparkvaultError:
    cluster = LocalCluster(LocalFolder(root))
    with pytest.raises(SparkvaultError) as error:
        cluster.up(1, "512m", 1, progress=print)
    assert marked(cluster.folder) == []
    assert "SPARKVAULT_HOME" in (error.value.remedy or "")
    return error.value


def fill(disk: Path) -> None:
    """Take all its space, to the last block."""
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(b"x" * 4096):
            pass
    assert shutil.disk_usage(disk).free == 0


@needs_mounts
def test_a_nearly_full_disk(small_disk: Path) -> None:
    assert "MiB free, 256 MiB needed" in refused(small_disk / "local").what


@needs_mounts
def test_a_full_disk(small_disk: Path) -> None:
    fill(small_disk)
    assert "No space left on device" in refused(small_disk / "local").what


@needs_mounts
def test_a_read_only_disk(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True, timeout=30)
    assert "Read-only file system" in refused(small_disk / "local").what


@needs_mounts
def test_status_and_down_still_answer_on_a_read_only_disk(small_disk: Path) -> None:
    (small_disk / "local").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True, timeout=30)
    cluster = LocalCluster(LocalFolder(small_disk / "local"))
    assert not cluster.status().healthy
    with pytest.raises(NotAvailable, match="no local cluster is up"):
        cluster.down(print)


@needs_mounts
@pytest.mark.parametrize("trouble", ["read-only", "full"])
def test_what_runs_can_be_ended_whatever_became_of_the_disk(small_disk: Path, trouble: str) -> None:
    folder = LocalFolder(small_disk / "local")
    with contextlib.suppress(SparkvaultError):
        folder.prepare()  # the folders are made before the disk is found too small
    folder.lock.touch()
    folder.state.touch()
    started = start_detached(
        ["sleep", "300"], environment=os.environ | {MARKER: str(folder.root)}, folder=Path("/"), output=Path(os.devnull)
    )
    cluster = LocalCluster(folder)
    if trouble == "full":
        fill(small_disk)
        assert cluster.down(print).processes == 1
        assert not folder.state.exists()
    else:
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True, timeout=30)
        with pytest.raises(SparkvaultError, match="Read-only file system"):
            cluster.down(print)
    assert not started.alive
    assert marked(folder) == []


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    assert "Not a directory" in refused(tmp_path / "home" / "local").what


def test_folders_are_private_from_the_start(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "local")
    old = os.umask(0)
    try:
        folder.prepare()
        write_private(folder.state, "{}")
    finally:
        os.umask(old)
    for path in (folder.root, folder.logs, folder.jobs, folder.history):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.state.stat().st_mode) == 0o600


def test_a_folder_that_was_open_is_closed(tmp_path: Path) -> None:
    root = tmp_path / "local"
    root.mkdir(mode=0o755)
    LocalFolder(root).prepare()
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_the_folder_is_named_by_sparkvault_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARKVAULT_HOME", str(tmp_path / "home"))
    assert LocalFolder.default().root == tmp_path / "home" / "local"
    monkeypatch.delenv("SPARKVAULT_HOME")
    root = LocalFolder.default().root
    assert root.parts[-2:] == (".sparkvault", "local")
    assert (root.parent.parent / "cdk.json").is_file()


def test_settings_survive_odd_characters(tmp_path: Path) -> None:
    write_conf(tmp_path / "conf", {"spark.one": "a\\b", "spark.two": "c\nd"}, daemon_level="warn")
    text = (tmp_path / "conf" / "spark-defaults.conf").read_text()
    assert text == "spark.one=a\\\\b\nspark.two=c\\nd\n"
