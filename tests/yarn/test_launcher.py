"""What the master makes of a specification: the tenant's own queue whatever was asked for, one sentence at the end."""

import json
from pathlib import Path
from typing import Any

import pytest

from assets.yarn.sparkvault_yarn import job_run, job_submit
from assets.yarn.sparkvault_yarn.errors import YarnHostError
from assets.yarn.sparkvault_yarn.master import Master
from sparkvault_host.launcher.bucket import Submitted
from sparkvault_host.launcher.errors import LauncherError, RefusedSpecificationError
from sparkvault_host.launcher.rules import load_rules

JOB = "20261121-130455-9f3a01bc"


@pytest.fixture
def master(tmp_path: Path) -> Master:
    host, file = tmp_path / "host.json", tmp_path / "master.json"
    host.write_text(json.dumps({"region": "eu-central-1", "log_group": "/x", "job_bucket": "jobs"}))
    places = ("spark", "java", "hadoop_settings", "spark_settings", "yarn", "jobs")
    file.write_text(
        json.dumps(
            {name: str(tmp_path / name) for name in places}
            | {"background": ["true"], "tenants": {"sales": 20001, "research": 20002}}
        )
    )
    return Master.read(host, file)


def specification(**changes: Any) -> bytes:
    job = {
        "id": JOB, "target": "yarn", "tenant": "sales", "application": "a.py", "arguments": ["1"],
        "spark_arguments": [], "submitted_at": "2026-11-21T13:04:55Z", "supervise": False,
    }  # fmt: skip
    top = {"version": 1, "job": job, "kind": "python", "language": None, "main": "a.py", "supervise": False}
    top["files"] = [{"name": "a.py", "size": 1, "sha256": "0" * 64}]
    for name, value in changes.items():
        (job if name in job and name != "supervise" else top)[name] = value
    return json.dumps(top).encode()


class Bucket:
    """Holds one job, whose specification a submitter of `owner` has put."""

    content, owner = specification(), "sales"
    written: dict[str, Any]

    def __init__(self, name: str) -> None:
        assert name == "jobs"

    def submitted(self, job_id: str) -> Submitted:
        return Submitted(self.content, self.owner, {"spec": {}, "state": "submitted"})

    def write_record(self, job_id: str, tenant: str, record: dict[str, Any]) -> None:
        type(self).written = record


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> type[Bucket]:
    kept = type("Kept", (Bucket,), {})
    monkeypatch.setattr(job_submit, "JobBucket", kept)
    return kept


def command(content: bytes, master: Master) -> list[str]:
    spec = job_submit.checked(content, JOB, "sales", master, load_rules())
    return job_submit.spark_command(
        spec, "sales", Path("/jobs/home"), {"spark.hadoop.fs.s3a.endpoint.region": "eu-central-1"}
    )


def test_the_queue_is_the_tenants_own_whatever_was_asked_for(master: Master) -> None:
    words = command(specification(spark_arguments=["--queue", "root.research", "--conf", "spark.yarn.queue=x"]), master)
    assert "root.research" not in words
    # The last one counts, and a flag counts more than a setting.
    assert words[words.index("--queue") + 1] == "root.sales"
    assert words[-2:] == ["/jobs/home/files/a.py", "1"]


def test_driver_and_blocks_listen_where_the_security_groups_let_them(master: Master) -> None:
    words = command(specification(spark_arguments=["--conf", "spark.driver.port=9999"]), master)
    ports = [word for word in words if word.startswith(("spark.driver.port", "spark.blockManager.port"))]
    assert ports[-2:] == ["spark.driver.port=7078", "spark.blockManager.port=7079"]
    # Without it, the signal of a node that leaves would kill an executor.
    assert "spark.decommission.enabled=true" in words


@pytest.mark.parametrize(("failures", "kept"), [("2", False), ("4", True)])
def test_what_failed_twice_on_a_node_is_tried_on_another(master: Master, failures: str, kept: bool) -> None:
    """Unless the job lets no task fail more often: Spark refuses both."""
    words = command(specification(spark_arguments=["--conf", f"spark.task.maxFailures={failures}"]), master)
    assert ("spark.excludeOnFailure.enabled=true" in words) == kept


