"""Reading a configuration: every problem at once, the same from every source, never a crash."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spark_constructs.config import Deployment
from spark_constructs.config_docs import REFERENCE_FILE, SCHEMA_FILE, reference, schema, schema_text
from spark_constructs.config_errors import ConfigError, Problem
from spark_constructs.config_source import load_context, load_file, load_mapping

DOCS = Path(__file__).parents[2] / "docs"

MANY_PROBLEMS = """
cluster: Bad_Name
acount: '123456789012'
hosts:
  workers: {instance_types: [5, m5.xlrage, c5.large], count: 3, max: 2}
enclaves: {enabled: true, memory_mib: 100}
data:
  - {prefix: 'x/'}
  - {bucket: shared, prefix: a/}
  - {bucket: shared, prefix: a/b/}
  - {bucket: others, tenants: [nobody]}
spark:
  settings: {spark.authenticate: false}
  worker_memory: 6
targets: [swarm, kubernetes]
"""


def paths(error: ConfigError) -> list[str]:
    return [problem.path for problem in error.problems]


def test_an_empty_configuration_is_the_default_one() -> None:
    assert load_mapping({}, "test") == load_context(None) == Deployment.default()


def test_all_problems_of_a_file_come_at_once_each_at_its_own_place() -> None:
    with pytest.raises(ConfigError) as caught:
        load_context(MANY_PROBLEMS)
    assert paths(caught.value) == [
        "acount",
        "cluster",
        "data[0].bucket",
        "data[2].prefix",
        "data[3].tenants[0]",
        "enclaves.memory_mib",
        "hosts.workers.count",
        "hosts.workers.instance_types[0]",
        "hosts.workers.instance_types[1]",
        "hosts.workers.instance_types[2]",
        "spark.executor_memory",
        "spark.settings['spark.authenticate']",
        "spark.worker_memory",
        "targets[1]",
    ]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"tenants": [{"name": "finance", "principals": []}]}, "tenants[0].principals"),
        ({"yarn": {"storage": "hdfs"}}, "yarn.storage"),
        ({"yarn": {"nested_virtualization": True}}, "yarn.nested_virtualization"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_key_that_would_change_nothing_is_unknown(given: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_mapping(given, "test")
    (problem,) = caught.value.problems
    assert (problem.path, problem.rule) == (path, "unknown key")


def test_the_context_may_hold_a_mapping_or_its_text() -> None:
    assert load_context({"cluster": "analytics"}) == load_context('{"cluster": "analytics"}')


def test_a_secret_is_not_repeated_in_the_error() -> None:
    with pytest.raises(ConfigError) as caught:
        load_mapping({"spark": {"settings": {"spark.ssl.keyPassword": "correct-horse"}}}, "test")
    assert "correct-horse" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "rule"),
    [(b"\xff\xfe\x00", "not UTF-8"), (b"a: 1\n" * 300_000, "larger than"), (b"a: \x07", "not valid YAML")],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes, rule: str) -> None:
    file = tmp_path / "sparkvault.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=rule):
        load_file(file)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_file(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load_file(tmp_path)


def test_deep_nesting_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    for name in ("deep.json", "deep.yaml"):
        file = tmp_path / name
        file.write_text("[" * 50_000)
        with pytest.raises(ConfigError):
            load_file(file)


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
_ANYTHING = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def _places(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        found += _places(value, (*path, key))
    return found


FULL = Deployment.model_validate(
    {
        "targets": ["swarm", "fargate", "yarn"],
        "tenants": [{"name": "finance"}, {"name": "research"}],
        "data": [{"bucket": "sales", "tenants": ["finance"]}, {"bucket": "logs-2026", "mode": "read-write"}],
        "yarn": {
            "hadoop": {"version": "3.5.0", "sha512": "a" * 128},
            "kata": {"version": "3.29.0", "sha512": "b" * 128},
        },
        "tags": {"owner": "data-platform"},
    }
).model_dump(mode="json")


def problems_of(data: object) -> list[Problem]:
    """What is wrong with the data; at least one thing where it is refused."""
    try:
        load_mapping(data, "test")
    except ConfigError as error:
        if not error.problems:
            raise AssertionError("refused without a problem") from error
        return error.problems
    return []


@given(place=st.sampled_from(_places(FULL)), value=_ANYTHING)
def test_any_value_anywhere_is_accepted_or_refused_with_its_problems(place: tuple[Any, ...], value: Any) -> None:
    data = yaml.safe_load(yaml.safe_dump(FULL))
    holder = data
    for part in place[:-1]:
        holder = holder[part]
    holder[place[-1]] = value
    for problem in problems_of(data):
        assert problem.path
        assert problem.rule
        assert problem.remedy


@given(data=_ANYTHING)
def test_anything_at_all_is_accepted_or_refused_with_its_problems(data: Any) -> None:
    problems_of(data)


def test_the_effective_configuration_reads_back_as_itself() -> None:
    shown = yaml.safe_dump(FULL)
    assert load_context(shown).model_dump(mode="json") == FULL


def test_the_schema_accepts_what_the_model_accepts() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(FULL, schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"clutser": "x"}, schema())


def test_the_schema_and_the_reference_in_docs_are_current() -> None:
    assert (DOCS / SCHEMA_FILE).read_text() == schema_text(), "run `make snapshots`"
    assert (DOCS / REFERENCE_FILE).read_text() == reference(), "run `make snapshots`"


def test_the_reference_names_every_key_with_the_default_that_its_example_has() -> None:
    page = (DOCS / REFERENCE_FILE).read_text()
    rows = re.findall(r"^\| `([^`]+)` \| `?(.+?)`? \|", page, re.MULTILINE)
    stated = {key: json.loads(default) for key, default in rows if default not in ("section", "required")}
    example = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    assert {key: value for key, value in stated.items() if key in leaves(example)} == leaves(example)
    # What lists may hold, and a section that is not there by default, are in no example.
    assert all("[]" in key or key.startswith("enclaves.owner_key.") for key in set(stated) - set(leaves(example)))


def leaves(section: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Every key that is no section, by its whole path."""
    found: dict[str, Any] = {}
    for name, value in section.items():
        found |= leaves(value, f"{path}{name}.") if isinstance(value, dict) and value else {path + name: value}
    return found


@pytest.mark.parametrize("key", leaves(Deployment().model_dump()))
def test_a_key_that_is_set_leaves_the_others_at_their_defaults(key: str) -> None:
    value = leaves(Deployment().model_dump())[key]
    for name in reversed(key.split(".")):
        value = {name: value}
    assert Deployment.model_validate(value) == Deployment()


def test_the_reference_lists_the_values_that_a_key_takes() -> None:
    page = (DOCS / REFERENCE_FILE).read_text()
    for row in (
        '| `targets` | `["swarm"]` | `"swarm"`, `"fargate"`, `"yarn"` |',
        '| `storage.on_destroy` | `"retain"` | `"retain"`, `"delete"` |',
        "| `spark.worker_cores` | `null` | 1 to 256 |",
        "| `enclaves.memory_mib` | `4096` | 64 or more, in steps of 2 |",
    ):
        assert row in page


def test_every_key_is_described() -> None:
    for definition in [schema(), *schema()["$defs"].values()]:
        assert definition.get("description")
        for name, field in definition.get("properties", {}).items():
            assert field.get("description"), name


def test_the_configuration_loads_without_the_cdk() -> None:
    program = "import sys, spark_constructs.config_source; print('aws_cdk' in sys.modules, 'boto3' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.split() == ["False", "False"]
