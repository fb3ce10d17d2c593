"""The CloudFormation API over HTTP: requests to the engine, answers in the shapes of botocore's service model."""

from __future__ import annotations

from typing import Any, ClassVar, Literal
from urllib.parse import unquote, urlparse

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse, EmptyResult

from emulation.aws.cloudformation.change_sets import ChangeSets
from emulation.aws.cloudformation.document import read_template
from emulation.aws.cloudformation.engine import Engine
from emulation.aws.cloudformation.errors import ValidationError
from emulation.aws.cloudformation.records import ChangeSet, Request, ResourceRecord, Stack


class _Refused(ServiceException):
    """An error of the engine on its way to the caller."""

    def __init__(self, error: ValidationError) -> None:
        super().__init__(str(error))
        self.code = error.code


class CloudFormationApi(BaseResponse):
    """One method per action, named as moto's dispatcher expects."""

    endpoint: ClassVar[str] = ""
    hosts: ClassVar[Literal["absent", "external"]] = "absent"
    _regions: ClassVar[dict[tuple[str, str], tuple[Engine, ChangeSets]]] = {}

    def __init__(self) -> None:
        super().__init__(service_name="cloudformation")
        self.automated_parameter_parsing = True

    def call_action(self) -> Any:
        """Answer one request; the engine's refusals become HTTP 400."""
        try:
            return super().call_action()
        except ValidationError as error:
            status, headers, body = self.serialized(ActionResult(_Refused(error)))
            headers["status"] = status
            status, headers, body = self._transform_response(self.response_headers, (body, headers))
            return status, *self._enrich_response(headers, body)

    # ----------------------------------------------------------------- stacks
    def create_stack(self) -> ActionResult:
        """CreateStack."""
        on_failure = self._get_param("OnFailure") or (
            "DO_NOTHING" if self._get_bool_param("DisableRollback", False) else "ROLLBACK"
        )
        protection = self._get_bool_param("EnableTerminationProtection", False)
        stack = self._engine.create(
            self._get_param("StackName"), self._request(None), on_failure=on_failure, protection=bool(protection)
        )
        return ActionResult({"StackId": stack.stack_id})

    def update_stack(self) -> ActionResult:
        """UpdateStack."""
        stack = self._stack()
        stack.on_failure = "DO_NOTHING" if self._get_bool_param("DisableRollback", False) else "ROLLBACK"
        self._engine.update(stack, self._request(stack))
        return ActionResult({"StackId": stack.stack_id})

    def delete_stack(self) -> EmptyResult:
        """DeleteStack."""
        self._engine.delete(self._get_param("StackName"), tuple(self._get_param("RetainResources", [])))
        return EmptyResult()

    def describe_stacks(self) -> ActionResult:
        """DescribeStacks."""
        name = self._get_param("StackName")
        if name:
            self._engine.settle(self._engine.find(name))
        alive = [stack for stack in self._engine.stacks.values() if stack.deleted is None]
        return ActionResult({"Stacks": [self._described(s) for s in ([self._engine.find(name)] if name else alive)]})

    def list_stacks(self) -> ActionResult:
        """ListStacks."""
        wanted = self._get_param("StackStatusFilter", [])
        stacks = [s for s in self._engine.stacks.values() if not wanted or s.status in wanted]
        return ActionResult({"StackSummaries": [self._described(stack) for stack in stacks]})

    def describe_stack_events(self) -> ActionResult:
        """DescribeStackEvents, newest first."""
        return ActionResult({"StackEvents": [event.as_answer() for event in reversed(self._stack().events)]})

    def list_stack_resources(self) -> ActionResult:
        """ListStackResources."""
        stack = self._stack()
        summaries = [_resource(stack, record) for record in stack.resources.values()]
        return ActionResult({"StackResourceSummaries": summaries})

    def describe_stack_resources(self) -> ActionResult:
        """DescribeStackResources."""
        stack, wanted = self._stack(), self._get_param("LogicalResourceId")
        records = [r for r in stack.resources.values() if wanted in (None, r.logical_id)]
        return ActionResult({"StackResources": [_resource(stack, record) for record in records]})

    def describe_stack_resource(self) -> ActionResult:
        """DescribeStackResource."""
        stack, wanted = self._stack(), self._get_param("LogicalResourceId")
        if wanted not in stack.resources:
            raise ValidationError(f"Resource {wanted} does not exist for stack {stack.name}")
        return ActionResult({"StackResourceDetail": _resource(stack, stack.resources[wanted])})

    def get_template(self) -> ActionResult:
        """GetTemplate: exactly the text that was submitted."""
        change_set = self._get_param("ChangeSetName")
        request = self._change_set().request if change_set else self._stack().request
        return ActionResult({"TemplateBody": request.template_text, "StagesAvailable": ["Original", "Processed"]})

    def get_template_summary(self) -> ActionResult:
        """GetTemplateSummary."""
        if self._get_param("StackName"):
            template = self._stack().request.template
        else:
            template = read_template(self._template_text(None))
        return ActionResult(_summary(template))

    def validate_template(self) -> ActionResult:
        """ValidateTemplate."""
        return ActionResult(_summary(read_template(self._template_text(None))))

    def update_termination_protection(self) -> ActionResult:
        """UpdateTerminationProtection."""
        stack = self._stack()
        stack.termination_protection = bool(self._get_bool_param("EnableTerminationProtection", False))
        return ActionResult({"StackId": stack.stack_id})

    def set_stack_policy(self) -> EmptyResult:
        """SetStackPolicy: kept, not enforced."""
        self._stack().policy = self._get_param("StackPolicyBody")
        return EmptyResult()

    def get_stack_policy(self) -> ActionResult:
        """GetStackPolicy."""
        return ActionResult({"StackPolicyBody": self._stack().policy})

    def signal_resource(self) -> EmptyResult:
        """SignalResource."""
        self._engine.signal(
            self._get_param("StackName"),
            self._get_param("LogicalResourceId"),
            self._get_param("UniqueId"),
            self._get_param("Status"),
        )
        return EmptyResult()

    def list_exports(self) -> ActionResult:
        """ListExports."""
        exports = [
            {"ExportingStackId": stack.stack_id, "Name": output.export, "Value": output.value}
            for stack, output in self._engine.exports()
        ]
        return ActionResult({"Exports": exports})

    def list_imports(self) -> ActionResult:
        """ListImports."""
        name = self._get_param("ExportName")
        importers = self._engine.importers(name)
        if not importers:
            raise ValidationError(f"Export '{name}' is not imported by any stack.")
        return ActionResult({"Imports": importers})

    # ------------------------------------------------------------ change sets
    def create_change_set(self) -> ActionResult:
        """CreateChangeSet."""
        kind = self._get_param("ChangeSetType") or "UPDATE"
        stack = self._stack() if kind == "UPDATE" else None
        made = self._change_sets.create(
            self._get_param("StackName"),
            self._get_param("ChangeSetName"),
            kind,
            self._request(stack),
            description=self._get_param("Description"),
            on_stack_failure=self._get_param("OnStackFailure"),
        )
        return ActionResult({"Id": made.change_set_id, "StackId": made.stack.stack_id})

    def describe_change_set(self) -> ActionResult:
        """DescribeChangeSet."""
        found = self._change_set()
        return ActionResult(
            _change_set_summary(found)
            | {
                "Changes": found.changes,
                "Capabilities": list(found.request.capabilities),
                "Tags": _tags(found.request.tags),
                "Parameters": _parameters(found.request.parameters),
                "NotificationARNs": list(found.request.notification_arns),
            }
        )

    def list_change_sets(self) -> ActionResult:
        """ListChangeSets."""
        found = self._change_sets.of(self._get_param("StackName"))
        return ActionResult({"Summaries": [_change_set_summary(one) for one in found]})

    def delete_change_set(self) -> EmptyResult:
        """DeleteChangeSet."""
        self._change_sets.delete(self._get_param("ChangeSetName"), self._get_param("StackName"))
        return EmptyResult()

    def execute_change_set(self) -> EmptyResult:
        """ExecuteChangeSet."""
        self._change_sets.execute(
            self._get_param("ChangeSetName"),
            self._get_param("StackName"),
            disable_rollback=bool(self._get_bool_param("DisableRollback", False)),
        )
        return EmptyResult()

    @classmethod
    def engine_of(cls, account: str, region: str) -> Engine:
        """CloudFormation of an account and region; raises `KeyError` where it has never been called."""
        return cls._regions[account, region][0]

    # -------------------------------------------------------------- internals
    @property
    def _region(self) -> tuple[Engine, ChangeSets]:
        key = (self.current_account, self.region)
        if key not in self._regions:
            engine = Engine(self.current_account, self.region, self.endpoint, self.hosts)
            self._regions.setdefault(key, (engine, ChangeSets(engine)))
        return self._regions[key]

    @property
    def _engine(self) -> Engine:
        return self._region[0]

    @property
    def _change_sets(self) -> ChangeSets:
        return self._region[1]

    def _stack(self) -> Stack:
        return self._engine.find(self._get_param("StackName"))

    def _change_set(self) -> ChangeSet:
        return self._change_sets.find(self._get_param("ChangeSetName"), self._get_param("StackName"))

    def _request(self, before: Stack | None) -> Request:
        text = self._template_text(before)
        template = read_template(text)
        parameters: dict[str, str] = {}
        for item in self._get_param("Parameters", []):
            name = item["ParameterKey"]
            if item.get("UsePreviousValue") and before is not None:
                if name in before.request.parameters:
                    parameters[name] = before.request.parameters[name]
            else:
                parameters[name] = item.get("ParameterValue", "")
        return Request(
            template_text=text,
            template=template,
            parameters=parameters,
            tags={tag["Key"]: tag["Value"] for tag in self._get_param("Tags", [])},
            capabilities=tuple(self._get_param("Capabilities", [])),
            role_arn=self._get_param("RoleARN"),
            notification_arns=tuple(self._get_param("NotificationARNs", [])),
            token=self._get_param("ClientRequestToken"),
        )

    def _template_text(self, before: Stack | None) -> str:
        if before is not None and self._get_bool_param("UsePreviousTemplate", False):
            return before.request.template_text
        body, url = self._get_param("TemplateBody"), self._get_param("TemplateURL")
        if body:
            return str(body)
        if not url:
            raise ValidationError("Either Template URL or Template Body must be specified.")
        # The CDK CLI names the object by this server's own address (bucket in the path) or by S3's public one.
        address = urlparse(url)
        host, path = address.netloc.split(":")[0], unquote(address.path).lstrip("/")
        bucket_first = host == "localhost" or host.startswith(("s3.", "s3-"))
        bucket, key = path.split("/", 1) if bucket_first else (host.split(".")[0], path)
        answer = self._engine.account.client("s3").get_object(Bucket=bucket, Key=key)
        return str(answer["Body"].read().decode())

    def _described(self, stack: Stack) -> dict[str, Any]:
        secret = {n for n, rule in (stack.request.template.get("Parameters") or {}).items() if rule.get("NoEcho")}
        given = {
            name: str(rule.get("Default", ""))
            for name, rule in (stack.request.template.get("Parameters") or {}).items()
        } | stack.request.parameters
        return {
            "StackId": stack.stack_id,
            "StackName": stack.name,
            "ChangeSetId": stack.change_set_id,
            "Description": stack.request.template.get("Description"),
            "TemplateDescription": stack.request.template.get("Description"),
            "Parameters": _parameters({name: "****" if name in secret else text for name, text in given.items()}),
            "CreationTime": stack.created,
            "LastUpdatedTime": stack.updated,
            "DeletionTime": stack.deleted,
            "StackStatus": stack.status,
            "StackStatusReason": stack.reason,
            "DisableRollback": stack.on_failure == "DO_NOTHING",
            "NotificationARNs": list(stack.request.notification_arns),
            "Capabilities": list(stack.request.capabilities),
            "Outputs": [
                {"OutputKey": o.key, "OutputValue": o.value, "Description": o.description, "ExportName": o.export}
                for o in stack.outputs
            ],
            "RoleARN": stack.request.role_arn,
            "Tags": _tags(stack.request.tags),
            "EnableTerminationProtection": stack.termination_protection,
            "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"},
        }


