"""Reads the deployment configuration from the CDK context or a file, and reports everything wrong at once."""

import copy
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from spark_constructs.config import Deployment
from spark_constructs.config_errors import ConfigError, Problem, closest, shown
from spark_constructs.config_rules import problems_of

#: A configuration is a page or two; anything larger is a wrong file.
MAX_FILE_BYTES = 1024 * 1024

#: The context key of cdk.json that holds the configuration.
CONTEXT_KEY = "sparkvault"

Location = tuple[int | str, ...]

_INDEX = re.compile(r"\[(\d+)\]")

_FORMATS = {
    "cluster": "3 to 24 lower-case letters, digits and hyphens, starting with a letter",
    "account": "12 digits, quoted, for example '123456789012'",
    "region": "a region such as eu-central-1",
    "cidr": "an address range such as 10.20.0.0/16",
    "vpc_cidr": "an address range such as 10.20.0.0/16",
    "vpc_id": "an id such as vpc-0a1b2c3d4e5f60718",
    "private_subnet_ids": "ids such as subnet-0a1b2c3d4e5f60718",
    "private_route_table_ids": "ids such as rtb-0a1b2c3d4e5f60718",
    "availability_zones": "zones such as eu-central-1a",
    "kms_key_arn": "arn:aws:kms:REGION:ACCOUNT:key/ID",
    "key_arn": "arn:aws:kms:REGION:ACCOUNT:key/ID",
    "key": "arn:aws:kms:REGION:ACCOUNT:key/ID",
    "permissions_boundary": "arn:aws:iam::ACCOUNT:policy/NAME",
    "owners": "arn:aws:iam::ACCOUNT:role/NAME",
    "administrators": "arn:aws:iam::ACCOUNT:role/NAME",
    "bucket": "3 to 63 lower-case letters, digits, dots and hyphens",
    "prefix": "a prefix that ends with a slash, such as sales/2026/",
    "worker_memory": "a size such as 6g or 512m",
    "executor_memory": "a size such as 6g or 512m",
    "container_max_memory": "a size such as 6g or 512m",
    "name": "lower-case letters, digits and hyphens, starting with a letter",
    "databases": "lower-case letters, digits and underscores",
    "images": "NAME@sha256:DIGEST",
    "base_image": "NAME@sha256:DIGEST",
    "realm": "upper-case letters, digits, dots and hyphens",
    "version": "a version such as 3.5.0",
    "mirror": "an address that starts with https://",
    "sha512": "128 hexadecimal digits",
    "budget_email": "an e-mail address",
}


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML without repeated keys, which YAML would silently resolve to the last one."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is not text; quote it", key_node.start_mark
            )
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def load_file(path: Path) -> Deployment:
    """The configuration in a YAML (.yaml, .yml) or JSON (.json) file.

    Raises ConfigError with every problem; a file that cannot be read is one of them.
    """
    source = str(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _unreadable(source, f"larger than {MAX_FILE_BYTES} bytes", "name the configuration file")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise _unreadable(source, error.strerror or str(error), "check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise _unreadable(source, "not UTF-8 text", "save it as UTF-8") from error
    return load_mapping(_parse(text, source, json_only=path.suffix == ".json"), source)


def load_context(value: object, source: str = "cdk.json, context sparkvault") -> Deployment:
    """The configuration as the CDK context gives it: a mapping, JSON or YAML text of one, or nothing.

    Raises ConfigError with every problem.
    """
    if isinstance(value, str):
        value = _parse(value, source, json_only=False)
    return load_mapping({} if value is None else value, source)


def load_mapping(raw: object, source: str) -> Deployment:
    """The configuration from plain data. Raises ConfigError with every problem that it has.

    Where fields are malformed, the rules that span fields are still checked on all the others.
    """
    if raw is None:
        raw = {}
    if not isinstance(raw, Mapping):
        raise ConfigError(source, [Problem("(file)", shown(raw), "a mapping of keys was expected", _see_schema())])
    problems: list[Problem] = []
    aside = _SetAside()
    rest: Any = copy.deepcopy(dict(raw))
    while True:
        try:
            deployment = Deployment.model_validate(rest)
            break
        except ValidationError as error:
            details = error.errors(include_url=False)
            problems += aside.restored(map(_described, details))
            aside.remove(rest, {_offending(detail) for detail in details})
    problems += aside.restored(problems_of(deployment))
    if problems:
        raise ConfigError(source, sorted(set(problems), key=lambda problem: problem.path))
    return deployment


class _SetAside:
    """What was taken out of malformed data, so that what is left can be checked and named by its true place."""

    def __init__(self) -> None:
        self._paths: set[str] = set()
        self._indices: dict[str, list[int]] = {}

    def remove(self, data: Any, locations: set[Location]) -> None:
        """Take the values at these places out of the data; last entries of a list first, so that indices hold."""
        taken: list[tuple[str, int]] = []
        for location in sorted(locations, key=_deletion_order, reverse=True):
            *parents, last = location
            holder = data
            try:
                for part in parents:
                    holder = holder[part]
                del holder[last]
            except (KeyError, IndexError):
                continue  # it went with an object around it
            self._paths.add(self.original(_path(location)))
            if isinstance(last, int):
                taken.append(
                    (self.original(_path(tuple(parents))), int(_INDEX.findall(self.original(_path(location)))[-1]))
                )
        for path, index in taken:
            self._indices.setdefault(path, []).append(index)

    def original(self, path: str) -> str:
        """The path as it is in the file, where entries before it were taken out of a list."""
        text, rest = "", path
        while match := _INDEX.search(rest):
            text += rest[: match.start()]
            index = int(match[1])
            for gone in sorted(self._indices.get(text, [])):
                if gone <= index:
                    index += 1
            text += f"[{index}]"
            rest = rest[match.end() :]
        return text + rest

    def restored(self, problems: Iterable[Problem]) -> list[Problem]:
        """The problems at their true places, without those that may only come from something taken out."""
        found = []
        for problem in problems:
            path = self.original(problem.path)
            if not any(path.startswith(gone) or gone.startswith(path) for gone in self._paths):
                found.append(replace(problem, path=path))
        return found


def _parse(text: str, source: str, *, json_only: bool) -> object:
    try:
        if json_only:
            return json.loads(text, object_pairs_hook=_unique_pairs)
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 (it is a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "(file)"
        rule = f"not valid YAML: {error.problem or error.context}"
        raise ConfigError(source, [Problem(where, "(text)", rule, "correct the text at that place")]) from error
    except yaml.YAMLError as error:
        raise _unreadable(source, f"not valid YAML: {error}", "save it as plain text") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        rule = f"not valid JSON: {error.msg}"
        raise ConfigError(source, [Problem(where, "(text)", rule, "correct the text at that place")]) from error
    except _RepeatedKey as error:
        problem = Problem("(file)", shown(error.key), "this key stands twice in one object", "remove one of them")
        raise ConfigError(source, [problem]) from error
    except RecursionError as error:
        raise _unreadable(source, "nested too deeply", _see_schema()) from error


class _RepeatedKey(Exception):
    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(key)


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise _RepeatedKey(key)
        result[key] = value
    return result


def _unreadable(source: str, rule: str, remedy: str) -> ConfigError:
    return ConfigError(source, [Problem("(file)", source, rule, remedy)])


def _see_schema() -> str:
    return "see docs/configuration.md, or run `sparkvault config show` for a whole example"


def _path(location: Location) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "(file)"


def _offending(detail: ErrorDetails) -> Location:
    """The place that must go for the rest to be well-formed: of a missing key, the object that lacks it."""
    location = tuple(part for part in detail["loc"] if part != "[key]")
    return location[:-1] if detail["type"] == "missing" else location


def _deletion_order(location: Location) -> tuple[tuple[bool, int, str], ...]:
    return tuple((isinstance(part, int), part if isinstance(part, int) else 0, str(part)) for part in location)


def _described(detail: ErrorDetails) -> Problem:
    location = tuple(part for part in detail["loc"] if part != "[key]")
    kind, context = detail["type"], detail.get("ctx", {})
    path, value = _path(location), shown(detail["input"])
    name = next((part for part in reversed(location) if isinstance(part, str)), "")
    if kind == "extra_forbidden":
        known = _known_keys(location[:-1])
        near = closest(name, known)
        remedy = f"did you mean {near}?" if near else f"the keys here are {', '.join(known)}"
        return Problem(path, value, "unknown key", remedy)
    if kind == "missing":
        return Problem(path, "(nothing)", "this key is required", f"add {name}")
    if kind == "literal_error":
        return Problem(path, value, "not one of the values that this key takes", f"use one of {context['expected']}")
    if kind == "string_pattern_mismatch":
        wanted = _FORMATS.get(name, f"text that matches {context['pattern']}")
        return Problem(path, value, "not of the right form", f"write {wanted}")
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return Problem(path, value, "a mapping of keys was expected", _see_schema())
    if kind == "list_type":
        return Problem(path, value, "a list was expected", f"write [{value}]")
    if kind == "string_type":
        return Problem(path, value, "text was expected", f"quote it; write {_FORMATS.get(name, 'text')}")
    if kind in ("too_short", "too_long"):
        bound = context.get("min_length", context.get("max_length"))
        return Problem(path, value, f"the list must have {_bound(kind)} {bound} entries", "add or remove entries")
    if kind.startswith(("greater_than", "less_than", "multiple_of")):
        return Problem(path, value, detail["msg"].replace("Input should", "it should"), f"use {_number(kind, context)}")
    return Problem(path, value, detail["msg"].replace("Input should", "it should"), _expected(kind))


def _bound(kind: str) -> str:
    return "at least" if kind == "too_short" else "at most"


def _number(kind: str, context: Mapping[str, Any]) -> str:
    if "ge" in context:
        return f"{context['ge']} or more"
    if "le" in context:
        return f"{context['le']} or less"
    if "multiple_of" in context:
        return f"a multiple of {context['multiple_of']}"
    return f"a number {kind.replace('_', ' ')} {context.get('gt', context.get('lt'))}"


def _expected(kind: str) -> str:
    if kind.startswith("int"):
        return "write a whole number"
    if kind.startswith("float"):
        return "write a number"
    if kind.startswith("bool"):
        return "write true or false"
    return _see_schema()


def _known_keys(location: Location) -> list[str]:
    """The keys that the model at a location knows."""
    model: type[BaseModel] = Deployment
    for part in location:
        if isinstance(part, int):
            continue
        inner = model_in(model.model_fields[part].annotation)
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `X`, `X | None` or `list[X]`, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, list):
        for argument in get_args(annotation):
            found = model_in(argument)
            if found is not None:
                return found
    return None
