"""``sparkvault-yarn-launcher VERB [JOB TENANT]``: what the SSM documents of a YARN cluster run on its master."""

from __future__ import annotations

import os
import sys

from sparkvault_host.errors import HostError
from sparkvault_host.launcher.rules import load_rules

from .errors import YarnHostError
from .master import Master

_OF_A_JOB = ("submit", "cancel", "run")


def main(arguments: list[str]) -> int:
    """0 done, 1 failed, 2 refused. What goes wrong is one line on standard error."""
    rules = load_rules()
    verb, job_id, tenant = (*arguments, "", "", "")[:3]
    of_a_job = verb in _OF_A_JOB and len(arguments) == 3 and rules.is_job_id(job_id)
    if not of_a_job and arguments != ["status"]:
        print(f"usage: sparkvault-yarn-launcher {'|'.join(_OF_A_JOB)} JOB TENANT | status", file=sys.stderr)
        return 2
    try:
        master = Master.read()
        os.environ["AWS_DEFAULT_REGION"] = master.region
        if of_a_job and tenant not in master.tenants:
            raise YarnHostError(f"there is no tenant {tenant!r}")
        if verb == "submit":
            from .job_submit import submit

            submit(job_id, tenant, master, rules)
            print("started")
        elif verb == "run":
            from .job_run import run

            return run(job_id, tenant, master)
        elif verb == "cancel":
            from .job_run import cancel

            print("cancelling" if cancel(job_id, tenant, master) else "not running")
        else:
            from .cluster_status import report

            print(report(master))
    except (HostError, YarnHostError) as error:
        print(f"sparkvault: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
