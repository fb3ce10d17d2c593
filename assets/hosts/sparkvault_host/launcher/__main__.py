"""``sparkvault-launcher VERB [JOB TENANT]``: what the SSM documents and units of a host run."""

from __future__ import annotations

import sys

from sparkvault_host.engine_api import EngineApi, EngineError
from sparkvault_host.errors import HostError
from sparkvault_host.identity import IdentityError, MetadataError, host_identity, use_region
from sparkvault_host.launcher.errors import NotReadyError
from sparkvault_host.launcher.rules import load_rules

_OF_A_JOB = ("submit", "cancel", "ui", "attach")
#: Exit code that says: the same may be asked again (sparkvault.targets.remote.documents).
_NOT_READY = 3
_OTHERS = ("status", "rotate", "watch", "relay")


def main(arguments: list[str]) -> int:
    """0 done, 1 failed, 2 refused, 3 not ready yet. What goes wrong is one line on standard error."""
    rules = load_rules()
    verb, job_id, tenant = (*arguments, "", "", "")[:3]
    of_a_job = verb in _OF_A_JOB and len(arguments) == 3 and rules.is_job_id(job_id)
    if not of_a_job and not (verb in _OTHERS and len(arguments) == 1):
        usage = "usage: sparkvault-launcher {} JOB TENANT | {}"
        print(usage.format("|".join(_OF_A_JOB), "|".join(_OTHERS)), file=sys.stderr)
        return 2
    try:
        return run(verb, job_id, tenant)
    except HostError as error:
        print(f"sparkvault: {error}", file=sys.stderr)
        early = isinstance(error, (NotReadyError, IdentityError, MetadataError))
        return _NOT_READY if early or (isinstance(error, EngineError) and error.not_ready) else 1


def run(verb: str, job_id: str, tenant: str) -> int:
    """Each verb loads what it needs and no more. ``tenant``: whose job it must be, as the document says."""
    engine, rules = EngineApi(), load_rules()
    if verb == "attach":
        from sparkvault_host.launcher.terminal import attach

        return attach(job_id, tenant, engine)
    if verb == "relay":
        from sparkvault_host.launcher.ui_relay import serve

        serve(engine, rules)
        return 0
    identity = host_identity()
    use_region(identity)
    if verb == "submit":
        from sparkvault_host.launcher.start import submit

        print(submit(job_id, tenant, identity, engine, rules))
    elif verb == "cancel":
        from sparkvault_host.launcher.start import cancel

        print("cancelling" if cancel(job_id, tenant, engine) else "not running")
    elif verb == "ui":
        from sparkvault_host.launcher.start import service_of
        from sparkvault_host.launcher.ui_relay import assign

        service_of(job_id, tenant, engine)
        print(assign(job_id, rules))
    elif verb == "status":
        from sparkvault_host.launcher.status import report

        print(report(engine))
    elif verb == "rotate":
        from sparkvault_host.launcher.rotation import rotate

        print(rotate(engine))
    else:
        from sparkvault_host.launcher.watch import run as watch

        watch(identity, engine)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
