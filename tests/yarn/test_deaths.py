"""What dies in mid-job comes back or is replaced, and the answer is right: YARN's recovery, whatever the runtime."""

import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from emulation.engine import Engine
from emulation.yarn import SMALL_JOB, YarnCluster

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def plain(engine: Engine, hadoop_jars: Path) -> Generator[YarnCluster, None, None]:
    """A cluster under runc: what is looked at here is YARN's, and gVisor would only make it slower."""
    with YarnCluster("runc", engine, progress=print) as cluster:
        yield cluster


@pytest.mark.parametrize("victim", ["nodemanager", "container", "engine"])
def test_a_death_in_mid_job_leaves_the_answer_right(plain: YarnCluster, tmp_path: Path, victim: str) -> None:
    struck = threading.Event()

    def strike(application: str) -> None:
        # In the middle: one task has ended, others run.
        executor = awaited(plain, application)
        if victim == "container":
            plain.engine.client().containers.get(executor).kill()
        elif victim == "nodemanager":
            plain.hadoop.stop("nodemanager", kill=True)
            plain.start_node()
        else:
            plain.engine.kill()
            plain.engine.start()
        struck.set()

    def begin(application: str) -> None:
        threading.Thread(target=strike, args=(application,), daemon=True).start()

    slow = tmp_path / "slow.py"
    slow.write_text(
        "import time\nfrom pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "def one(number):\n    time.sleep(3)\n    return number\n"
        "total = spark.sparkContext.parallelize(range(16), 16).map(one).sum()\n"
        "print(f'the total is {total}')\nspark.stop()\n"
    )
    outcome = plain.submit([str(slow)], settings=SMALL_JOB, during=begin)
    assert struck.is_set(), "nothing died"
    assert outcome.exit_code == 0, outcome.diagnostics[-3000:] + outcome.output[-3000:]
    assert "the total is 120" in outcome.output


def awaited(cluster: YarnCluster, application: str) -> str:
    """The executor's container, once it has finished a task."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        names = [one.name or "" for one in cluster.engine.client().containers.list()]
        executors = [name for name in names if name.startswith("container_") and not name.endswith("_000001")]
        if executors and "Finished task " in cluster.logs(application):
            return executors[0]
        time.sleep(0.5)
    raise AssertionError("no executor finished a task within 240 s")
