"""The application, synthesised once per configuration and process: starting the CDK takes seconds, reading does not."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aws_cdk import App, Stack
from cdk_nag import AwsSolutionsChecks

import app as composition_root
from spark_constructs.config_source import load_mapping
from tests.support.synth_variants import VARIANTS

Template = dict[str, Any]


@dataclass(frozen=True)
class Synthesised:
    """What came out of one synthesis."""

    app: App
    folder: tempfile.TemporaryDirectory[str]
    """The cloud assembly; it goes when the last reference to it goes."""
    templates: dict[str, Template]
    """By construct id: Storage, Network, …"""
    manifest: dict[str, Any]
    violations: list[str]
    """What cdk-nag objects to, one line each."""

    @property
    def directory(self) -> Path:
        """The cloud assembly."""
        return Path(self.folder.name)

    def template(self, stack: str) -> Template:
        """The template of one stack by its construct id."""
        return self.templates[stack]


@cache
def synthesised(variant: str) -> Synthesised:
    """The whole application under one of the configurations in `synth_variants`."""
    deployment = load_mapping(VARIANTS[variant], variant)
    return synthesise(lambda app: composition_root.build(app, deployment))


def synthesise(build: Callable[[App], object], context: dict[str, object] | None = None) -> Synthesised:
    """Whatever `build` puts into an application of the product's own kind, checked by cdk-nag."""
    folder = tempfile.TemporaryDirectory(prefix="sparkvault-synth-")
    app = composition_root.create_app(context, outdir=folder.name)
    build(app)
    return _read(app, folder)


def synthesise_alone(build: Callable[[Stack], object]) -> Synthesised:
    """Whatever `build` puts into a bare stack of a bare application: someone else's, without any of our settings."""
    folder = tempfile.TemporaryDirectory(prefix="sparkvault-synth-")
    app = App(outdir=folder.name, analytics_reporting=False)
    build(Stack(app, "Alone"))
    return _read(app, folder)


def _read(app: App, folder: tempfile.TemporaryDirectory[str]) -> Synthesised:
    report = AwsSolutionsChecks(app).validate_scope(app)
    app.synth()
    directory = Path(folder.name)
    return Synthesised(
        app=app,
        folder=folder,
        templates={
            path.name.removesuffix(".template.json"): json.loads(path.read_text())
            for path in sorted(directory.glob("*.template.json"))
        },
        manifest=json.loads((directory / "manifest.json").read_text()),
        violations=[
            f"{violation.rule_name} on {resource.construct_path}"
            for violation in report.violations
            for resource in violation.violating_resources
        ],
    )
