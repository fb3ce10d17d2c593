"""What the Spark master says of its cluster, read from its web UI's JSON page."""

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class WorkerInfo(_Answer):
    """A worker as the master sees it; memory in MiB."""

    id: str
    webuiaddress: str
    state: str
    cores: int
    coresused: int
    memory: int
    memoryused: int


class ApplicationInfo(_Answer):
    """An application as the master sees it."""

    id: str
    name: str
    state: str
    cores: int


class MasterInfo(_Answer):
    """The page as a whole (org.apache.spark.deploy.JsonProtocol.writeMasterState)."""

    url: str
    status: str
    cores: int
    coresused: int
    memory: int
    memoryused: int
    workers: list[WorkerInfo]
    activeapps: list[ApplicationInfo]

    @property
    def alive_workers(self) -> list[WorkerInfo]:
        """Workers that take executors."""
        return [worker for worker in self.workers if worker.state == "ALIVE"]


def ask_master(ui: str, timeout: float = 3.0) -> MasterInfo | None:
    """What the master at that address says; None where it does not answer sensibly."""
    answer = get_json(f"{ui}/json/", timeout)
    try:
        return MasterInfo.model_validate(answer)
    except ValidationError:
        return None


def get_json(url: str, timeout: float = 3.0) -> Any:
    """The JSON at a loopback address, past any proxy; None where there is none."""
    if not url.startswith("http://127.0.0.1:"):
        raise ValueError(f"not a loopback address: {url}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout) as response:
            return json.load(response)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError):
        return None
