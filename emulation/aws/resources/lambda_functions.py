"""Lambda functions as records: their code is stored, nothing executes it."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from emulation.aws.resources.provider import Context, Made, NeedsReplacement, Properties, Provider, tag_map, without

_DEFAULTS: dict[str, Any] = {"Description": "", "Environment": {}, "Layers": [], "MemorySize": 128, "Timeout": 3}


class Function(Provider):
    """A function."""

    type_name = "AWS::Lambda::Function"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateFunction."""
        name = properties.get("FunctionName") or context.name()
        given = without(properties, "Tags", "FunctionName", "Code", "ReservedConcurrentExecutions")
        wanted = given | {"FunctionName": name}
        wanted |= {"Code": _code(properties), "Tags": tag_map(properties)}
        wanted.setdefault("Architectures", ["x86_64"])
        arn = context.call("lambda", "create_function", wanted)["FunctionArn"]
        _reserve(context, name, properties)
        return Made(name, {"Arn": arn})

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """UpdateFunctionCode and UpdateFunctionConfiguration."""
        if any(old.get(name) != new.get(name) for name in ("FunctionName", "PackageType")):
            raise NeedsReplacement
        function = {"FunctionName": made.physical_id}
        if old["Code"] != new["Code"]:
            context.call("lambda", "update_function_code", function | _code(new))
        fixed = ("Code", "Tags", "FunctionName", "PackageType", "Architectures", "ReservedConcurrentExecutions")
        if without(old, *fixed) != without(new, *fixed):
            gone = {name: _DEFAULTS[name] for name in old if name not in new and name in _DEFAULTS}
            context.call("lambda", "update_function_configuration", function | gone | without(new, *fixed))
        _reserve(context, made.physical_id, new)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteFunction."""
        context.try_delete("lambda", "delete_function", {"FunctionName": made.physical_id})


def _reserve(context: Context, name: str, properties: Properties) -> None:
    if "ReservedConcurrentExecutions" in properties:
        reserved = {"FunctionName": name, "ReservedConcurrentExecutions": properties["ReservedConcurrentExecutions"]}
        context.call("lambda", "put_function_concurrency", reserved)


def _code(properties: Properties) -> dict[str, Any]:
    code = dict(properties["Code"])
    if "ZipFile" in code:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            suffix = ".py" if str(properties.get("Runtime", "")).startswith("python") else ".js"
            archive.writestr(f"index{suffix}", code["ZipFile"])
        code["ZipFile"] = packed.getvalue()
    return code


class Permission(Provider):
    """Who may invoke a function."""

    type_name = "AWS::Lambda::Permission"

    def create(self, context: Context, properties: Properties) -> Made:
        """AddPermission."""
        statement = context.name(100)
        context.call("lambda", "add_permission", dict(properties) | {"StatementId": statement})
        return Made(statement, {"Id": statement})

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """RemovePermission."""
        place = {"FunctionName": properties["FunctionName"], "StatementId": made.physical_id}
        context.try_delete("lambda", "remove_permission", place)
