"""`sparkvault synth`, `diff`, `deploy`, `destroy`: the CDK with our app, and what belongs around it."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError

from spark_constructs.config import Deployment
from spark_constructs.naming import stack_name
from sparkvault.account import Account
from sparkvault.archives import put_archives
from sparkvault.boot_reports import boot_failures
from sparkvault.cdk import Cdk, SynthesizedStack
from sparkvault.cli.options import ConfigOption, JsonOption, StacksArgument, YesOption
from sparkvault.console import Progress, confirm, out, print_json, progress, result, say, table
from sparkvault.errors import SparkvaultError, UsageError
from sparkvault.image_inputs import put_plugin
from sparkvault.images import forget_digests, record_digests
from sparkvault.lifecycle import empty_buckets, lift_protection
from sparkvault.project import load_deployment
from sparkvault.toolchain import docker_engine


class Method(StrEnum):
    """How CloudFormation is given the templates."""

    CHANGE_SET = "change-set"
    DIRECT = "direct"


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command()(synth)
    app.command()(diff)
    app.command()(deploy)
    app.command()(destroy)


def synth(stacks: StacksArgument = None, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Synthesize and check the templates, without an account."""
    cdk = Cdk(load_deployment(config))
    with progress("synthesizing"):
        cdk.synth()
    chosen = cdk.chosen(stacks or [])
    if json:
        print_json(
            [{"name": stack.name, "template": stack.template, "resources": stack.resource_count()} for stack in chosen]
        )
        return
    shown = table("stack", "resources", "template")
    for stack in chosen:
        shown.add_row(stack.name, str(stack.resource_count()), str(stack.template))
    out.print(shown)


def diff(stacks: StacksArgument = None, config: ConfigOption = None) -> None:
    """Show what deploying would change; exit 0 if nothing, 1 if something."""
    deployment = load_deployment(config)
    Account(deployment)
    cdk = Cdk(deployment)
    with progress("synthesizing"):
        cdk.synth()
    if cdk.diff(cdk.chosen(stacks or [])):
        raise typer.Exit(1)
    result("no difference: what is deployed is what the configuration says")


def deploy(
    stacks: StacksArgument = None,
    config: ConfigOption = None,
    yes: YesOption = False,
    without_images: Annotated[
        bool, typer.Option("--without-images", help="Deploy without building and pushing the container images.")
    ] = False,
    replace_failed: Annotated[
        bool, typer.Option("--replace-failed", help="Replace stacks whose creation failed before.")
    ] = False,
    method: Annotated[Method, typer.Option(help="How CloudFormation is given the templates.")] = Method.CHANGE_SET,
    json: JsonOption = False,
) -> None:
    """Deploy the stacks into the account, after checking what a deployment needs."""
    deployment = load_deployment(config)
    if without_images:
        deployment = _without_images(deployment)
    account = Account(deployment)
    account.check_bootstrap()
    builds = deployment.images.source == "build"
    if builds and not stacks:
        # The images are among all stacks: what they lack is said before the synthesis, which takes its time.
        _prepare_images(deployment)
    cdk = Cdk(deployment)
    with progress("synthesizing"):
        cdk.synth()
    chosen = cdk.chosen(stacks or [])
    if builds and stacks and any(_holds_images(wave, deployment) for wave in waves(chosen, cdk.stacks(), deployment)):
        _prepare_images(deployment)
        with progress("synthesizing"):
            cdk.synth()  # again only if the plugin's jar was not among the images' files yet
    account.check_deployable((stack.name for stack in chosen), replace_failed=replace_failed)
    _check_quota(account)
    if not yes:
        if not cdk.diff(chosen):
            result("no difference: nothing to deploy")
            return
        if not confirm(f"Deploy {len(chosen)} stacks into account {account.id}, {account.region}?"):
            raise UsageError("nothing was deployed", "answer y, or use --yes where there is no terminal")
    with progress(f"deploying into account {account.id}, {account.region}") as tell:
        started = datetime.now(UTC)
        try:
            digests: dict[str, str] = {}
            for wave in waves(chosen, cdk.stacks(), deployment):
                cdk.deploy(wave, method.value, _StackProgress(tell))
                if _holds_images(wave, deployment):
                    # Both before the stacks that read them are deployed.
                    digests |= record_digests(account, deployment)
                    if builds:
                        put_archives(account, tell)
        except SparkvaultError as error:
            raise _with_reasons(error, account, chosen, started) from error
        except KeyboardInterrupt:
            say("interrupted: CloudFormation goes on by itself; `sparkvault status` shows how far it is")
            raise
    if deployment.images.source == "none":
        say("no images were built or pushed (images.source is none): hosts and tasks cannot start Spark")
    _report(account, chosen, digests, json=json)


