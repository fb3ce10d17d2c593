"""Stops executors that have lost their driver: the last resort, when neither driver nor executors could do it.

Runs as a small function, when a driver's task has stopped and every few minutes besides. Standard library and boto3,
which the function's runtime has.
"""

import os

import boto3

#: Which job a task belongs to: the same on a driver and on its executors.
JOB_TAG = "sparkvault:job"
DESCRIBE_AT_MOST = 100  # ECS API reference, DescribeTasks


def handler(event, context):
    """Stop every executor whose job has no driver any more; answers how many were stopped."""
    ecs = boto3.client("ecs")
    cluster = os.environ["CLUSTER"]
    drivers = families("DRIVER_FAMILIES")
    executors = families("EXECUTOR_FAMILIES")
    # Executors first: one that appears in between belongs to a driver that is then seen, too.
    candidates = [task for family in executors for task in tasks(ecs, cluster, family)]
    alive = {job_of(task) for family in drivers for task in tasks(ecs, cluster, family)}
    orphans = [task for task in candidates if job_of(task) not in alive]
    for task in orphans:
        ecs.stop_task(cluster=cluster, task=task["taskArn"], reason="sparkvault: the driver of this job is gone")
    print(f"{len(candidates)} executors, {len(orphans)} without a driver")
    return {"stopped": len(orphans)}


def families(variable):
    """The task definition families that an environment variable lists."""
    return [name for name in os.environ[variable].split(",") if name]


def tasks(ecs, cluster, family):
    """The tasks of a family that ECS wants to run, with their tags."""
    for page in ecs.get_paginator("list_tasks").paginate(cluster=cluster, family=family, desiredStatus="RUNNING"):
        arns = page["taskArns"]
        for start in range(0, len(arns), DESCRIBE_AT_MOST):
            found = ecs.describe_tasks(cluster=cluster, tasks=arns[start : start + DESCRIBE_AT_MOST], include=["TAGS"])
            yield from found["tasks"]


def job_of(task):
    """The job's id; a task without one is its own, so that it never keeps another alive."""
    return next((tag["value"] for tag in task.get("tags", []) if tag["key"] == JOB_TAG), task["taskArn"])
