"""Writes the rules for jobs into the host bundle: hosts have the standard library only, and must not trust a client.

``python -m sparkvault.targets.swarm.host_rules`` rewrites the file; a test tells when it is not current.
"""

import json
from pathlib import Path

from spark_constructs.job_interface import DAEMON_UI_PORTS, DRIVER_UI_PORTS, JOB_ID_PATTERN
from spark_constructs.spark_settings import rules_as_data
from sparkvault.spark_submit import FILE_LISTS, SWITCHES, VALUE_FLAGS

RULES_FILE = Path(__file__).parents[4] / "assets/hosts/sparkvault_host/launcher/rules.json"


def content() -> str:
    """What the file should hold."""
    rules: dict[str, object] = {
        "job_id": JOB_ID_PATTERN,
        "value_flags": sorted(VALUE_FLAGS),
        "switches": sorted(SWITCHES),
        "file_lists": sorted(FILE_LISTS),
        **rules_as_data(),
        "daemon_ui_ports": DAEMON_UI_PORTS,
        "driver_ui_ports": list(DRIVER_UI_PORTS),
    }
    return json.dumps(rules, indent=2) + "\n"


if __name__ == "__main__":
    RULES_FILE.write_text(content(), encoding="utf-8")
