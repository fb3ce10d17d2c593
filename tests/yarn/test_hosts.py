"""What a YARN host makes at boot of what the deployment says: settings, users, a real realm, and whose credentials."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from assets.yarn.sparkvault_yarn import (
    archives,
    enforcement,
    hadoop_settings,
    keytab_secrets,
    node_files,
    places,
    render,
)
from assets.yarn.sparkvault_yarn.broker import YarnBroker, user_at
from assets.yarn.sparkvault_yarn.errors import YarnHostError
from assets.yarn.sparkvault_yarn.host_settings import Wanted
from assets.yarn.sparkvault_yarn.realm import Realm, client_configuration
from spark_constructs.yarn_settings import USER_NUMBERS
from sparkvault_host.aws_cli import AwsError
from sparkvault_host.broker.tokens import RefusedTokenError
from tests.support.synth_app import synthesised
from tests.support.synth_readable import text

IMAGE = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/spark@sha256:" + "1" * 64


@pytest.fixture(scope="module")
def wanted() -> Wanted:
    """As the deployed template writes it."""
    found = synthesised("hadoop").template("Yarn")["Resources"].values()
    (value,) = [
        each["Properties"]["Value"]
        for each in found
        if each["Type"] == "AWS::SSM::Parameter" and each["Properties"]["Name"].endswith("/yarn/desired")
    ]
    return Wanted.read(text(value))


def test_the_deployments_settings_fill_every_template(wanted: Wanted) -> None:
    known = hadoop_settings.values(wanted, master="ip-10-0-0-1.internal", host="ip-10-0-0-2.internal", image=IMAGE)
    for name in ("core-site.xml", "hdfs-site.xml", "yarn-site.xml", "hadoop-policy.xml", "container-executor.cfg",
                 "spark-defaults.conf"):  # fmt: skip
        assert "{{" not in render.rendered(name, known)


def test_the_enforcement_finds_all_that_a_node_writes(wanted: Wanted, tmp_path: Path) -> None:
    """Of the files; Docker and a container's kernel are looked at on a real engine elsewhere."""
    known = hadoop_settings.values(wanted, master="m", host="n", image=IMAGE)
    render.write_hadoop(tmp_path, known)
    render.write(tmp_path / "container-executor.cfg", render.rendered("container-executor.cfg", known))
    policy = node_files.guard_policy(
        wanted.runtime, places.NETWORK, IMAGE, wanted.tenants, users=tmp_path, ro_mounts=["/a"], rw_mounts=["/b"],
        docker=["/usr/bin/docker"],
    )  # fmt: skip
    render.write(tmp_path / "guard.json", policy)
    node = enforcement.Node(
        wanted.runtime, places.NETWORK, IMAGE, tmp_path, tmp_path / "daemon.json", tmp_path / "guard.json", places.GUARD
    )
    assert list(enforcement._settings(node)) == []
    assert list(enforcement._executor(node)) == []
    assert json.loads(policy)["images"][str(wanted.tenants[0].uid)] == list(wanted.tenants[0].images)


def test_tenants_users_are_kept_from_the_metadata_service_before_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    rules: list[tuple[str, ...]] = []

    def run(*command: str) -> None:
        if "-C" in command and not rules:
            raise YarnHostError("no such rule")
        if "-I" in command:
            rules.append(command)

    monkeypatch.setattr(hadoop_settings, "run", run)
    for _ in range(2):
        hadoop_settings.keep_tenants_from_metadata()
    (rule,) = rules
    assert "169.254.169.254/32" in rule
    least, most = rule[rule.index("--uid-owner") + 1].split("-")
    assert all(int(least) <= number <= int(most) for number in (USER_NUMBERS[0], USER_NUMBERS[-1]))


@pytest.mark.parametrize("broken", ["{}", "not JSON", '{"tenants": []}'])
def test_settings_that_cannot_be_are_refused_in_one_sentence(broken: str) -> None:
    with pytest.raises(YarnHostError, match="yarn/desired cannot be read"):
        Wanted.read(broken)


