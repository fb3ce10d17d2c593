"""Part `swarm`: hosts that boot from the deployed templates, a swarm of them, and word counts over its overlay."""

import re
import sys
import time
from collections import Counter
from functools import cache
from pathlib import Path

from emulation.aws import EmbeddedAws, bootstrap
from emulation.demo.local import note_stacks
from emulation.demo.steps import ROOT, Demo, DemoError, console
from emulation.ec2 import Ec2EmulationError, EmulatedEc2, check_host_programs
from emulation.engine import EngineError, engine_lease
from spark_constructs.naming import bucket_name
from spark_constructs.tenant_permissions import tenant_prefix

CONFIGURATION = "emulation/demo/deployment.yaml"
#: As the configuration has them.
CLUSTER, TENANT = "demo", "default"
SPARKVAULT = str(Path(sys.executable).parent / "sparkvault")
TOP = 10
WORKERS = 2


def run(demo: Demo, aws: EmbeddedAws, work: Path) -> None:
    """Deploy onto emulated hosts, count words, add a host, count again. `aws` has no hosts: another account is used."""
    reason = why_not()
    if reason:
        demo.note("swarm", f"not shown here: {reason}")
        return
    with engine_lease() as engine, EmbeddedAws(hosts="external") as account, EmulatedEc2(account, engine) as ec2:
        bootstrap(account, [ROOT / "node_modules" / ".bin" / "cdk"])
        on_hosts(Demo(ec2.environment(demo.environment), demo.rows), ec2, work)


@cache
def why_not() -> str:
    """Why this machine cannot have emulated hosts, found out by starting an engine; empty where it can."""
    try:
        check_host_programs()
        with engine_lease():
            return ""
    except (Ec2EmulationError, EngineError) as missing:
        return str(missing)


def on_hosts(demo: Demo, ec2: EmulatedEc2, work: Path) -> None:
    """Everything that needs the hosts."""
    demo.headline("Deploy all stacks; their instances boot as hosts with real systemd and real Docker engines")
    options = ["--config", CONFIGURATION, "--yes"]
    demo.run(SPARKVAULT, "deploy", *options, shown=f"sparkvault deploy {' '.join(options)}")
    note_stacks(demo, ec2.aws)
    [manager] = ec2.hosts("manager")
    nodes = manager.run(["docker", "node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.ManagerStatus}}"]).stdout
    demo.note("hosts", ", ".join(f"{host.role} {host.address}" for host in ec2.hosts()))
    demo.note("nodes of the swarm", "; ".join(nodes.strip().splitlines()))
    text = work / "swarm-text.txt"
    demo.run(sys.executable, "examples/text.py", str(text), shown=f"python examples/text.py {text.name}")
    address = put(demo, ec2, text)
    count_words(demo, text, address, "word count on the swarm")
    demo.headline("One more host")
    target = ["--target", "swarm", "--config", CONFIGURATION]
    demo.run(SPARKVAULT, "scale", str(WORKERS + 1), *target, shown=f"sparkvault scale {WORKERS + 1} --target swarm")
    ec2.wait_for_hosts(WORKERS + 1, "worker")
    running = f"{WORKERS + 1}/{WORKERS + 1}"
    command = ["docker", "service", "ls", "--filter", "name=spark-worker", "--format", "{{.Replicas}}"]
    started = time.monotonic()
    manager.wait_for("a Spark worker on the new host", lambda: running in manager.run(command).stdout)
    demo.note("a host more", f"its Spark worker runs {time.monotonic() - started:.0f} s after the group has it")
    count_words(demo, text, address, "and after scaling out")


def put(demo: Demo, ec2: EmulatedEc2, text: Path) -> str:
    """Put the text where the tenant's jobs may read it; its address."""
    bucket = bucket_name(CLUSTER, "jobs", ec2.aws.account_id, ec2.aws.region)
    key = f"{tenant_prefix(TENANT)}{text.name}"
    demo.headline("Put the text into the bucket")
    console.print(f"[dim]$ aws s3 cp {text.name} s3://{bucket}/{key}[/]")
    ec2.aws.client("s3").upload_file(str(text), bucket, key)
    return f"s3a://{bucket}/{key}"


def count_words(demo: Demo, text: Path, address: str, what: str) -> None:
    """A job on the swarm, its most frequent words compared with a count without Spark. Raises DemoError."""
    demo.headline("Count words over the overlay")
    submission = ["submit", "--target", "swarm", "--config", CONFIGURATION]
    printed = demo.run(
        *(SPARKVAULT, *submission, "examples/word_count.py", address, "--top", str(TOP)),
        shown=f"sparkvault submit --target swarm examples/word_count.py {address} --top {TOP}",
    )
    expected = Counter(re.findall(r"[a-z]+(?:'[a-z]+)*", text.read_text(encoding="utf-8").lower()))
    missing = [word for word, count in expected.most_common(3) if f"{count:,}  {word}\n" not in printed]
    if missing:
        raise DemoError(f"the job's output lacks the right count of {', '.join(missing)}")
    demo.note(what, "succeeded, counts equal an independent count")
