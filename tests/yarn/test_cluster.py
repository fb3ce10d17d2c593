"""Real daemons, real containers: jobs under gVisor give the right answer, and nothing gets them out of it."""

import re
from collections import Counter
from pathlib import Path

import pytest

from emulation.yarn import SMALL_JOB, Outcome, YarnCluster

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
ONCE = {"spark.yarn.maxAppAttempts": "1"}
HOST_KERNEL = Path("/proc/version").read_text(encoding="utf-8").strip()
TEXT = "to be or not to be that is the question whether tis nobler in the mind to suffer\n" * 2000

#: What a job asks for in its environment → what it is told.
ATTEMPTS = {
    "another runtime": ({"YARN_CONTAINER_RUNTIME_TYPE": "docker", "YARN_CONTAINER_RUNTIME_DOCKER_RUNTIME": "runc"},
                        "another container runtime"),
    "Docker's default": ({"YARN_CONTAINER_RUNTIME_TYPE": "docker", "YARN_CONTAINER_RUNTIME_DOCKER_RUNTIME": "default"},
                         "another container runtime"),
    "no container": ({"YARN_CONTAINER_RUNTIME_TYPE": "default"}, "another container runtime"),
    "the host's network": ({"YARN_CONTAINER_RUNTIME_DOCKER_CONTAINER_NETWORK": "host"}, "another network"),
    "a folder of the host": ({"YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS": "/etc:/host:ro"}, "a folder of the host"),
    "Docker's socket": ({"YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS": "/run:/run:rw"}, "a folder of the host"),
    "a privileged container": ({"YARN_CONTAINER_RUNTIME_DOCKER_RUN_PRIVILEGED_CONTAINER": "true"},
                               "a privileged container"),
    "the host's processes": ({"YARN_CONTAINER_RUNTIME_DOCKER_CONTAINER_PID_NAMESPACE": "host"},
                             "the host's process namespace"),
    "another image": ({"YARN_CONTAINER_RUNTIME_DOCKER_IMAGE": "sparkvault/other:1"}, "is not one that user"),
    "an image from elsewhere": ({"YARN_CONTAINER_RUNTIME_DOCKER_IMAGE": "elsewhere/spark:1"}, "is not one that user"),
}  # fmt: skip


def word_count(cluster: YarnCluster, folder: Path) -> Outcome:
    text = folder / "words.txt"
    text.write_text(TEXT)
    place = f"{cluster.put([text], 'ada')}/{text.name}"
    application = [str(ROOT / "examples" / "word_count.py"), place, "--top", "3"]
    return cluster.submit(application, settings=SMALL_JOB)


def counted_right(outcome: Outcome) -> bool:
    expected = Counter(re.findall(r"[a-z]+", TEXT)).most_common(3)
    return outcome.exit_code == 0 and all(f"{count:,}  {word}\n" in outcome.output for word, count in expected)


def test_a_job_that_asks_for_nothing_runs_under_a_kernel_of_its_own(secured: YarnCluster, tmp_path: Path) -> None:
    outcome = word_count(secured, tmp_path)
    assert counted_right(outcome), outcome.diagnostics[-3000:] + outcome.output[-3000:]
    # One line of each container's launcher: the driver's and the executor's.
    assert outcome.output.count("kernel in this container") >= 2
    assert HOST_KERNEL not in secured.kernels(outcome)


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_job_that_asks_for_less_is_refused_with_what_to_do(secured: YarnCluster, attempt: str) -> None:
    asked, said = ATTEMPTS[attempt]
    pi = [str(ROOT / "examples" / "pi.py"), "--samples", "1000"]
    outcome = secured.submit(pi, settings={**SMALL_JOB} | ONCE, environment=asked)
    assert outcome.exit_code != 0
    assert said in (outcome.refusal or ""), outcome.diagnostics[-3000:]
    assert "pi is roughly" not in outcome.output


def test_root_is_no_tenant(secured: YarnCluster) -> None:
    pi = [str(ROOT / "examples" / "pi.py"), "--samples", "1000"]
    outcome = secured.submit(pi, tenant="root", settings={**SMALL_JOB} | ONCE)
    assert outcome.exit_code != 0
    assert "pi is roughly" not in outcome.output
