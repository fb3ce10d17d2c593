"""Sizes of Spark's images, and the worker's as a ratio to the plain way of having the same features."""

import argparse
import subprocess
import time
from pathlib import Path

from benchmarks.report import Goal, Report
from emulation.engine import Engine, engine_lease
from sparkvault.spark_images import context

PLAIN = Path(__file__).with_name("plain.Dockerfile")
IMAGES = ("master", "worker", "submit")
_MIB = 2**20


def main(arguments: list[str]) -> int:
    """Build all, weigh them, and report."""
    argparse.ArgumentParser(prog="python -m benchmarks images", description=__doc__).parse_args(arguments)
    report = Report("images", goals=[Goal("worker_over_plain", "at_most", 0.65)])
    with engine_lease() as engine:
        started = time.perf_counter()
        references = {name: engine.spark_image(name, print) for name in IMAGES}
        report.figures["build_seconds"] = round(time.perf_counter() - started, 1)
        plain = _size(engine, plain_image(engine))
        sizes = {name: _size(engine, reference) for name, reference in references.items()}
        layers = [set(_layers(engine, reference)) for reference in references.values()]
    for name, size in sizes.items():
        report.figures[f"{name}_mib"] = round(size / _MIB, 1)
    report.figures["plain_mib"] = round(plain / _MIB, 1)
    report.figures["worker_over_plain"] = round(sizes["worker"] / plain, 4)
    report.figures["layers_in_common"] = len(set.intersection(*layers))
    report.notes.append(
        "unpacked sizes; the plain image has the same pyspark, Python packages and AWS modules, by the same lock files"
    )
    return 0 if report.publish() else 1


def plain_image(engine: Engine) -> str:
    """Build what people make plainly; the reference that it has in the engine."""
    engine.base_image(print)
    tag = "sparkvault/plain:benchmark"
    program = engine.environment()["CDK_DOCKER"]
    print("building the plain image", flush=True)
    command = [program, "build", "--tag", tag, "--file", str(PLAIN), str(context())]
    subprocess.run(command, check=True, timeout=2400, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    return tag


def _size(engine: Engine, reference: str) -> int:
    """Bytes of all layers, unpacked."""
    client = engine.client()
    try:
        return int(client.images.get(reference).attrs["Size"])
    finally:
        client.close()


def _layers(engine: Engine, reference: str) -> list[str]:
    client = engine.client()
    try:
        return list(client.images.get(reference).attrs["RootFS"]["Layers"])
    finally:
        client.close()
