"""Where AWS's own session-manager-plugin is: built where it is not installed, a failure in CI, a skip elsewhere."""

import os
from pathlib import Path

import pytest

from emulation.ssm_sessions.plugin_build import PluginMissing, plugin


def plugin_folder() -> Path:
    """The folder to put on the path."""
    try:
        return plugin().parent
    except PluginMissing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
