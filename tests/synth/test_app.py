"""The application as a whole: its stacks, their order and environment, and what it does with wrong input."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import app as composition_root
from spark_constructs.config import Deployment
from spark_constructs.config_errors import ConfigError
from tests.support.synth_app import Synthesised, synthesise, synthesised
from tests.support.synth_variants import VARIANTS

ROOT = Path(__file__).resolve().parents[2]


def _stacks(of: Synthesised) -> dict[str, dict[str, object]]:
    artifacts = of.manifest["artifacts"]
    return {name: artifact for name, artifact in artifacts.items() if artifact["type"] == "aws:cloudformation:stack"}


def test_stacks_are_named_after_the_cluster() -> None:
    names = {artifact["properties"]["stackName"] for artifact in _stacks(synthesised("frankfurt")).values()}  # type: ignore[index]
    assert names == {"analytics-storage", "analytics-network", "analytics-images", "analytics-swarm"}


def test_the_network_waits_for_the_key_and_the_swarm_for_all_others() -> None:
    stacks = _stacks(synthesised("default"))
    assert "Storage" in stacks["Network"]["dependencies"]  # type: ignore[operator]
    assert {"Storage", "Network"} <= set(stacks["Swarm"]["dependencies"])  # type: ignore[call-overload]


@pytest.mark.parametrize("variant", ["default", "serverless", "hadoop"])
def test_only_what_runs_images_waits_for_them(variant: str) -> None:
    stacks = _stacks(synthesised(variant))
    waiting = {name for name, artifact in stacks.items() if "Images" in artifact["dependencies"]}  # type: ignore[operator]
    assert waiting == set(stacks) - {"Storage", "Network", "Images"}


@pytest.mark.parametrize(
    ("variant", "environment"),
    [
        ("default", "aws://unknown-account/unknown-region"),
        ("frankfurt", "aws://111122223333/eu-central-1"),
        ("existing", "aws://444455556666/us-west-2"),
    ],
)
def test_any_environment_is_synthesised_without_asking_aws(variant: str, environment: str) -> None:
    of = synthesised(variant)
    assert {artifact["environment"] for artifact in _stacks(of).values()} == {environment}
    assert "missing" not in of.manifest


def test_stacks_that_retain_data_are_protected_against_termination() -> None:
    for variant, protected in (("default", True), ("existing", False)):
        for artifact in _stacks(synthesised(variant)).values():
            assert artifact["properties"].get("terminationProtection", False) is protected  # type: ignore[attr-defined]


def test_configured_tags_are_on_every_stacks_resources() -> None:
    of = synthesised("frankfurt")
    for stack in ("Storage", "Network", "Swarm"):
        tagged = [
            resource["Properties"]["Tags"]
            for resource in of.template(stack)["Resources"].values()
            if isinstance(resource.get("Properties", {}).get("Tags"), list)
        ]
        assert tagged
        assert all({"Key": "cost-center", "Value": "4711"}.items() <= _tags(tags).items() for tags in tagged if tags)


def _tags(tags: list[dict[str, str]]) -> dict[str, str]:
    found = {tag["Key"]: tag["Value"] for tag in tags}
    return {"Key": "cost-center", "Value": found.get("cost-center", "")}


def test_the_permissions_boundary_is_on_every_role() -> None:
    of = synthesised("existing")
    boundary = VARIANTS["existing"]["permissions_boundary"]
    roles = [
        (stack, name, resource)
        for stack, template in of.templates.items()
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::Role"
    ]
    assert roles
    for stack, name, resource in roles:
        assert resource["Properties"].get("PermissionsBoundary") == boundary, f"{stack}/{name}"


def test_a_target_without_a_stack_is_refused_and_not_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition_root, "DEPLOYABLE_TARGETS", ("swarm", "fargate"))
    with pytest.raises(ConfigError, match=r"targets\[1\] = 'yarn'"):
        synthesise(lambda app: composition_root.build(app, Deployment(targets=["swarm", "yarn"])))


def test_synthesis_is_deterministic() -> None:
    again = synthesise(lambda app: composition_root.build(app, Deployment()))
    assert again.templates == synthesised("default").templates


def _run(*arguments: str, context: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    environment |= {
        "CDK_CONTEXT_JSON": context,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "constructs"), str(ROOT / "scripts")]),
    }
    return subprocess.run(
        [sys.executable, "app.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_refused_configuration_is_one_message_and_exit_code_2() -> None:
    result = _run(context='{"sparkvault": {"cluster": "x", "hots": {}}}')
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "cluster = 'x'" in result.stderr
    assert "did you mean hosts?" in result.stderr


def test_a_configuration_file_stands_in_for_the_context(tmp_path: Path) -> None:
    file = tmp_path / "deployment.yaml"
    file.write_text(yaml.safe_dump({"cluster": "from-file"}))
    app = composition_root.create_app({"sparkvault_config": str(file), "sparkvault": {"cluster": "from-context"}})
    assert composition_root.read_deployment(app).cluster == "from-file"
    app = composition_root.create_app({"sparkvault": {"cluster": "from-context"}})
    assert composition_root.read_deployment(app).cluster == "from-context"


def test_the_folder_constructs_is_no_package() -> None:
    """PyPI's package `constructs` would be hidden by it."""
    assert not (ROOT / "constructs" / "__init__.py").exists()


def test_nothing_imports_the_constructs_by_their_other_name() -> None:
    """Each class would exist twice."""
    wrong = "constructs" + ".spark_constructs"
    sources = [
        path
        for folder in ("constructs", "stacks", "scripts", "emulation", "benchmarks", "tests", "assets")
        for path in (ROOT / folder).rglob("*.py")
    ]
    assert len(sources) > 20
    assert [str(path) for path in [*sources, ROOT / "app.py"] if f"import {wrong}" in path.read_text()] == []
    assert [str(path) for path in [*sources, ROOT / "app.py"] if f"from {wrong}" in path.read_text()] == []
