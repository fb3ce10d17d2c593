"""Generates the gRPC code from the .proto file: `python -m tests.enclave.generated_protocol` writes it anew."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parents[2] / "assets" / "enclave"
PROTOCOL = PACKAGE_ROOT / "spark_enclave" / "protocol"
NAMES = ("enclave_pb2.py", "enclave_pb2.pyi", "enclave_pb2_grpc.py")

_HEADER = "# Generated from enclave.proto by `python -m tests.enclave.generated_protocol`; do not edit.\n# ruff: noqa\n"


def generate() -> dict[str, str]:
    """File name → text, formatted as everything else here is."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        command = [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{PACKAGE_ROOT}"),
            f"-I{files('grpc_tools') / '_proto'}",
            *(f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}"),
            str(PROTOCOL / "enclave.proto"),
        ]
        subprocess.run(command, check=True, timeout=60)
        made = out / "spark_enclave" / "protocol"
        for name in NAMES:
            path = made / name
            ignored = "# mypy: ignore-errors\n" if name == "enclave_pb2_grpc.py" else ""
            text = path.read_text(encoding="utf-8").replace(", _Mapping]", ", _Mapping[str, object]]")
            path.write_text(_HEADER + ignored + text, encoding="utf-8")
        ruff = [sys.executable, "-m", "ruff", "format", "--quiet", "--line-length", "120", *map(str, made.iterdir())]
        subprocess.run(ruff, check=True, timeout=60)
        return {name: (made / name).read_text(encoding="utf-8") for name in NAMES}


if __name__ == "__main__":
    for file, text in generate().items():
        (PROTOCOL / file).write_text(text, encoding="utf-8")
