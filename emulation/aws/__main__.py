"""`python -m emulation.aws`: the embedded AWS for people, in the foreground until Ctrl-C."""

from __future__ import annotations

import argparse
import shlex

from emulation.aws.embedded import EmbeddedAws
from emulation.ending import Ending


def main() -> int:
    """Start the server, print what to export, wait for Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m emulation.aws", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="loopback port (default: a free one)")
    parser.add_argument("--region", default="eu-central-1")
    parser.add_argument("--hosts", choices=("absent", "external"), default="absent", help="who sends creation signals")
    options = parser.parse_args()
    ended = Ending()
    with EmbeddedAws(region=options.region, hosts=options.hosts, port=options.port) as aws:
        print(f"# Embedded AWS: account {aws.account_id}, region {aws.region}, {aws.endpoint}. Ctrl-C ends it.")
        print("unset " + " ".join(["AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"]))
        for name, value in aws.exports().items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        ended.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
