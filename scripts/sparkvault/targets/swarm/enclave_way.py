"""The way to an enclave on a worker: a port of this machine, forwarded by Systems Manager to the relay on the host."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from spark_constructs.config import Deployment
from spark_constructs.job_interface import ENCLAVE_PORTS
from sparkvault.account import Account
from sparkvault.console import say
from sparkvault.enclave_reports import enclave_components
from sparkvault.errors import NotAvailable
from sparkvault.targets.remote.documents import Documents
from sparkvault.targets.remote.host_groups import HostGroups
from sparkvault.targets.remote.sessions import Sessions

#: How long the forwarding process may take to end, in seconds; then it is killed.
_END_SECONDS = 5.0


@contextmanager
def enclave_on_a_host(deployment: Deployment, *, stays: bool = False) -> Iterator[str]:
    """Address on this machine of the first enclave of a worker whose enclaves all run, for the length of the block.

    What lies between sees TLS only, which ends in the enclave. ``stays``: the forwarding process goes on when the block
    has ended well. Raises NotAvailable, SparkvaultError.
    """
    account = Account(deployment)
    hosts = enclave_components(account, "swarm", HostGroups(account, deployment).workers())
    running = [host.name for host in hosts if host.healthy]
    if not running:
        said = "; ".join(f"{host.name}: {host.detail or host.state}" for host in hosts) or "there are no workers"
        raise NotAvailable(
            f"no enclave runs on the workers of {deployment.cluster} ({said})", "see `sparkvault status`"
        )
    document = Documents(account, deployment.cluster).name("view.port")
    port, process = Sessions(account).forward(running[0], document, ENCLAVE_PORTS[0])
    try:
        yield f"localhost:{port}"
    except BaseException:
        _end(process)
        raise
    if stays:
        say(f"forwarded by process {process.pid}; end it with `kill {process.pid}`")
    else:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