def test_an_archive_with_another_digest_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def copy(*arguments: str, **_: Any) -> None:
        Path(arguments[-1]).write_bytes(b"not what was pinned")

    monkeypatch.setattr(archives, "aws", copy)
    monkeypatch.setattr(places, "STATE", tmp_path)
    monkeypatch.setattr(places, "RUNSC", tmp_path / "runsc")
    with pytest.raises(YarnHostError, match="is pinned"):
        archives.install("runsc", {"url": "s3://bucket/archives/x/runsc", "sha512": "0" * 128})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def realm(tmp_path: Path) -> Realm:
    if not (shutil.which("kdb5_util", path="/usr/sbin:/usr/bin") and os.geteuid() == 0):
        if os.environ.get("CI") == "true":
            pytest.fail("CI must run this: krb5-kdc is not installed, or this is not root")
        pytest.skip("needs root and Debian's krb5-kdc and krb5-admin-server")
    configuration = tmp_path / "krb5.conf"
    render.write(configuration, client_configuration("EXAMPLE.INTERNAL", "127.0.0.1:10099", "internal"))
    made = Realm("EXAMPLE.INTERNAL", tmp_path / "realm", configuration)
    made.configure("127.0.0.1:10099", 10)
    made.create()
    return made


class TestRealm:
    def test_a_keytab_is_its_owners_alone_and_made_of_real_principals(self, realm: Realm, tmp_path: Path) -> None:
        path = tmp_path / "nm.keytab"
        realm.keytab(path, ["nm/ip-10-0-0-2.internal"])
        assert path.stat().st_mode & 0o777 == 0o600
        assert "nm/ip-10-0-0-2.internal" in realm.principals()
        realm.forget(["nm/ip-10-0-0-2.internal", "dn/never-there.internal"])
        assert "nm/ip-10-0-0-2.internal" not in realm.principals()

    def test_a_master_that_was_replaced_has_the_realm_of_the_old_one(self, realm: Realm, tmp_path: Path) -> None:
        realm.keytab(tmp_path / "sales.keytab", ["sales"])
        realm.dump(tmp_path / "backup")
        assert {each.name for each in (tmp_path / "backup").iterdir()} == {"dump", "stash"}
        restored = Realm(realm.name, tmp_path / "new", realm.configuration)
        restored.configure("127.0.0.1:10099", 10)
        assert not restored.exists()
        restored.load(tmp_path / "backup")
        assert restored.exists()
        assert "sales" in restored.principals()

    @pytest.mark.parametrize("name", ["nm/a b", "x\naddprinc root", "nm/", "a@OTHER", "-k", ""])
    def test_a_name_that_would_mean_something_else_is_refused(self, realm: Realm, tmp_path: Path, name: str) -> None:
        before = realm.principals()
        with pytest.raises(YarnHostError, match="is no name of a principal"):
            realm.keytab(tmp_path / "x.keytab", [name])
        assert realm.principals() == before


class TestKeytabsOfNodes:
    def test_the_secret_says_who_may_read_it(
        self, wanted: Wanted, realm: Realm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: dict[str, Any] = {}

        def aws(service: str, action: str, secret_input: dict[str, Any]) -> None:
            asked.update(secret_input, action=action)

        monkeypatch.setattr(keytab_secrets, "aws", aws)
        keytab_secrets.publish(wanted, realm, "i-0a1b", "ip-10-0-0-2.internal")
        assert asked["Name"] == "hadoop/yarn/nodes/i-0a1b"
        assert asked["Tags"] == [{"Key": "sparkvault:reader", "Value": f"{wanted.nodes_role_id}:i-0a1b"}]
        assert set(json.loads(asked["SecretString"])["keytabs"]) == {"dn.keytab", "nm.keytab", "http.keytab"}

    def test_a_node_waits_as_long_as_it_is_denied(self, wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
        def aws(*arguments: str) -> None:
            raise AwsError("AccessDeniedException", "no identity-based policy allows it")

        monkeypatch.setattr(keytab_secrets, "aws", aws)
        assert keytab_secrets.read(wanted, "i-0a1b") is None


class Engine:
    """The two requests that the broker makes."""

    def get(self, path: str) -> Any:
        if path == f"/networks/{places.NETWORK}":
            return {"Containers": {"c1": {"IPv4Address": "10.20.1.18/28"}}}
        assert path == "/containers/c1/json"
        return {"Config": {"User": "20007:20007"}}


class Sessions:
    """Says for whom it was asked."""

    def credentials(self, claim: Any, role: str) -> dict[str, str]:
        return {"tenant": claim.tenant, "role": role}


class TestBroker:
    broker = YarnBroker(
        lambda address: user_at(Engine(), address),  # type: ignore[arg-type]
        lambda: {"20007": ["sales", "arn:sales"], "20008": ["research", "arn:research"]},
        Sessions(),
    )

    def test_a_container_gets_its_own_tenants_role_whatever_it_says(self) -> None:
        assert self.broker.credentials("a token of somebody else", "10.20.1.18") == {
            "tenant": "sales",
            "role": "arn:sales",
        }

    def test_whoever_is_no_container_gets_nothing(self) -> None:
        with pytest.raises(RefusedTokenError, match="is no container"):
            self.broker.credentials("", "10.20.1.19")
