"""Snapshots of templates: one YAML file per stack, which a pull request shows as a readable difference."""

from typing import Any

import yaml
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from syrupy.location import PyTestLocation
from syrupy.types import SnapshotIndex


class _Dumper(yaml.SafeDumper):
    """Repeats what is the same instead of pointing at it, and shows a script line by line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


class TemplateSnapshotExtension(SingleFileSnapshotExtension):
    """One file per template, named after the stack alone."""

    _write_mode = WriteMode.TEXT
    file_extension = "yaml"

    def serialize(self, data: Any, **_: Any) -> str:
        """The template as YAML, in the order in which the CDK writes it."""
        return yaml.dump(
            data, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True, default_flow_style=False
        )

    @classmethod
    def get_snapshot_name(cls, *, test_location: PyTestLocation, index: SnapshotIndex = 0) -> str:
        """The name that the test gives, so that the file is called `Network.yaml`."""
        return str(index)