def destroy(
    stacks: StacksArgument = None,
    config: ConfigOption = None,
    yes: YesOption = False,
) -> None:
    """Destroy the stacks. Data stays unless both switches in `storage` are set."""
    deployment = _without_images(load_deployment(config))  # which are not needed to know what to destroy
    account = Account(deployment)
    cdk = Cdk(deployment)
    with progress("synthesizing"):
        cdk.synth()
    chosen = cdk.chosen(stacks or [])
    names = [stack.name for stack in chosen if account.stack(stack.name) is not None]
    if not names:
        result("nothing to destroy: none of the stacks is deployed")
        return
    deletes = deployment.storage.may_delete(deployment.cluster)
    fate = "DELETED with all data in them" if deletes else "kept"
    say(f"stacks: {', '.join(names)}; buckets, keys and logs will be {fate}")
    if not yes and not confirm(f"Destroy them in account {account.id}, {account.region}?"):
        raise UsageError("nothing was destroyed", "answer y, or use --yes where there is no terminal")
    with progress("destroying") as tell:
        lift_protection(account, names)
        if deletes:
            empty_buckets(account, names, tell)
        try:
            cdk.destroy(chosen, _StackProgress(tell))
        except SparkvaultError as error:
            raise _with_reasons(error, account, chosen, datetime.now(UTC)) from error
        if len(chosen) == len(cdk.stacks()):
            forget_digests(account, deployment)
    left = [name for name in names if account.stack(name) is not None]
    if left:
        raise SparkvaultError(f"still there: {', '.join(left)}", "see `sparkvault status`, and try again")
    result(f"destroyed {len(names)} stacks" + ("" if deletes else "; data was kept, as the configuration says"))


def _without_images(deployment: Deployment) -> Deployment:
    return deployment.model_copy(update={"images": deployment.images.model_copy(update={"source": "none"})})


def waves(
    chosen: list[SynthesizedStack], everything: list[SynthesizedStack], deployment: Deployment
) -> list[list[SynthesizedStack]]:
    """The stacks in the order of deployment: first the images and what needs none, then what reads their digests.

    ``everything``: dependencies first. What the second wave needs is in the first one even where it was not chosen, as
    a stack that is deployed alone reads the images' digests, and the archives in the job bucket, too.
    """
    images = next((stack.id for stack in everything if _holds_images([stack], deployment)), None)
    if deployment.images.source == "none" or images is None:
        return [chosen]
    second = [stack for stack in chosen if images in stack.dependencies]
    needed = {name for stack in second for name in stack.dependencies}
    first = [
        stack for stack in everything if images not in stack.dependencies and (stack in chosen or stack.id in needed)
    ]
    return [wave for wave in (first, second) if wave]


def _holds_images(wave: list[SynthesizedStack], deployment: Deployment) -> bool:
    return any(stack.name == stack_name(deployment.cluster, "images") for stack in wave)


class _StackProgress:
    """Turns the CDK's event lines into short ones: which stack, how far."""

    _EVENT = re.compile(r"^(?P<stack>[\w-]+) \| +(?P<done>\d+)(/(?P<total>\d+))? \| .*? \| (?P<status>[A-Z_]+) +\| ")

    def __init__(self, tell: Progress) -> None:
        self._tell = tell
        self._last: str | None = None

    def __call__(self, line: str) -> None:
        match = self._EVENT.match(line)
        if match and "FAILED" in match["status"]:
            say(line.strip())
        elif match and match["stack"] != self._last:
            self._last = match["stack"]
            self._tell(f"{match['stack']}: {match['status'].lower().replace('_', ' ')}")


def _prepare_images(deployment: Deployment) -> None:
    """What building the images takes: an engine, and the plugin's jar among their files. Raises SparkvaultError."""
    if docker_engine() is None:
        raise SparkvaultError(
            "the images are built on this machine, and no Docker engine is reachable",
            "start Docker (or set CDK_DOCKER to another engine's client), or deploy with --without-images",
        )
    if "fargate" in deployment.targets:
        put_plugin()


def _check_quota(account: Account) -> None:
    """Hosts that the quota has no room for would fail the deployment; executors have to wait, and it is said."""
    targets = account.deployment.targets
    if "fargate" in targets and (waiting := _shortage(account.fargate_shortage)):
        say(f"{waiting}; ask for more under Service Quotas (Fargate, L-3032A538)")
    if "swarm" in targets and (shortage := _shortage(account.vcpu_shortage)):
        raise SparkvaultError(shortage, "ask for more under Service Quotas (EC2, L-1216C47A), or configure fewer hosts")


def _shortage(look: Callable[[], str | None]) -> str | None:
    try:
        return look()
    except (ClientError, BotoCoreError) as error:
        reason = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        say(f"the quota of vCPU could not be read ({reason}); going on without this check")
        return None


def _with_reasons(
    error: SparkvaultError, account: Account, stacks: list[SynthesizedStack], since: datetime
) -> SparkvaultError:
    """The error, with what CloudFormation says of each stack that failed, and hosts of why they did not boot."""
    reasons = []
    for stack in stacks:
        state = account.stack(stack.name)
        if state is not None and (state.failed or "ROLLBACK" in state.status):
            reasons.append(f"{stack.name} is in {state.status}: {account.failure_reason(stack.name)}")
    for target in account.deployment.targets:
        reasons += [f"a host of {target} did not boot: {reason}" for reason in boot_failures(account, target, since)]
    return SparkvaultError("\n".join(reasons), error.remedy) if reasons else error


def _report(account: Account, stacks: list[SynthesizedStack], digests: dict[str, str], *, json: bool) -> None:
    states = [state for state in (account.stack(stack.name) for stack in stacks) if state is not None]
    if json:
        print_json({"stacks": [vars(state) for state in states], "images": digests})
        return
    shown = table("stack", "state", "resources")
    for state in states:
        shown.add_row(state.name, state.status, str(state.resources))
    out.print(shown)
    outputs = table("output", "value")
    for state in states:
        for key, value in state.outputs.items():
            if not key.startswith("Export"):
                outputs.add_row(key, value)
    out.print(outputs)
    for name, uri in digests.items():
        result(f"image {name}: {uri}")
