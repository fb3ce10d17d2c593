"""What `submit` lets through to spark-submit, and what it refuses before anything is started."""

from pathlib import Path

import pytest

from sparkvault.errors import UsageError
from sparkvault.spark_submit import check_flags
from sparkvault.targets.local.submission import check
from tests.support.local_cluster import job_spec


@pytest.fixture
def application(tmp_path: Path) -> Path:
    path = tmp_path / "an app.py"
    path.write_text("print()")
    return path


def test_spark_submits_own_flags_pass() -> None:
    settings = check_flags(
        [
            *("--class", "org.example.Main", "--name=hello", "--packages", "a:b:1", "--verbose", "-v"),
            *("--conf", "spark.sql.shuffle.partitions=7", "-c", "spark.ui.port=5050"),
            *("--driver-memory", "2g", "--executor-memory=1g", "--total-executor-cores", "2"),
        ]
    )
    assert settings == {"spark.sql.shuffle.partitions": "7", "spark.ui.port": "5050"}


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        ("--master local[2]", "--master is not for"),
        ("--master=spark://elsewhere:7077", "--master is not for"),
        ("--deploy-mode cluster", "--deploy-mode is not for"),
        ("--properties-file mine.conf", "--properties-file is not for"),
        ("--proxy-user root", "--proxy-user is not for"),
        ("--keytab k", "--keytab is not for"),
        ("--supervise", "--supervise is not for"),
        ("--kill driver-1", "use `sparkvault cancel`"),
        ("--executor-memroy 1g", "--executor-memroy is no flag of spark-submit\ndid you mean --executor-memory?"),
        ("--name", "--name needs a value"),
        ("--conf spark.x", "a setting needs a value"),
        ("stray", "stray is no flag"),
    ],
)
def test_other_flags_are_refused_with_the_reason(flags: str, what: str) -> None:
    with pytest.raises(UsageError) as error:
        check_flags(flags.split())
    assert what in str(error.value)


@pytest.mark.parametrize(
    "setting",
    [
        "spark.authenticate=false",
        "spark.network.crypto.enabled=false",
        "spark.network.crypto.cipher=AES/CTR/NoPadding",
        "spark.io.encryption.enabled=false",
        "spark.authenticate.secret=mine",
        "spark.master=local",
        "spark.driver.bindAddress=0.0.0.0",
        "spark.driver.host=10.0.0.1",
        "spark.eventLog.dir=/tmp",
        "spark.ui.killEnabled=true",
        "spark.acls.enable=false",
        "spark.driver.extraJavaOptions=-Dspark.authenticate=false",
        "spark.executor.extraJavaOptions=-agentlib:jdwp=transport=dt_socket",
    ],
)
def test_settings_that_weaken_the_cluster_are_refused(setting: str) -> None:
    for flags in (["--conf", setting], [f"--conf={setting}"], ["-c", setting]):
        with pytest.raises(UsageError, match="settings that are refused") as error:
            check_flags(flags)
        assert setting.partition("=")[0] in error.value.what


def test_java_options_of_the_driver_are_looked_at_too() -> None:
    with pytest.raises(UsageError, match=r"past these checks"):
        check_flags(["--driver-java-options", "-Xss4m -Dspark.io.encryption.enabled=false"])
    assert check_flags(["--driver-java-options", "-Xss4m"])


def test_all_refused_settings_are_named_at_once() -> None:
    with pytest.raises(UsageError) as error:
        check_flags(["--conf", "spark.authenticate=false", "--conf", "spark.eventLog.dir=/tmp"])
    assert "spark.authenticate" in error.value.what
    assert "spark.eventLog.dir" in error.value.what


def test_a_secret_is_not_shown_again() -> None:
    with pytest.raises(UsageError) as error:
        check_flags(["--conf", "spark.hadoop.fs.s3a.secret.key=hunter2"])
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("flag", ["--jars", "--py-files", "--files", "--archives"])
def test_files_that_are_missing_are_named(flag: str, tmp_path: Path, application: Path) -> None:
    missing = tmp_path / "missing.zip"
    with pytest.raises(UsageError, match=f"{flag}: there is no file"):
        check_flags([flag, f"{application},{missing}"])
    assert check_flags([flag, f"{application}#alias,hdfs://host/x.jar,{tmp_path}/*.jar"]) == {}


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("missing.py", "does not exist"),
        ("missing", "is no application"),
        ("notes.txt", "is no application"),
        ("folder.py", "is a folder"),
        ("s3a://bucket/app.py", "files of this machine"),
        ("https://example.org/app.jar", "files of this machine"),
    ],
)
def test_what_is_no_application_is_refused(name: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "notes.txt").touch()
    given = name if "://" in name else tmp_path / name
    with pytest.raises(UsageError) as error:
        check(job_spec(Path("x")).model_copy(update={"application": str(given)}))
    assert what in str(error.value)


def test_an_application_may_be_given_as_an_address_of_a_file(application: Path) -> None:
    spec = job_spec(application).model_copy(update={"application": f"file://{application}"})
    assert check(spec).application.path == application


def test_a_sql_script_takes_variables_only(tmp_path: Path) -> None:
    script = tmp_path / "query.sql"
    script.touch()
    assert check(job_spec(script, "-d", "a=b", "--hivevar", "c=d"))
    for arguments in (["a"], ["-d"], ["--master", "local"], ["-e", "DROP TABLE x"]):
        with pytest.raises(UsageError, match="takes variables only"):
            check(job_spec(script, *arguments))
