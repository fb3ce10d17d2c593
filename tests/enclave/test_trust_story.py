"""One story: a changed line of trusted code is another image, which nobody trusts until it went through every step.

The real CDK CLI deploys the real key stack into an emulated account; enclaves are simulated and measured by their code.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emulation.aws import EmbeddedAws, bootstrap
from emulation.enclave import HostSide, SimulatedEnclave
from spark_constructs.config_source import load_mapping
from spark_constructs.naming import host_role_name
from spark_enclave import __file__ as trusted_package
from spark_enclave.attestation import MeasurementPolicy, TrustAnchor
from spark_enclave.attestation.refusals import MeasurementRevoked, MeasurementUnknown
from spark_enclave.client import EnclaveConnection, QueryRefused, TableFolder, Trust, table_key
from spark_enclave.tables import ClientKeys, write_key_file
from spark_enclave.tables.encryption import encrypt_table
from stacks.enclave_key import EnclaveKeyStack
from tests.enclave.kms_account import KmsAccount
from tests.enclave.running_enclave import CSV, simulated
from tests.support.command_line import Answer, CommandLine
from tests.support.embedded_aws_cdk import CDK
from tests.support.synth_app import Synthesised, synthesise

pytestmark = pytest.mark.timeout(600)

CDK_SECONDS = 180
ROWS = [{"n": 1000}]


def entry(name: str, enclave: SimulatedEnclave, status: str) -> dict[str, Any]:
    """What a review adds to measurements.json."""
    (measured,) = json.loads(enclave.measurements.read_text(encoding="utf-8"))
    return {"id": name, "platform": "nitro-x86_64", "status": status, "pcrs": measured["pcrs"]}


def pcr0(enclave: SimulatedEnclave) -> str:
    return str(json.loads(enclave.measurements.read_text(encoding="utf-8"))[0]["pcrs"]["PCR0"])


@dataclass
class Story:
    aws: EmbeddedAws
    account: KmsAccount
    old: SimulatedEnclave
    new: SimulatedEnclave
    measurements: Path
    owner: ClientKeys
    folder: Path

    def trust(self) -> Trust:
        """A client with the list as it is committed now."""
        return Trust(MeasurementPolicy.from_file(self.measurements), TrustAnchor.simulated(self.old.root.read_bytes()))

    def ask(self, enclave: SimulatedEnclave, trust: Trust | None = None) -> list[dict[str, Any]]:
        table = TableFolder.of_client(
            self.folder / "canary", self.owner, owner_key=self.owner.public_key, pinned=lambda *_: 1
        )
        with (
            EnclaveConnection(enclave.address) as connection,
            connection.open_session(trust or self.trust(), self.owner.signing_key) as session,
        ):
            session.put_table("t", table)
            rows: list[dict[str, Any]] = session.query("SELECT count(*) AS n FROM t").to_table().to_pylist()
            return rows

    def stack(self) -> Synthesised:
        deployment = load_mapping(
            {
                "cluster": "analytics",
                "account": self.aws.account_id,
                "region": self.aws.region,
                "enclaves": {
                    "enabled": True,
                    "owner_key": {"owners": [f"arn:aws:iam::{self.aws.account_id}:role/owner"]},
                },
            },
            "test",
        )
        owner_key = deployment.enclaves.owner_key
        assert owner_key is not None
        listed = MeasurementPolicy.from_file(self.measurements)
        return synthesise(
            lambda app: EnclaveKeyStack(
                app, "EnclaveKey", deployment=deployment, owner_key=owner_key, measurements=listed
            )
        )

    def cdk(self, *arguments: str) -> str:
        assembly = self.stack()
        done = subprocess.run(
            [str(CDK), *arguments, "--app", str(assembly.directory), "--no-color"],
            cwd=self.folder,
            env=self.aws.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=CDK_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def deploy(self) -> None:
        self.cdk("deploy", "EnclaveKey", "--require-approval=never", "--method=direct")

    def key_arn(self) -> str:
        found = self.aws.client("cloudformation").describe_stacks(StackName="analytics-enclave-key")["Stacks"][0]
        return next(str(one["OutputValue"]) for one in found["Outputs"] if one["OutputKey"] == "EnclaveKeyArn")

    def statuses(self) -> dict[str, str]:
        return {one.id: one.status for one in MeasurementPolicy.from_file(self.measurements).root}


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """Two enclaves: one of the code as it is, and one with a line more in what is trusted."""
    code = Path(shutil.copytree(Path(trusted_package).parent, tmp_path / "code" / "spark_enclave"))
    with (code / "server" / "settings.py").open("a", encoding="utf-8") as file:
        file.write("#: A line that somebody added.\n")
    # Both prove themselves by the same (simulated) hardware maker.
    new = tmp_path / "new"
    with ExitStack() as stack:
        old = stack.enter_context(simulated(tmp_path / "old"))
        shutil.copytree(old.root.parent, new / "nsm")
        changed = stack.enter_context(simulated(new, code=code.parent))
        aws = stack.enter_context(EmbeddedAws())
        aws.trust_simulated_nsm(old.root.read_bytes())
        bootstrap(aws, [CDK])
        account = KmsAccount(aws)
        roles = {"owner": "owner", "parent": host_role_name("analytics", "worker", aws.region)}
        for name, role in roles.items():
            account.assume(name, f"arn:aws:iam::{aws.account_id}:role/{role}")
        for enclave in (old, changed):
            stack.enter_context(HostSide(enclave.parent, aws.endpoint, lambda: account.credentials["parent"]))
        told = Story(aws, account, old, changed, tmp_path / "measurements.json", ClientKeys.new(), tmp_path)
        told.measurements.write_text(json.dumps([entry("first", old, "current")]), encoding="utf-8")
        told.deploy()
        told.owner = ClientKeys.new(told.key_arn())
        write_key_file(tmp_path / "keys.json", told.owner)
        (tmp_path / "rows.csv").write_text(CSV, encoding="utf-8")
        key, source = table_key(told.owner, "canary", 1, kms=account.client("owner"))
        encrypt_table(
            [tmp_path / "rows.csv"],
            tmp_path / "canary",
            key,
            table_id="canary",
            version=1,
            signing_key=told.owner.signing_key,
            key_source=source,
        )
        yield told


def test_from_a_changed_line_to_the_old_image_refused(
    story: Story, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = CommandLine(monkeypatch, capfd).run
    monkeypatch.setenv("SPARKVAULT_HOME", str(story.folder / "work"))

    def promote() -> Answer:
        where = ["--enclave", story.new.address, "--key", str(story.folder / "keys.json")]
        trust = ["--measurements", str(story.measurements), "--simulated", str(story.new.root)]
        return run("enclave", "promote", "second", "--canary", str(story.folder / "canary"), *where, *trust)

    def revoke() -> Answer:
        return run("enclave", "revoke", "first", "--measurements", str(story.measurements))

    # A line of trusted code is another measurement: no client trusts it, and KMS gives it nothing.
    assert story.ask(story.old) == ROWS
    assert pcr0(story.new) != pcr0(story.old)
    with pytest.raises(MeasurementUnknown):
        story.ask(story.new)
    careless = Trust(MeasurementPolicy.model_validate([entry("second", story.new, "current")]), story.trust().anchor)
    with pytest.raises(QueryRefused, match="not authorized to perform: kms:Decrypt"):
        story.ask(story.new, careless)

    # Its review changes measurements.json, and that is what `cdk diff` shows.
    listed = [entry("first", story.old, "current"), entry("second", story.new, "next")]
    story.measurements.write_text(json.dumps(listed), encoding="utf-8")
    assert pcr0(story.new) in story.cdk("diff", "EnclaveKey")

    # No step is skipped: without the key stack there is no canary, without the canary no revocation.
    early = promote()
    assert early.code == 1
    assert "key-release" in early.err
    assert revoke().code == 1
    assert story.statuses() == {"first": "current", "second": "next"}

    story.deploy()
    assert story.ask(story.old) == story.ask(story.new) == ROWS
    moved = promote()
    assert moved.code == 0, moved.err
    assert "opened the canary (1000 rows)" in moved.out
    stale = story.trust()
    assert revoke().code == 0
    assert story.statuses() == {"first": "revoked", "second": "current"}

    # Clients refuse the old image at once; KMS, for clients that do not know yet, with the next deployment.
    with pytest.raises(MeasurementRevoked):
        story.ask(story.old)
    assert pcr0(story.old) in story.cdk("diff", "EnclaveKey")
    story.deploy()
    with pytest.raises(QueryRefused, match="key-release"):
        story.ask(story.old, stale)
    assert story.ask(story.new) == ROWS
