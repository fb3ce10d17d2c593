"""Entry point of the server process; announces its port on standard output, ends when standard input closes."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import threading
from pathlib import Path

from emulation.aws.embedded import SIMULATED_NSM_ROOT


def main() -> None:
    """Serve on 127.0.0.1 until the parent goes away."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--private", type=Path, required=True, help="folder of this server, removed when it ends")
    parser.add_argument("--hosts", choices=("absent", "external"), required=True)
    options = parser.parse_args()
    threading.Thread(target=_end_with_parent, args=(options.private,), daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    # moto reads these when its modules are imported.
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "true"

    from werkzeug.serving import make_server

    from emulation.aws.server import moto_corrections
    from emulation.aws.server.application import Application
    from emulation.aws.server.cloudformation_api import CloudFormationApi

    from moto.moto_server.werkzeug_app import MotoRequestHandler  # isort: skip

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", options.port, Application(), threaded=True, request_handler=MotoRequestHandler)
    os.environ["MOTO_PORT"] = str(server.port)
    CloudFormationApi.endpoint = f"http://localhost:{server.port}"
    CloudFormationApi.hosts = options.hosts
    moto_corrections.simulated_nsm_root = options.private / SIMULATED_NSM_ROOT
    print(server.port, flush=True)
    server.serve_forever()


def _end_with_parent(private: Path) -> None:
    """The pipe on standard input closes when the parent ends, even by SIGKILL."""
    sys.stdin.buffer.read()
    shutil.rmtree(private, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()
