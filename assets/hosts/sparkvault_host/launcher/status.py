"""What the swarm and Spark consist of, as one line of JSON without anything secret."""

from __future__ import annotations

import json
from typing import Any

from sparkvault_host.engine_api import EngineApi, EngineError
from sparkvault_host.errors import HostError
from sparkvault_host.launcher.job_service import JOB_LABEL
from sparkvault_host.launcher.overlay import Overlay

#: Run Command keeps 24,000 characters of output: as many hosts as fit.
MAX_NODES = 100


def report(engine: EngineApi) -> str:
    """Nodes, services with wanted and running tasks, and the workers that Spark's master knows."""
    data: dict[str, Any] = {"nodes": nodes(engine), "services": services(engine), "spark": None}
    try:
        data["spark"] = spark(engine)
    except (HostError, OSError, ValueError) as error:
        data["spark_error"] = str(error)[:300]
    return json.dumps(data, separators=(",", ":"))


def nodes(engine: EngineApi) -> list[dict[str, Any]]:
    """The swarm's nodes."""
    return [
        {
            "instance": (node["Spec"].get("Labels") or {}).get("sparkvault.instance"),
            "role": node["Spec"]["Role"],
            "state": node["Status"]["State"],
            "availability": node["Spec"]["Availability"],
            "verified": (node["Spec"].get("Labels") or {}).get("sparkvault.verified") == "true",
            "address": node["Status"].get("Addr"),
            "leader": bool((node.get("ManagerStatus") or {}).get("Leader")),
        }
        for node in (engine.get("/nodes") or [])[:MAX_NODES]
    ]


def services(engine: EngineApi) -> list[dict[str, Any]]:
    """The services that make up Spark, without jobs."""
    try:
        found = engine.get("/services", status=True) or []
    except EngineError:
        found = engine.get("/services") or []
    return [
        {
            "name": service["Spec"]["Name"],
            "running": (service.get("ServiceStatus") or {}).get("RunningTasks", 0),
            "wanted": (service.get("ServiceStatus") or {}).get("DesiredTasks", 0),
        }
        for service in found
        if JOB_LABEL not in (service["Spec"].get("Labels") or {})
    ]


def spark(engine: EngineApi) -> dict[str, Any]:
    """What the master says of itself and its workers (``/json/`` of its web UI)."""
    overlay = Overlay(engine)
    masters = [
        json.loads(overlay.fetch(address, 8080, "/json/")) for address in overlay.addresses_of_kind("spark-master")
    ]
    data = next((each for each in masters if each.get("status") == "ALIVE"), masters[0])
    return {
        "status": data.get("status"),
        "cores": data.get("cores"),
        "cores_used": data.get("coresused"),
        "applications": len(data.get("activeapps", [])),
        "workers": [
            {key: worker.get(key) for key in ("host", "state", "cores", "coresused", "memory", "memoryused")}
            for worker in data.get("workers", [])[:MAX_NODES]
        ],
    }
