"""Where the project lies on this machine, and the folder for what is made at work."""

import json
import os
from pathlib import Path

from spark_constructs.config import Deployment
from spark_constructs.config_source import CONTEXT_KEY, load_context, load_file
from sparkvault.errors import SparkvaultError, UsageError

#: Names the work folder, where it shall not be `.sparkvault` in the project.
WORK_FOLDER_VARIABLE = "SPARKVAULT_HOME"


def project_root() -> Path:
    """The folder that holds `app.py` and `cdk.json`. Raises SparkvaultError where the package stands without them."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "cdk.json").is_file():
        raise SparkvaultError(
            "sparkvault runs from a clone of its project, and there is none around this installation",
            "clone the project, run `make setup` in it, and use its .venv/bin/sparkvault",
        )
    return root


def work_folder_path() -> Path:
    """Where the work folder lies, whether or not it is there."""
    given = os.environ.get(WORK_FOLDER_VARIABLE)
    return Path(given).expanduser().absolute() if given else project_root() / ".sparkvault"


def work_folder() -> Path:
    """The work folder, made if need be, readable by its owner alone.

    Raises SparkvaultError where it cannot be written: a read-only or full disk, a file in its place.
    """
    folder = work_folder_path()
    probe = folder / f".writable-{os.getpid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise SparkvaultError(
            f"the work folder {folder} cannot be written: {error.strerror}",
            f"free some space or mend its permissions, or name another folder in {WORK_FOLDER_VARIABLE}",
        ) from error
    return folder


def load_deployment(config: Path | None) -> Deployment:
    """The configuration in that file, or else in the project's cdk.json. Raises ConfigError, UsageError."""
    if config is not None:
        return load_file(config)
    path = project_root() / "cdk.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "mend it, or give a file with --config") from error
    return load_context(settings.get("context", {}).get(CONTEXT_KEY), f"{path.name}, context {CONTEXT_KEY}")
