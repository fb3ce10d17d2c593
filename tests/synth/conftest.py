"""What the template tests share: the application under each configuration, and snapshots as readable files."""

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.support.synth_app import Synthesised, synthesised
from tests.support.synth_snapshot import TemplateSnapshotExtension
from tests.support.synth_variants import VARIANTS


@pytest.fixture(params=sorted(VARIANTS))
def application(request: pytest.FixtureRequest) -> Synthesised:
    """The whole application, once for each configuration."""
    return synthesised(request.param)


def _with(*targets: str) -> list[str]:
    return sorted(name for name, given in VARIANTS.items() if set(targets) & set(given.get("targets", ["swarm"])))


@pytest.fixture(params=_with("swarm"))
def application_with_hosts(request: pytest.FixtureRequest) -> Synthesised:
    """The same where target swarm is among the targets."""
    return synthesised(request.param)


@pytest.fixture(params=_with("swarm", "yarn"))
def application_with_any_hosts(request: pytest.FixtureRequest) -> Synthesised:
    """The same where any target has hosts of ours."""
    return synthesised(request.param)


@pytest.fixture
def template_snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """A snapshot of a template: one YAML file."""
    return snapshot.use_extension(TemplateSnapshotExtension)