def test_files_are_the_jobs_own_on_the_master(master: Master) -> None:
    words = command(specification(spark_arguments=["--py-files", "files/a.py"]), master)
    assert words[words.index("--py-files") + 1] == "/jobs/home/files/a.py"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"kind": "sql"}, "python and jar"),
        ({"kind": "shell", "language": "python"}, "python and jar"),
        ({"target": "swarm"}, "not 'yarn'"),
        ({"tenant": "research"}, "no tenant of this cluster"),
        ({"spark_arguments": ["--proxy-user", "hdfs"]}, "not a flag that jobs may have"),
        ({"spark_arguments": ["--conf", "spark.authenticate=false"]}, "may not be switched off"),
        ({"spark_arguments": ["--files", "/etc/shadow"]}, "neither a file of the job"),
    ],
)
def test_what_is_not_to_be_is_refused(master: Master, changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(RefusedSpecificationError, match=rule):
        command(specification(**changes), master)


def test_a_job_that_another_tenants_submitter_put_is_not_started(master: Master, bucket: type[Bucket]) -> None:
    bucket.owner = "research"
    with pytest.raises(RefusedSpecificationError, match="not put by a submitter of tenant sales"):
        job_submit.submit(JOB, "sales", master, load_rules())
    # The other tenant's record stays as it is.
    assert not hasattr(bucket, "written")
    assert not master.folder(JOB).exists()


def test_a_job_of_its_own_that_breaks_a_rule_is_recorded_as_refused(master: Master, bucket: type[Bucket]) -> None:
    bucket.content = specification(kind="sql")
    with pytest.raises(RefusedSpecificationError, match="python and jar"):
        job_submit.submit(JOB, "sales", master, load_rules())
    assert bucket.written["state"] == "failed"
    assert "python and jar" in bucket.written["message"]


def test_a_job_is_started_once(master: Master, bucket: type[Bucket], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(
        "assets.yarn.sparkvault_yarn.job_submit.subprocess.run", lambda command, **_: started.append(command)
    )
    for _ in range(2):
        job_submit.submit(JOB, "sales", master, load_rules())
    assert len(started) == 1
    assert started[0][-3:] == ["run", JOB, "sales"]
    assert master.folder(JOB).stat().st_mode & 0o777 == 0o700


def test_an_id_is_used_once(master: Master, bucket: type[Bucket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "submitted", lambda self, job_id: Submitted(b"", "sales", {"state": "succeeded"}))
    with pytest.raises(LauncherError, match="has ended already"):
        job_submit.submit(JOB, "sales", master, load_rules())


def test_only_its_tenant_ends_a_job(master: Master, bucket: type[Bucket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.yarn.sparkvault_yarn.job_submit.subprocess.run", lambda command, **_: None)
    job_submit.submit(JOB, "sales", master, load_rules())
    with pytest.raises(YarnHostError, match="is not one of tenant research"):
        job_run.cancel(JOB, "research", master)
    assert job_run.cancel(JOB, "sales", master)
    assert (master.folder(JOB) / "cancel").exists()
    assert not job_run.cancel("20261121-130455-00000000", "sales", master)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("x\n\t diagnostics: sparkvault: the container asked for a device; none gets one\n", "asked for a device"),
        ("\t diagnostics: User application exited with status 3\n", "its driver failed: User application exited"),
        ("nothing telling", "its driver failed; its output above says why"),
    ],
)
def test_why_a_job_failed_is_one_sentence(said: str, sentence: str) -> None:
    assert sentence in job_run.why_failed(said)


def test_a_master_that_is_not_set_up_says_so(tmp_path: Path) -> None:
    with pytest.raises(YarnHostError, match="not set up as a master yet"):
        Master.read(tmp_path / "none", tmp_path / "none")
