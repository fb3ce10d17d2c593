"""Dynamic allocation to zero and back, shuffles in the fallback storage, against keeping executors: seconds paid.

Both run the same two queries with somebody's thinking time between them, with the settings that jobs get by default.
"""

import argparse
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.fargate_scale import account, start_driver
from benchmarks.report import Goal, Report
from emulation.ecs import EmulatedEcs
from sparkvault.errors import NotAvailable
from sparkvault.targets.fargate.job_settings import to_zero

EXECUTORS = 2
LIMIT_SECONDS = 600.0

#: The second of a pair starts so much later: while the first one idles, so that neither waits for the other's JVMs.
STAGGER_SECONDS = 40.0


def main(arguments: list[str]) -> int:
    """Measure both, interleaved, and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fargate_shuffle", description=__doc__)
    parser.add_argument("--idle", type=int, default=120, help="seconds between the two queries")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args(arguments)
    report = Report(
        "fargate_shuffle",
        goals=[Goal("recomputed_maps", "at_most", 0), Goal("paid_ratio", "at_most", 1.0)],
        notes=[
            "Billed by the second here; AWS bills at least a minute a task. ECS is emulated: AWS starts more slowly.",
            "break_even_idle_seconds: after a shorter pause, keeping executors would have been cheaper.",
        ],
    )
    kept: list[float] = []
    scaled: list[float] = []
    recomputed = 0
    for number in range(options.repeats):
        with ThreadPoolExecutor(2) as both:
            keeping = both.submit(_paid, {"spark.executor.instances": str(EXECUTORS)}, options.idle)
            time.sleep(STAGGER_SECONDS)
            scaling = both.submit(_paid, _to_zero(), options.idle)
        kept.append(keeping.result()[0])
        scaled.append(scaling.result()[0])
        recomputed += scaling.result()[1]
        print(f"run {number}: kept {kept[-1]:.1f} s, to zero and back {scaled[-1]:.1f} s", flush=True)
    report.figures["idle_seconds"] = options.idle
    report.add_samples("kept_task_seconds", kept)
    report.add_samples("scaled_task_seconds", scaled)
    report.add_samples("paid_ratio", [one / other for one, other in zip(scaled, kept, strict=True)])
    even = [options.idle + (one - other) / EXECUTORS for one, other in zip(scaled, kept, strict=True)]
    report.add_samples("break_even_idle_seconds", even)
    report.figures["recomputed_maps"] = recomputed
    return 0 if report.publish() else 1


def _to_zero() -> dict[str, str]:
    return to_zero() | {
        "spark.dynamicAllocation.initialExecutors": "0",
        "spark.dynamicAllocation.maxExecutors": str(EXECUTORS),
        "spark.storage.decommission.fallbackStorage.cleanUp": "true",
    }


def _paid(settings: dict[str, str], idle: int) -> tuple[float, int]:
    """Task-seconds of one run, and how many map tasks the second job ran again."""
    with tempfile.TemporaryDirectory(prefix="fargate-shuffle-") as name, EmulatedEcs(account(16.0)) as ecs:
        folder = Path(name)
        storage = folder / "fallback"
        storage.mkdir()
        where = {"spark.storage.decommission.fallbackStorage.path": f"file:{storage}/"}
        driver = start_driver(folder, ecs, settings | where, "ShuffleDriver", str(idle))
        try:
            words = _words(driver, folder)
        finally:
            driver.kill()
            driver.wait(10)
        for task in ecs.service.tasks.values():
            task.over.wait(60)
        if words["first"] != words["second"]:
            raise NotAvailable(f"the second answer, {words['second']}, is not the first one, {words['first']}")
        return sum(task.seconds_paid for task in ecs.service.tasks.values()), int(words["recomputed"])


def _words(driver: "subprocess.Popen[str]", folder: Path) -> dict[str, str]:
    assert driver.stdout is not None  # noqa: S101 - a pipe was asked for
    words: dict[str, str] = {}
    deadline = time.monotonic() + LIMIT_SECONDS
    for line in driver.stdout:
        word, _, value = line.strip().partition(" ")
        words[word] = value
        if word == "over" or time.monotonic() > deadline:
            return words
    raise NotAvailable("the driver ended:\n" + (folder / "driver.log").read_text(errors="replace")[-3000:])
