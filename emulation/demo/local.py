"""Part `local`: all stacks deployed into the emulated AWS, and a word count on a real Spark cluster."""

import json
import re
import sys
from collections import Counter
from pathlib import Path

from emulation.aws import EmbeddedAws, bootstrap, leftovers
from emulation.demo.steps import ROOT, Demo, DemoError
from emulation.ec2.emulated import Aws
from sparkvault.toolchain import docker_engine

CONFIGURATION = "emulation/demo/deployment.yaml"
SPARKVAULT = str(Path(sys.executable).parent / "sparkvault")
TOP = 10


def run(demo: Demo, aws: EmbeddedAws, work: Path) -> None:
    """Deploy, count words, check the count, clean up."""
    deploy(demo, aws)
    on_one_machine(demo, aws, work)
    destroy(demo, aws)


def on_one_machine(demo: Demo, aws: EmbeddedAws, work: Path) -> None:
    """Count words and check the count; nothing is deployed, for another part does that on hosts."""
    try:
        count_words(demo, work)
    finally:
        demo.run(SPARKVAULT, "local", "down", "--if-up", shown="sparkvault local down")


def deploy(demo: Demo, aws: EmbeddedAws) -> None:
    """The real CDK CLI deploys all stacks into the emulated account."""
    demo.headline("1. Deploy all stacks with the real CDK CLI into an emulated AWS account")
    bootstrap(aws, [ROOT / "node_modules" / ".bin" / "cdk"])
    options = ["--config", CONFIGURATION, "--yes"]
    engine = docker_engine()
    if engine is None:
        options.append("--without-images")
        demo.note("container images", "not built or pushed: no Docker engine is reachable here")
    demo.run(SPARKVAULT, "deploy", *options, shown=f"sparkvault deploy {' '.join(options)}")
    note_stacks(demo, aws)


def note_stacks(demo: Demo, aws: Aws) -> None:
    """What is deployed in the account, for the summary."""
    report = aws.client("cloudformation").describe_stacks()["Stacks"]
    stacks = [stack["StackName"] for stack in report if stack["StackName"] != "CDKToolkit"]
    resources = 0
    for name in stacks:
        pages = aws.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=name)
        resources += sum(len(page["StackResourceSummaries"]) for page in pages)
    demo.note("stacks deployed", f"{len(stacks)} ({', '.join(sorted(stacks))})")
    demo.note("resources", f"{resources} in the emulated account {aws.account_id}, {aws.region}")


def count_words(demo: Demo, work: Path) -> None:
    """A real Spark cluster counts the words of a book-sized text; an independent count must agree."""
    demo.headline("2. Start a real Spark cluster on this machine")
    demo.run(SPARKVAULT, "local", "up", shown="sparkvault local up")
    demo.note("Spark master's web UI", demo.run(SPARKVAULT, "ui", "master", shown="sparkvault ui master").strip())
    demo.headline("3. Count the words of a book-sized text")
    text = work / "text.txt"
    answer = work / "counts"
    demo.run(sys.executable, "examples/text.py", str(text), shown=f"python examples/text.py {text.name}")
    demo.note("input", f"{text.stat().st_size / 1e6:.1f} MB of text")
    demo.run(
        SPARKVAULT,
        *("submit", "examples/word_count.py", str(text), "--top", str(TOP), "--output", str(answer)),
        shown=f"sparkvault submit examples/word_count.py {text.name} --top {TOP} --output counts",
    )
    job = json.loads(demo.run(SPARKVAULT, "jobs", "--json", shown="sparkvault jobs --json"))[0]
    demo.note("job", f"{job['spec']['id']} {job['state']}")
    check(demo, text, answer)


def check(demo: Demo, text: Path, answer: Path) -> None:
    """Compare Spark's counts with counts made without Spark. Raises DemoError where they differ."""
    expected = Counter(re.findall(r"[a-z]+(?:'[a-z]+)*", text.read_text(encoding="utf-8").lower()))
    counted: Counter[str] = Counter()
    for part in sorted(answer.glob("part-*")):
        for line in part.read_text(encoding="utf-8").splitlines():
            word, count = line.split("\t")
            counted[word] += int(count)
    if counted != expected:
        wrong = [word for word in expected | counted if expected[word] != counted[word]]
        raise DemoError(f"Spark's counts differ from an independent count for {len(wrong)} words, e.g. {wrong[:3]}")
    top = ", ".join(f"{word} {count}" for word, count in expected.most_common(TOP))
    demo.note("top words", top)
    demo.note("checked", f"all {len(expected)} counts equal an independent count without Spark")


def destroy(demo: Demo, aws: EmbeddedAws) -> None:
    """Everything is removed again, and nothing is left in the account."""
    demo.headline("4. Destroy all stacks")
    options = ["--config", CONFIGURATION, "--yes"]
    demo.run(SPARKVAULT, "destroy", *options, shown=f"sparkvault destroy {' '.join(options)}")
    left = leftovers(aws)
    if left:
        raise DemoError(f"left in the emulated account: {left}")
    demo.note("left in the account", "nothing")