def _tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _parameters(parameters: dict[str, str]) -> list[dict[str, str]]:
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]


def _resource(stack: Stack, record: ResourceRecord) -> dict[str, Any]:
    return {
        "StackId": stack.stack_id,
        "StackName": stack.name,
        "LogicalResourceId": record.logical_id,
        "PhysicalResourceId": record.physical_id,
        "ResourceType": record.type,
        "ResourceStatus": record.status,
        "ResourceStatusReason": record.reason,
        "Timestamp": record.changed,
        "LastUpdatedTimestamp": record.changed,
        "DriftInformation": {"StackResourceDriftStatus": "NOT_CHECKED"},
    }


def _change_set_summary(found: ChangeSet) -> dict[str, Any]:
    return {
        "ChangeSetId": found.change_set_id,
        "ChangeSetName": found.name,
        "StackId": found.stack.stack_id,
        "StackName": found.stack.name,
        "Description": found.description,
        "Status": found.status,
        "StatusReason": found.reason,
        "ExecutionStatus": found.execution_status,
        "CreationTime": found.created,
    }


def _summary(template: dict[str, Any]) -> dict[str, Any]:
    return {
        "Description": template.get("Description"),
        "Version": template.get("AWSTemplateFormatVersion"),
        "ResourceTypes": sorted({resource["Type"] for resource in template["Resources"].values()}),
        "Parameters": [
            {
                "ParameterKey": name,
                "DefaultValue": None if "Default" not in rule else str(rule["Default"]),
                "ParameterType": rule.get("Type", "String"),
                "NoEcho": bool(rule.get("NoEcho", False)),
                "Description": rule.get("Description"),
            }
            for name, rule in (template.get("Parameters") or {}).items()
        ],
    }
