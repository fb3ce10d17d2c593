"""The cluster in containers does what the one of processes does, and its containers may do little."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.text import write_text
from sparkvault.jobs import JobSpec, JobState, new_job_id
from sparkvault.targets.local.docker_engine import LABEL, NETWORK
from sparkvault.targets.local.folder import LocalFolder
from sparkvault.targets.local.processes import marked
from sparkvault.targets.local.target import LocalTarget
from tests.support.docker_engine import leased_engine

ROOT = Path(__file__).parents[2]

#: Whoever comes first builds the images.
pytestmark = pytest.mark.timeout(1500)


def docker(*arguments: str) -> str:
    command = [os.environ["CDK_DOCKER"], *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTarget]:
    leases = leased_engine()
    engine = next(leases)
    for name in ("master", "worker", "submit"):
        engine.spark_image(name, print)
    data = tmp_path_factory.mktemp("data")
    data.chmod(0o755)
    write_text(data / "book.txt")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine.environment().items():
            patch.setenv(name, value)
        patch.chdir(data)
        target = LocalTarget(LocalFolder(tmp_path_factory.mktemp("work") / "local"))
        target.cluster.up(workers=1, memory="1g", cores=1, engine="docker", data=data, progress=print)
        try:
            yield target
        finally:
            target.cluster.down(print)
            assert docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={target.folder.root}") == ""
            assert marked(target.folder) == []
            leases.close()


def run(target: LocalTarget, application: Path, *arguments: str) -> tuple[JobState, str]:
    record = target.submit(
        JobSpec(id=new_job_id(), target="local", application=str(application), arguments=list(arguments))
    )
    output = "\n".join(target.follow(record.id))
    return target.job(record.id).state, output


def test_a_job_in_containers_counts_the_words_of_a_file_of_this_machine(containers: LocalTarget) -> None:
    state, output = run(containers, ROOT / "examples" / "word_count.py", "book.txt", "--top", "3")
    assert state is JobState.SUCCEEDED, output
    assert "the" in output


def test_a_jobs_exit_code_is_its_own(containers: LocalTarget) -> None:
    record = containers.submit(
        JobSpec(
            id=new_job_id(), target="local", application=str(ROOT / "tests/local/applications/exit_42.py"), arguments=[]
        )
    )
    list(containers.follow(record.id))
    assert containers.job(record.id).exit_code == 42


def test_the_cluster_is_healthy_and_on_its_network(containers: LocalTarget) -> None:
    status = containers.status()
    assert status.healthy, status
    names = docker("network", "inspect", "--format", "{{range .Containers}}{{.Name}} {{end}}", NETWORK).split()
    assert {name.rpartition("-")[2] if "worker" not in name else "worker" for name in names} >= {"master", "worker"}


def test_containers_have_no_privileges_and_show_no_secret(containers: LocalTarget) -> None:
    secret = (containers.folder.daemon_conf.parent / "secret").read_text().strip()
    ids = docker("ps", "--quiet", "--filter", f"label={LABEL}={containers.folder.root}").split()
    assert len(ids) == 2
    text = docker("inspect", *ids)
    assert secret not in text
    for container in json.loads(text):
        assert container["Config"]["User"] not in ("", "0", "root", "0:0")
        assert container["HostConfig"]["ReadonlyRootfs"]
        assert container["HostConfig"]["CapDrop"] == ["ALL"]
        assert not container["HostConfig"]["Privileged"]
        bound = [one["HostIp"] for ports in container["HostConfig"]["PortBindings"].values() for one in ports]
        assert set(bound) == {"127.0.0.1"}
    listed = subprocess.run(["ps", "axwwe", "-o", "args"], capture_output=True, text=True, check=True, timeout=30)
    assert secret not in "\n".join(line for line in listed.stdout.splitlines() if "_SPARK_AUTH_SECRET" not in line)
