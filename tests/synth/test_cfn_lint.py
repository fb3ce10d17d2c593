"""cfn-lint, CloudFormation's own schema and rules, finds nothing in any template of the application."""

import subprocess
import sys
from pathlib import Path

from tests.support.synth_app import synthesised
from tests.support.synth_variants import VARIANTS


def test_cfn_lint_finds_nothing() -> None:
    """In one run for all templates: starting it takes longer than linting."""
    templates = [
        str(path) for variant in VARIANTS for path in sorted(synthesised(variant).directory.glob("*.template.json"))
    ]
    assert len(templates) >= 4 * len(VARIANTS)
    result = subprocess.run(
        [str(Path(sys.executable).with_name("cfn-lint")), "--format", "parseable", *templates],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
