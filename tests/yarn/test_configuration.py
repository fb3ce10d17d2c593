"""Every setting we write is one that Hadoop knows: a misspelt key would be ignored in silence."""

import itertools
import json
import re
import tomllib
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pytest

from assets.yarn.sparkvault_yarn import render, tenants
from assets.yarn.sparkvault_yarn.errors import YarnHostError
from emulation.yarn import downloads

#: Part of Hadoop → its jar with the defaults.
HOLDERS = {"core": "common", "hdfs": "hdfs", "yarn": "yarn-common"}

#: Real settings that stand in no *-default.xml, and where Hadoop reads them.
NOT_IN_THE_DEFAULTS = {
    "hadoop.proxyuser.spark.users": "a name made of a user's; DefaultImpersonationProvider reads hadoop.proxyuser.*",
    "yarn.nodemanager.linux-container-executor.group": "NM_LINUX_CONTAINER_GROUP; also in container-executor.cfg",
}


def defaults(part: str, hadoop: Path) -> set[str]:
    """All names that Hadoop's own jar has a default for."""
    jar = hadoop / f"hadoop-{HOLDERS[part]}-{downloads.HADOOP_VERSION}.jar"
    file = f"{part}-default.xml"
    with zipfile.ZipFile(jar) as archive, archive.open(file) as opened:
        return {each.findtext("name") or "" for each in ET.parse(opened).getroot().iter("property")}  # noqa: S314


@pytest.mark.parametrize("part", ["core", "hdfs", "yarn"])
def test_every_name_stands_in_hadoops_own_defaults(part: str, hadoop_jars: Path) -> None:
    text = (render.TEMPLATES / f"{part}-site.xml").read_text(encoding="utf-8")
    names = set(render.properties(text))
    assert len(names) > 10
    assert names - defaults(part, hadoop_jars) - set(NOT_IN_THE_DEFAULTS) == set()


def test_every_protocol_with_a_list_is_one_of_hadoops(hadoop_jars: Path) -> None:
    known = b""
    for jar, name in (
        ("common", "org/apache/hadoop/fs/CommonConfigurationKeys.class"),
        ("yarn-api", "org/apache/hadoop/yarn/conf/YarnConfiguration.class"),
    ):
        with zipfile.ZipFile(hadoop_jars / f"hadoop-{jar}-{downloads.HADOOP_VERSION}.jar") as archive:
            known += archive.read(name)
    names = render.properties((render.TEMPLATES / "hadoop-policy.xml").read_text(encoding="utf-8"))
    assert len(names) > 10
    assert [name for name in names if name.encode() not in known] == []


def test_a_misspelt_name_would_be_found(hadoop_jars: Path) -> None:
    assert "yarn.nodemanager.runtime.linux.docker.allowed-container-runtime" not in defaults("yarn", hadoop_jars)
    assert "yarn.nodemanager.runtime.linux.docker.allowed-container-runtimes" in defaults("yarn", hadoop_jars)


def test_no_name_is_written_twice_in_a_file() -> None:
    for path in render.TEMPLATES.glob("*.xml"):
        names = re.findall(r"<name>([^<]+)</name>", path.read_text(encoding="utf-8"))
        assert len(names) == len(set(names)), path.name


def test_a_value_that_is_missing_stops_the_rendering() -> None:
    with pytest.raises(YarnHostError, match="wants a value for"):
        render.rendered("yarn-site.xml", {})


def test_a_value_cannot_bring_in_a_property_of_its_own() -> None:
    values = dict.fromkeys(render.placeholders(render.TEMPLATES / "core-site.xml"), "x")
    made = render.rendered(
        "core-site.xml", values | {"master": "a</value></property><property><name>evil</name><value>"}
    )
    assert "evil" not in render.properties(made)
    with pytest.raises(YarnHostError, match="more than one line"):
        render.rendered("container-executor.cfg", {"network": "a\ndocker.allowed.devices=/dev/kvm"} | dict.fromkeys(
            set(render.placeholders(render.TEMPLATES / "container-executor.cfg")) - {"network"}, "x"))  # fmt: skip


def test_docker_knows_every_runtime_and_has_one_by_default() -> None:
    runtimes = render.docker_runtimes("/usr/bin/runsc", ["--platform=kvm"], "/etc/kata-containers/configuration.toml")
    there = json.loads(render.rendered("daemon.json", {"runtime": "kata", "runtimes": runtimes}))
    assert there["default-runtime"] == "kata"
    assert set(there["runtimes"]) == {"kata", "runsc"}
    assert there["runtimes"]["runsc"] == {"path": "/usr/bin/runsc", "runtimeArgs": ["--platform=kvm"]}


def test_katas_configuration_is_toml_without_a_way_in_from_the_host() -> None:
    template = render.TEMPLATES / "kata-configuration.toml"
    values = dict.fromkeys(render.placeholders(template), "1")
    there = tomllib.loads(render.rendered(template.name, values))
    assert there["hypervisor"]["qemu"]["enable_annotations"] == []
    assert not there["agent"]["kata"]["debug_console_enabled"]
    assert not there["runtime"]["disable_guest_seccomp"]


def test_each_tenant_has_a_queue_that_only_its_own_user_submits_to() -> None:
    there = render.properties(tenants.capacity_scheduler(tenants.shared_evenly(["ada", "bea", "cal"])))
    root = "yarn.scheduler.capacity.root"
    assert there[f"{root}.queues"] == "ada,bea,cal"
    assert {there[f"{root}.{name}.acl_submit_applications"] for name in ("ada", "bea", "cal")} == {"ada", "bea", "cal"}
    # Rights at the root would hold for every queue.
    assert there[f"{root}.acl_submit_applications"].strip() == ""
    assert sum(float(there[f"{root}.{name}.capacity"]) for name in ("ada", "bea", "cal")) == pytest.approx(100)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: tenants.Tenant("Root", 20000, 50), "names no tenant"),
        (lambda: tenants.Tenant("ada", 0, 50), "uid 0"),
        (lambda: tenants.Tenant("ada", 20000, 80, most=50), "percent"),
        (lambda: tenants.checked([tenants.Tenant("ada", 20000, 50)]), "make 50 percent"),
        (lambda: tenants.checked([tenants.Tenant("ada", 20000, 50), tenants.Tenant("bea", 20000, 50)]), "same name or"),
    ],
)
def test_tenants_that_cannot_be_are_refused(wrong: object, said: str) -> None:
    assert callable(wrong)
    with pytest.raises(YarnHostError, match=said):
        wrong()


def test_containers_know_the_tenants_and_nobody_of_the_host() -> None:
    both = tenants.shared_evenly(["ada", "bea"])
    names = [line.split(":")[0] for line in tenants.passwd(both).splitlines()]
    assert names == ["root", "nobody", "ada", "bea"]
    assert all(line.endswith("/usr/sbin/nologin") for line in tenants.passwd(both).splitlines())


def test_the_templates_have_no_placeholder_that_is_not_a_name() -> None:
    texts = [path.read_text(encoding="utf-8") for path in Path(render.TEMPLATES).iterdir()]
    assert not list(itertools.chain(*(re.findall(r"\{\{[^}]*[^\w}][^}]*\}\}", text) for text in texts)))
