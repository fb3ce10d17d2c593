"""Part `fargate`: stack deployed, a job whose driver and executors are tasks, nothing left, and what it would cost."""

import json
import re
import sys
from collections import Counter
from pathlib import Path

from emulation.aws import EmbeddedAws, bootstrap
from emulation.demo.steps import ROOT, Demo, DemoError
from emulation.ecs import EmulatedEcs
from emulation.ecs.deployed import deployed_ecs
from emulation.ecs.price import cost_usd

CONFIGURATION = "emulation/demo/fargate.yaml"
SPARKVAULT = str(Path(sys.executable).parent / "sparkvault")
TOP = 10
EXECUTORS = 2


def run(demo: Demo, aws: EmbeddedAws, work: Path) -> None:
    """Deploy, count words, show tasks and price, destroy. In an account of its own: nothing else is in it."""
    with EmbeddedAws(region=aws.region) as account:
        environment = account.environment(demo.environment)
        own = Demo(environment, demo.rows)
        options = ["--config", CONFIGURATION, "--yes"]
        own.headline("Fargate 1: deploy the stack with the real CDK CLI into an emulated AWS account")
        bootstrap(account, [ROOT / "node_modules" / ".bin" / "cdk"])
        own.run(SPARKVAULT, "deploy", *options, shown=f"sparkvault deploy {' '.join(options)}")
        with deployed_ecs(account, work / "fargate") as deployed:
            ecs = deployed.emulated
            count_words(Demo(environment | {"AWS_ENDPOINT_URL_ECS": ecs.endpoint}, demo.rows), ecs, work)
        own.headline("Fargate 3: destroy the stack")
        own.run(SPARKVAULT, "destroy", *options, shown=f"sparkvault destroy {' '.join(options)}")


def count_words(demo: Demo, ecs: EmulatedEcs, work: Path) -> None:
    """A job without a single flag for Fargate; its counts compared with a count without Spark. Raises DemoError."""
    demo.headline("Fargate 2: count words; driver and executors are real processes behind an emulated ECS")
    text = work / "fargate-text.txt"
    demo.run(sys.executable, "examples/text.py", str(text), shown=f"python examples/text.py {text.name}")
    target = ["--target", "fargate", "--config", CONFIGURATION]
    bucket = f"s3a://serverless-jobs-123456789012-{ecs.service.account.region}"
    # The text is data, in the tenant's own prefix of the bucket, as a job's input would be.
    demo.run(
        sys.executable,
        "-c",
        f"import boto3, sys; boto3.client('s3').upload_file(sys.argv[1], '{bucket[6:]}', 'tenants/default/text.txt')",
        str(text),
        shown=f"aws s3 cp {text.name} s3://…/tenants/default/text.txt",
    )
    flags = ["--num-executors", str(EXECUTORS), "--conf", "spark.log.level=WARN"]
    submission = ["submit", *target, *flags, "examples/word_count.py"]
    printed = demo.run(
        *(SPARKVAULT, *submission, f"{bucket}/tenants/default/text.txt", "--top", str(TOP)),
        shown=f"sparkvault {' '.join(submission)} s3a://…/tenants/default/text.txt --top {TOP}",
    )
    expected = Counter(re.findall(r"[a-z]+(?:'[a-z]+)*", text.read_text(encoding="utf-8").lower()))
    missing = [word for word, count in expected.most_common(3) if not re.search(rf"\b{count:,}\s+{word}\b", printed)]
    if missing:
        raise DemoError(f"the job's output lacks the right count of {', '.join(missing)}")
    jobs = demo.run(SPARKVAULT, "jobs", *target, "--json", shown="sparkvault jobs --target fargate --json")
    left = ecs.service.running()
    if left:
        raise DemoError(f"tasks that still run: {[task.definition_arn for task in left]}")
    tasks = list(ecs.service.tasks.values())
    seconds = sum(task.seconds_paid for task in tasks)
    demo.note("job on Fargate", f"{json.loads(jobs)[0]['state']}, counts equal an independent count")
    demo.note("tasks", f"{len(tasks)}: {', '.join(task.family for task in tasks)}; all stopped")
    demo.note("price", f"about ${cost_usd(tasks):.4f} at list prices for {seconds:.0f} task-seconds of this emulation")
