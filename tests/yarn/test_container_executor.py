"""The stand-in for Hadoop's native container-executor keeps to container-executor.cfg as the native one does."""

from pathlib import Path

import pytest

from assets.yarn.sparkvault_yarn import render
from emulation.yarn.container_executor import Configuration, Rejected, checked_user, command_line, read_command

BASE = {
    "docker-command": "run", "name": "container_1_0001_01_000001", "user": "20000:20000", "image": "sparkvault/yarn:1",
    "net": "containers", "launch-command": "bash,/x/launch_container.sh",
}  # fmt: skip


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    """Our own template, with folders of this test."""
    for name in ("local", "users", "other"):
        (tmp_path / name).mkdir()
    template = render.TEMPLATES / "container-executor.cfg"
    values = dict.fromkeys(render.placeholders(template), "x") | {
        "network": "containers", "runtime": "runsc", "trusted_registries": "sparkvault", "least_uid": "20000",
        "ro_mounts": str(tmp_path / "users"), "rw_mounts": str(tmp_path / "local"),
    }  # fmt: skip
    made = Configuration()
    section = made.general
    for line in render.rendered(template.name, values).splitlines():
        text = line.split("#", 1)[0].strip()
        if text == "[docker]":
            section = made.docker
        elif "=" in text:
            key, value = text.split("=", 1)
            section[key] = value
    return made


def test_a_usual_container_is_docker_run_with_nothing_to_gain(configuration: Configuration, tmp_path: Path) -> None:
    mounts = f"{tmp_path}/local:/x:rw,{tmp_path}/users:/etc/users:ro"
    made = command_line(configuration, tmp_path / "cfg", BASE | {"mounts": mounts})
    assert made[:4] == ["run", f"--name={BASE['name']}", "--user=20000:20000", "--security-opt=no-new-privileges"]
    assert "--cap-drop=ALL" in made
    assert made[-3:] == ["sparkvault/yarn:1", "bash", "/x/launch_container.sh"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"net": "host"}, "docker network requested: 'host'"),
        ({"runtime": "runc"}, "docker runtime requested: 'runc'"),
        ({"privileged": "true"}, "Privileged containers are disabled"),
        ({"pid": "host"}, "Host pid namespace is disabled"),
        ({"cap-add": "SYS_ADMIN"}, "docker capability requested"),
        ({"devices": "/dev/kvm:/dev/kvm"}, "docker device requested"),
        ({"mounts": "/etc:/host:ro"}, "does not allow docker mount"),
        ({"mounts": "/no/such/folder:/host:ro"}, "Could not determine real path"),
        ({"name": "other"}, "is invalid"),
        ({"docker-command": "exec"}, "Unknown docker command"),
    ],
)
def test_what_the_configuration_does_not_allow_is_refused(
    configuration: Configuration, tmp_path: Path, asked: dict[str, str], said: str
) -> None:
    with pytest.raises(Rejected, match=said):
        command_line(configuration, tmp_path / "cfg", BASE | asked)


def test_users_files_cannot_be_mounted_for_writing(configuration: Configuration, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="does not allow docker mount"):
        command_line(configuration, tmp_path / "cfg", BASE | {"mounts": f"{tmp_path}/users:/x:rw"})
    with pytest.raises(Rejected, match="parent directory"):
        command_line(configuration, tmp_path / "local" / "cfg", BASE | {"mounts": f"{tmp_path}/local:/x:rw"})


def test_an_image_from_elsewhere_loses_all_mounts(configuration: Configuration, tmp_path: Path) -> None:
    made = command_line(configuration, tmp_path / "cfg", BASE | {"image": "evil/yarn:1", "mounts": "/:/host:rw"})
    assert "-v" not in made
    with pytest.raises(Rejected, match="not trusted"):
        command_line(configuration, tmp_path / "cfg", BASE | {"image": "evil/yarn:1", "runtime": "runsc"})


@pytest.mark.parametrize(("name", "said"), [("root", "is banned"), ("daemon", "is banned"), ("games", "is not white")])
def test_users_of_the_system_run_nothing(configuration: Configuration, name: str, said: str) -> None:
    with pytest.raises(Rejected, match=said):
        checked_user(configuration, name)


def test_a_command_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cmd"
    file.write_text("[other]\ndocker-command=run\n")
    with pytest.raises(Rejected, match="Invalid command file"):
        read_command(file)


def test_a_configuration_that_others_can_write_stops_everything(tmp_path: Path) -> None:
    file = tmp_path / "container-executor.cfg"
    file.write_text("[docker]\nmodule.enabled=true\n")
    file.chmod(0o666)
    with pytest.raises(Rejected, match="must be owned by root"):
        Configuration.read(file)
