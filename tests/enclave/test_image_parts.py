"""What goes into the image, piece by piece: nothing that is not listed, nothing that differs between machines."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from spark_enclave_image import cpio_archive, kernels, spark_part
from spark_enclave_image.application_part import CODE_FOLDER, INIT_SOURCES, trusted_files
from spark_enclave_image.eif_builder import BuildMetadata, build
from spark_enclave_image.errors import EifInputError, EifMalformed
from spark_enclave_image.image_build import SessionWorker, build_image
from spark_enclave_image.image_diff import compare
from spark_enclave_image.image_tree import ImageTree
from spark_enclave_image.kernels import BlobsNotPinned, nitro_kernel
from spark_enclave_image.lock_refresh import _admitted as admitted_wheels
from spark_enclave_image.pinned_inputs import DebianPackage, InputLock, InputStore, sha256_of
from spark_enclave_image.recipe import Recipe
from sparkvault.plugins import plugin_jar

ROOT = Path(__file__).parents[2]


def small_tree(content: bytes = b"content") -> ImageTree:
    tree = ImageTree()
    tree.add_file("usr/bin/program", content=content, executable=True)
    tree.add_link("bin", "usr/bin")
    return tree


def archive_of(tree: ImageTree) -> bytes:
    out = io.BytesIO()
    cpio_archive.write(tree, out)
    return out.getvalue()


def test_a_ramdisk_is_read_back_as_it_was_written_and_the_kernels_own_tool_agrees(tmp_path: Path) -> None:
    archive = archive_of(small_tree())
    entries = {entry.path: entry for entry in cpio_archive.read(archive)}
    assert sorted(entries) == ["bin", "usr", "usr/bin", "usr/bin/program"]
    assert (entries["usr/bin/program"].data, entries["usr/bin/program"].mode) == (b"content", 0o100755)
    assert entries["bin"].data == b"usr/bin"
    assert len(archive) % 512 == 0
    if shutil.which("cpio"):
        listed = subprocess.run(["cpio", "-t", "--quiet"], input=archive, capture_output=True, check=True, timeout=30)
        assert listed.stdout.decode().split() == sorted(entries)


def test_neither_times_nor_the_order_of_files_change_a_ramdisk(tmp_path: Path) -> None:
    archives = []
    for names in (("a", "b"), ("b", "a")):
        folder = tmp_path / names[0]
        for number, name in enumerate(names):
            (folder / name).mkdir(parents=True)
            (folder / name / "file").write_bytes(name.encode())
            os.utime(folder / name / "file", (number * 1000, number * 1000))
        tree = ImageTree()
        tree.add_tree("etc", folder)
        archives.append(archive_of(tree))
    assert archives[0] == archives[1]


def test_two_inputs_cannot_both_bring_a_file_and_none_leaves_the_image() -> None:
    tree = small_tree()
    with pytest.raises(EifInputError, match="Two inputs"):
        tree.add_file("usr/bin/program", content=b"other")
    with pytest.raises(EifInputError, match="relative"):
        tree.add_file("../etc/passwd")


def test_a_broken_ramdisk_is_refused() -> None:
    archive = archive_of(small_tree())
    for broken in (b"070701zz" + archive[8:], archive[:150], b"\x1f\x8b" + archive[2:]):
        with pytest.raises(EifMalformed):
            list(cpio_archive.read(broken))


def test_a_jar_without_other_platforms_natives_keeps_every_other_entry(tmp_path: Path) -> None:
    jar = tmp_path / "a.jar"
    entries = {
        "A.class": b"class" * 100,
        "linux/amd64/liba.so": b"elf",
        "win/amd64/a.dll": b"pe",
        "linux/aarch64/liba.so": b"arm",
    }
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    unwanted = re.compile(Recipe.load().spark.natives.leave_out)
    with zipfile.ZipFile(jar) as archive:
        kept = [info for info in archive.infolist() if not unwanted.search(info.filename)]
    with zipfile.ZipFile(io.BytesIO(spark_part.without_entries(jar, kept))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            name: entries[name] for name in ("A.class", "linux/amd64/liba.so")
        }


def test_an_input_of_another_digest_is_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "debian" / "p.deb"
    place.parent.mkdir()
    place.write_bytes(b"not what was pinned")
    monkeypatch.setenv("SPARKVAULT_DEBIAN_MIRROR", tmp_path.as_uri())
    package = DebianPackage(name="p", version="1", sha256="0" * 64, archive="debian", path="p.deb")
    with pytest.raises(EifInputError, match="SHA-256"):
        InputStore(tmp_path / "cache").debian(package, "20260101T000000Z")
    assert not list((tmp_path / "cache" / "inputs").iterdir())


def test_every_wheel_is_one_that_requirements_admit_and_every_jar_that_of_the_installed_spark() -> None:
    lock, recipe = InputLock.load(), Recipe.load()
    admitted = admitted_wheels(ROOT / "requirements.txt")
    for wheel in lock.python["system"]:
        assert admitted[wheel.name][0] == wheel.version, f"{wheel.name}: run `sparkvault pins update`"
        assert wheel.sha256 in admitted[wheel.name][1]
    assert {entry.name for entry in lock.python["system"]} == set(recipe.system.python)
    for use, packages in (("system", recipe.system), ("java", recipe.java)):
        assert [entry.name for entry in lock.debian[use]] == list(packages.debian)
    jars = spark_part.chosen_jars(spark_part.spark_jars_folder(), recipe)
    assert {jar.name for jar in jars} == set(lock.spark_jars)


def test_the_trusted_code_is_what_the_broker_imports_and_nothing_of_a_simulation() -> None:
    trusted = trusted_files(Recipe.load().trusted)
    assert not [name for name in trusted if re.search("simulat|/client|/tests?[/_.]|/cli/", name)]
    for name in trusted:
        text = (CODE_FOLDER / name).read_text(encoding="utf-8")
        assert "import emulation" not in text, name
        assert "from emulation" not in text, name
    # Alone in a folder, the modules import each other and the wheels of the recipe, and find nothing missing.
    program = (
        "import sys, importlib; here = sys.argv[1]; sys.path.insert(0, here);"
        "importlib.import_module('spark_enclave.server.__main__');"
        "ours = [module for name, module in sys.modules.items() if name.startswith('spark_enclave')];"
        "print([module.__name__ for module in ours if not module.__file__.startswith(here)])"
    )
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"trusted-{os.getpid()}"
    try:
        for name in trusted:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CODE_FOLDER / name, folder / name)
        done = subprocess.run(
            [sys.executable, "-I", "-B", "-c", program, str(folder)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_init_reads_no_command_line_and_no_environment() -> None:
    source = (INIT_SOURCES / "enclave_init.c").read_text(encoding="utf-8")
    code = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    assert "/proc/cmdline" not in code
    assert "getenv" not in code
    assert "int main(void)" in code


def test_an_image_for_nitro_is_refused_until_its_kernel_is_pinned_with_the_command_to_run(tmp_path: Path) -> None:
    pins = tmp_path / "pins.json"
    pins.write_text(json.dumps(dict.fromkeys((*kernels.BLOB_NAMES, "package"))))
    with pytest.raises(BlobsNotPinned, match="sparkvault pins update --blobs"):
        nitro_kernel(tmp_path, pins)
    for name in kernels.BLOB_NAMES:
        (tmp_path / name).write_bytes(name.encode())
    pins.write_text(json.dumps({name: sha256_of(tmp_path / name) for name in kernels.BLOB_NAMES}))
    assert nitro_kernel(tmp_path, pins).parent_cid == 3
    (tmp_path / "nsm.ko").write_bytes(b"another driver")
    with pytest.raises(BlobsNotPinned, match=r"nsm\.ko has the SHA-256"):
        nitro_kernel(tmp_path, pins)


def test_no_simulator_gets_into_an_image_for_hardware(tmp_path: Path) -> None:
    from emulation.enclave_vm import simulator_ramdisk

    with pytest.raises(EifInputError, match="no place in an image for hardware"):
        build_image("nitro-x86_64", tmp_path, SessionWorker(tmp_path, tmp_path), extras=[simulator_ramdisk])


def test_the_difference_of_two_images_names_files_whatever_ramdisk_they_are_in(tmp_path: Path) -> None:
    images = []
    (tmp_path / "kernel").write_bytes(b"kernel")
    for number, (content, extra) in enumerate(((b"old", False), (b"new", True))):
        tree = small_tree(content)
        if extra:
            tree.add_file("etc/added", content=b"x")
        cpio_archive.write_file(small_tree(), tmp_path / "first.cpio")
        cpio_archive.write_file(tree, tmp_path / "second.cpio")
        image = tmp_path / f"{number}.eif"
        build(
            image,
            kernel=tmp_path / "kernel",
            cmdline="quiet",
            ramdisks=[tmp_path / "first.cpio", tmp_path / "second.cpio"],
            metadata=BuildMetadata(image_name="test", image_version="1"),
        )
        images.append(image)
    changes = compare(*images)
    assert [(change.kind, change.path) for change in changes] == [
        ("added", "etc"),
        ("added", "etc/added"),
        ("changed", "usr/bin/program"),
    ]
    assert compare(images[0], images[0]) == []


def test_the_sessions_jar_says_nothing_of_when_it_was_built() -> None:
    with zipfile.ZipFile(plugin_jar("enclave")) as jar:
        assert {entry.date_time for entry in jar.infolist()} == {(2026, 1, 1, 0, 0, 0)}
        properties = jar.read("META-INF/maven/org.sparkvault/enclave/pom.properties").decode()
    assert "#" not in properties, "an older maven-jar-plugin writes the time as a comment"
