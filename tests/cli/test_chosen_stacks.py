"""Which stacks a name means, which of them wait for the images, and what is asked for where none does."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulation.aws import EmbeddedAws
from spark_constructs.config import Deployment
from sparkvault.cdk import Cdk, SynthesizedStack
from sparkvault.cli.stacks import waves
from sparkvault.errors import UsageError
from tests.support.command_line import CommandLine

#: Construct id → the last part of the stack's name, and the artifacts it depends on: as the CDK writes them.
STACKS = {
    "Swarm": ("swarm", ["Network", "Images", "Swarm.assets"]),
    "Network": ("network", ["Storage", "Network.assets"]),
    "Images": ("images", ["Images.assets"]),
    "EnclaveKey": ("enclave-key", ["EnclaveKey.assets"]),
    "Storage": ("storage", ["Storage.assets"]),
}


def write_assembly(cdk: Cdk, cluster: str) -> None:
    """A cloud assembly with those stacks, where the CDK CLI would have put it."""
    artifacts: dict[str, object] = {f"{name}.assets": {"type": "cdk:asset-manifest"} for name in STACKS}
    for name, (part, dependencies) in STACKS.items():
        artifacts[name] = {
            "type": "aws:cloudformation:stack",
            "properties": {"templateFile": f"{name}.template.json", "stackName": f"{cluster}-{part}"},
            "dependencies": dependencies,
            "displayName": name,
        }
    cdk.output.mkdir(exist_ok=True)
    (cdk.output / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))


@pytest.fixture
def deployment() -> Deployment:
    return Deployment(cluster="my-spark")


@pytest.fixture
def cdk(sparkvault: CommandLine, deployment: Deployment) -> Cdk:
    """With a work folder of its own."""
    cdk = Cdk(deployment)
    write_assembly(cdk, deployment.cluster)
    return cdk


def ids(stacks: list[SynthesizedStack]) -> list[str]:
    return [stack.id for stack in stacks]


class TestNames:
    @pytest.mark.parametrize("name", ["enclave-key", "my-spark-enclave-key", "EnclaveKey"])
    def test_a_stack_has_a_short_name_a_whole_one_and_an_id(self, cdk: Cdk, name: str) -> None:
        assert ids(cdk.chosen([name])) == ["EnclaveKey"]

    def test_without_a_name_all_are_meant_dependencies_first(self, cdk: Cdk) -> None:
        assert ids(cdk.chosen([])) == ["Storage", "Network", "Images", "Swarm", "EnclaveKey"]

    @pytest.mark.parametrize("name", ["key", "spark-network", "my-spark", ""])
    def test_a_part_of_a_name_means_no_stack(self, cdk: Cdk, name: str) -> None:
        with pytest.raises(UsageError, match="there is no stack"):
            cdk.chosen([name])


class TestWaves:
    def waves(self, cdk: Cdk, deployment: Deployment, *names: str) -> list[list[str]]:
        return [ids(wave) for wave in waves(cdk.chosen(list(names)), cdk.stacks(), deployment)]

    def test_a_stack_needs_what_its_dependencies_need(self, cdk: Cdk) -> None:
        needed = {stack.id: stack.dependencies for stack in cdk.stacks()}
        assert needed["Swarm"] == {"Storage", "Network", "Images"}
        assert needed["EnclaveKey"] == frozenset()

    def test_only_what_reads_digests_waits_for_the_images(self, cdk: Cdk, deployment: Deployment) -> None:
        assert self.waves(cdk, deployment) == [["Storage", "Network", "Images", "EnclaveKey"], ["Swarm"]]

    @pytest.mark.parametrize("name", ["enclave-key", "network", "images"])
    def test_what_needs_no_images_is_deployed_without_them(self, cdk: Cdk, deployment: Deployment, name: str) -> None:
        assert self.waves(cdk, deployment, name) == [ids(cdk.chosen([name]))]

    def test_without_images_there_is_one_wave(self, cdk: Cdk) -> None:
        none = Deployment.model_validate({"cluster": "my-spark", "images": {"source": "none"}})
        assert self.waves(cdk, none, "swarm", "network") == [["Swarm", "Network"]]


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    with EmbeddedAws() as running:
        running.client("ssm").put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String")
        yield running


class TestWithoutAnEngine:
    @pytest.fixture
    def deployed(self, aws: EmbeddedAws, sparkvault: CommandLine, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
        """The waves that reach the CDK CLI, which is not run; no Docker engine is reachable."""
        found: list[list[str]] = []
        for name, value in aws.exports().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CDK_DOCKER", "/nonexistent/docker")
        monkeypatch.setattr(Cdk, "synth", lambda cdk: write_assembly(cdk, "sparkvault"))
        monkeypatch.setattr(Cdk, "deploy", lambda cdk, stacks, *_: found.append(ids(stacks)))
        return found

    @pytest.mark.parametrize("name", ["enclave-key", "network"])
    def test_a_stack_that_needs_no_images_is_deployed(
        self, sparkvault: CommandLine, deployed: list[list[str]], name: str
    ) -> None:
        answer = sparkvault.run("deploy", name, "--yes", "--json")
        assert answer.code == 0, answer.err
        assert [len(wave) for wave in deployed] == [1]
        assert json.loads(answer.out)["images"] == {}

    @pytest.mark.parametrize("names", [[], ["swarm"], ["images"]], ids=" ".join)
    def test_one_that_needs_them_is_refused(
        self, sparkvault: CommandLine, deployed: list[list[str]], names: list[str]
    ) -> None:
        answer = sparkvault.run("deploy", *names, "--yes")
        assert answer.code == 1
        assert "no Docker engine is reachable" in answer.err
        assert deployed == []

    def test_and_asks_for_no_archives(self, sparkvault: CommandLine, deployed: list[list[str]], tmp_path: Path) -> None:
        config = tmp_path / "yarn.json"
        pinned = {"sha512": "a" * 128}
        config.write_text(
            json.dumps({"targets": ["yarn"], "tenants": [{"name": "ada"}], "yarn": {"hadoop": pinned, "kata": pinned}})
        )
        answer = sparkvault.run("deploy", "network", "--yes", "--config", str(config))
        assert answer.code == 0, answer.err
        assert deployed == [["Network"]]
        assert "fetching" not in answer.err


def test_an_enclave_image_that_was_built_again_at_its_place_is_synthesised_again(
    sparkvault: CommandLine, tmp_path: Path
) -> None:
    image = tmp_path / "sparkvault-nitro-x86_64.eif"
    image.write_bytes(b"one")
    cdk = Cdk(Deployment.model_validate({"enclaves": {"enabled": True, "image": str(image)}}))
    before = cdk._fingerprint()
    assert cdk._fingerprint() == before
    image.write_bytes(b"two")
    assert cdk._fingerprint() != before
