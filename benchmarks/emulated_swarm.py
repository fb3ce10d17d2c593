"""One deployed cluster on emulated hosts, for the benchmarks of the swarm, and the job that they give it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emulation.aws import EmbeddedAws, bootstrap
from emulation.demo.steps import ROOT, Demo
from emulation.ec2 import EmulatedEc2
from emulation.engine import engine_lease
from sparkvault.project import WORK_FOLDER_VARIABLE
from sparkvault.toolchain import tool_environment

CONFIGURATION = "emulation/demo/deployment.yaml"
PLACE = ("--target", "swarm", "--config", CONFIGURATION)
SUBMIT = ("sparkvault", "submit", *PLACE)

#: A shuffle over both workers, whose answer is known.
JOB = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
pairs = spark.sparkContext.parallelize(range(1000), 8).map(lambda number: (number % 7, number))
print("sum", sum(value for _, value in pairs.reduceByKey(lambda a, b: a + b).collect()))
spark.stop()
"""
ANSWER = f"sum {sum(range(1000))}"


@contextmanager
def deployed_swarm() -> Iterator[tuple[Demo, EmulatedEc2, Path]]:
    """A manager and two workers: what runs commands for them, the hosts, and the file of the job."""
    with (
        tempfile.TemporaryDirectory() as work,
        engine_lease() as engine,
        EmbeddedAws(hosts="external") as aws,
        EmulatedEc2(aws, engine) as ec2,
    ):
        bootstrap(aws, [ROOT / "node_modules" / ".bin" / "cdk"])
        demo = Demo(ec2.environment(tool_environment() | {WORK_FOLDER_VARIABLE: work}))
        demo.run("sparkvault", "deploy", "--config", CONFIGURATION, "--yes")
        job = Path(work) / "job.py"
        job.write_text(JOB, encoding="utf-8")
        yield demo, ec2, job
