"""A node that lacks any one piece of the enforcement starts no NodeManager."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.yarn.sparkvault_yarn import enforcement, render
from assets.yarn.sparkvault_yarn.enforcement import Node, problems

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 and not os.environ.get("CI"), reason="only root owns the files that a node trusts"
)

RUNTIME, NETWORK, IMAGE = "runsc", "containers", "sparkvault/spark-yarn:1"
HOST = Path("/proc/version").read_text(encoding="utf-8").strip()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """All pieces as they should be, with a program in Docker's place that answers as an engine would."""
    docker = tmp_path / "docker-program"
    docker.write_text(
        '#!/bin/sh\nif [ "$1" = info ]; then cat "$(dirname "$0")/default"; else cat "$(dirname "$0")/kernel"; fi\n'
    )
    docker.chmod(0o755)
    (tmp_path / "default").write_text(RUNTIME)
    (tmp_path / "kernel").write_text("Linux version 4.4.0 another")
    guard = tmp_path / "guard"
    guard.write_text("#!/bin/sh\n")
    guard.chmod(0o755)
    values = {
        "runtime": RUNTIME, "network": NETWORK, "image": IMAGE, "docker": str(guard), "runtimes": "{}",
    }  # fmt: skip
    for template in ("yarn-site.xml", "container-executor.cfg", "daemon.json"):
        wanted = dict.fromkeys(render.placeholders(render.TEMPLATES / template), "x") | values
        render.write(tmp_path / "conf" / template, render.rendered(template, wanted))
    policy = {"runtime": RUNTIME, "network": NETWORK, "images": {"*": [IMAGE]}, "ro_mounts": [], "rw_mounts": [],
              "docker": [str(docker)], "add": []}  # fmt: skip
    render.write(tmp_path / "policy.json", json.dumps(policy))
    conf = tmp_path / "conf"
    return Node(RUNTIME, NETWORK, IMAGE, conf, conf / "daemon.json", tmp_path / "policy.json", guard)


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_node_with_every_piece_starts(node: Node) -> None:
    assert problems(node) == []


@pytest.mark.parametrize("name", list(enforcement.wanted_settings(Node("", "", "", *[Path()] * 4))))
def test_each_property_of_yarn_is_needed(node: Node, name: str) -> None:
    path = node.hadoop / "yarn-site.xml"
    there = render.properties(path.read_text(encoding="utf-8"))
    path.write_text(render.configuration({key: value for key, value in there.items() if key != name}))
    [problem] = problems(node)
    assert name in problem


@pytest.mark.parametrize("name", list(enforcement.wanted_executor(Node("", "", "", *[Path()] * 4))))
def test_each_line_of_the_executors_configuration_is_needed(node: Node, name: str) -> None:
    path = node.hadoop / "container-executor.cfg"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line for line in lines if line.strip().split("=")[0] != name))
    [problem] = problems(node)
    assert name in problem


def without_the_default(node: Node) -> None:
    replaced(node.daemon, '"default-runtime": "runsc"', '"default-runtime": "runc"')


def with_an_engine_that_has_not_read_it(node: Node) -> None:
    (node.policy.parent / "default").write_text("runc")


def with_another_runtime_in_the_policy(node: Node) -> None:
    replaced(node.policy, '"runtime": "runsc"', '"runtime": "runc"')


def without_a_policy(node: Node) -> None:
    node.policy.unlink()


def with_a_policy_for_everybody_to_write(node: Node) -> None:
    node.policy.chmod(0o666)


def without_a_guard(node: Node) -> None:
    node.guard.unlink()


def with_a_guard_for_everybody_to_write(node: Node) -> None:
    node.guard.chmod(0o777)


def with_containers_on_the_hosts_kernel(node: Node) -> None:
    (node.policy.parent / "kernel").write_text(HOST)


def with_no_container_starting(node: Node) -> None:
    (node.policy.parent / "kernel").write_text("")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_the_default, "default-runtime is 'runc'"),
        (with_an_engine_that_has_not_read_it, "running Docker engine's default runtime is 'runc'"),
        (with_another_runtime_in_the_policy, "runtime is 'runc'"),
        (without_a_policy, "cannot be read"),
        (with_a_policy_for_everybody_to_write, "written by others than root"),
        (without_a_guard, "is not there"),
        (with_a_guard_for_everybody_to_write, "written by others than root"),
        (with_containers_on_the_hosts_kernel, "this host's own kernel"),
        (with_no_container_starting, "no container starts"),
    ],
)
def test_a_node_that_lacks_a_piece_says_which(node: Node, spoil: Callable[[Node], None], said: str) -> None:
    spoil(node)
    assert any(said in problem for problem in problems(node))


def test_the_program_ends_with_1_and_one_line_for_each_problem(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = tmp_path / "node.json"
    about.write_text(json.dumps({name: str(value) for name, value in vars(node).items()}))
    assert enforcement.main([str(about)]) == 0
    without_the_default(node)
    assert enforcement.main([str(about)]) == 1
    said = capsys.readouterr().err
    assert "starts no NodeManager until that is mended" in said
    assert "Traceback" not in said
    assert enforcement.main([str(tmp_path / "absent.json")]) == 1
