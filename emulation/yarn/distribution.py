"""A stand-in for Hadoop's distribution, whose archive no package registry has: real jars, and what must be around them.

Real are Hadoop's daemons and clients (Maven) and its native library, of an earlier version. Stand-ins are `bin/hdfs`
and `bin/yarn`, which know the verbs that hosts use, and `bin/container-executor`, a setuid starter of
`container_executor.py`.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from emulation.yarn import downloads
from emulation.yarn.errors import YarnEmulationError

_COMPILE_SECONDS = 120
_EXECUTOR = Path(__file__).with_name("container_executor.py")
_STARTER = Path(__file__).with_name("container_executor_starter.c")
_CLASSES = {
    "hdfs": {
        "namenode": "org.apache.hadoop.hdfs.server.namenode.NameNode",
        "datanode": "org.apache.hadoop.hdfs.server.datanode.DataNode",
        "dfs": "org.apache.hadoop.fs.FsShell",
        "dfsadmin": "org.apache.hadoop.hdfs.tools.DFSAdmin",
    },
    "yarn": {
        "resourcemanager": "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager",
        "nodemanager": "org.apache.hadoop.yarn.server.nodemanager.NodeManager",
        "rmadmin": "org.apache.hadoop.yarn.client.cli.RMAdminCLI",
        "application": "org.apache.hadoop.yarn.client.cli.ApplicationCLI application",
        "node": "org.apache.hadoop.yarn.client.cli.NodeCLI",
        "logs": "org.apache.hadoop.yarn.client.cli.LogsCLI",
    },
}
#: Several hosts share two cores and some gigabytes of memory here: the collector and the compiler that start fastest.
_PROGRAM = """\
#!/bin/bash
# Stand-in for Hadoop's own `{name}`: the verbs that hosts use, without its many settings.
set -euo pipefail
home=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd)
settings=${{HADOOP_CONF_DIR:-$home/etc/hadoop}}
case ${{1:-}} in
{cases}
  *) echo "{name} (stand-in): there is no verb ${{1:-}}" >&2; exit 2 ;;
esac
shift
# shellcheck disable=SC2086 # a class with its first argument
exec "$JAVA_HOME/bin/java" -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData \\
  --add-opens java.base/java.lang=ALL-UNNAMED -Dhadoop.home.dir="$home" \\
  -Dhadoop.log.dir="${{HADOOP_LOG_DIR:-/tmp}}" -Dhadoop.root.logger="${{HADOOP_ROOT_LOGGER:-WARN,console}}" \\
  -Djava.library.path="$home/lib/native" ${{HADOOP_OPTS:-}} \\
  -cp "$settings:$home/share/hadoop:$home/share/hadoop/*" $class "$@"
"""
_LOG4J = """\
log4j.rootLogger=${hadoop.root.logger}
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
"""


@dataclass(frozen=True)
class StandInDistribution:
    """The archive, by the name that Hadoop's own has, and its SHA-512."""

    file: Path
    sha512: str


def distribution(progress: Callable[[str], None] = lambda text: None) -> StandInDistribution:
    """Assembled once and kept. Raises YarnEmulationError."""
    jars, native = downloads.hadoop_jars(progress), downloads.native_library(progress)
    small = dict(_small_files())
    content = hashlib.sha256(repr(sorted((name, hashlib.sha256(data).digest()) for name, (data, _) in small.items()))
                             .encode() + jars.name.encode() + native.name.encode()).hexdigest()  # fmt: skip
    name = f"hadoop-{downloads.HADOOP_VERSION}.tar.gz"

    def fill(folder: Path) -> None:
        _assemble(folder / name, jars, native, small)
        with (folder / name).open("rb") as file:
            (folder / "sha512").write_text(hashlib.file_digest(file, "sha512").hexdigest(), encoding="utf-8")

    what = f"assembling a stand-in for {name}"
    folder = downloads.kept(f"distribution-{content[:16]}", what, progress, fill)
    return StandInDistribution(folder / name, (folder / "sha512").read_text(encoding="utf-8"))


def _assemble(archive: Path, jars: Path, native: Path, small: dict[str, tuple[bytes, int]]) -> None:
    top = f"hadoop-{downloads.HADOOP_VERSION}"
    with tarfile.open(archive, "w:gz", compresslevel=1) as packed:

        def add(name: str, content: bytes, mode: int) -> None:
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mode = len(content), mode
            packed.addfile(entry, io.BytesIO(content))

        for name, (content, mode) in sorted(small.items()):
            add(name, content, mode)
        add("lib/native/libhadoop.so", (native / "libhadoop.so").read_bytes(), 0o755)
        # Before the jars on the class path: native code and its classes are of one version.
        for each in sorted((native / "classes").rglob("*.class")):
            add(f"share/hadoop/{each.relative_to(native / 'classes')}", each.read_bytes(), 0o644)
        for jar in sorted(jars.glob("*.jar")):
            add(f"share/hadoop/{jar.name}", jar.read_bytes(), 0o644)
        for pages in ("hdfs", "datanode", "cluster", "node"):
            entry = tarfile.TarInfo(f"{top}/share/hadoop/webapps/{pages}")
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            packed.addfile(entry)


def _small_files() -> Iterator[tuple[str, tuple[bytes, int]]]:
    for name, verbs in _CLASSES.items():
        cases = "\n".join(f"  {verb}) class='{program}' ;;" for verb, program in verbs.items())
        yield f"bin/{name}", (_PROGRAM.format(name=name, cases=cases).encode(), 0o755)
    yield "bin/container-executor", (_starter(), 0o755)
    yield "libexec/container_executor.py", (_EXECUTOR.read_bytes(), 0o644)
    yield "etc/hadoop/log4j.properties", (_LOG4J.encode(), 0o644)


def _starter() -> bytes:
    with tempfile.TemporaryDirectory(prefix="starter-") as folder:
        program = Path(folder) / "container-executor"
        command = ["gcc", "-O1", "-static", "-Wall", "-Werror", "-o", str(program), str(_STARTER)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False)
        except OSError as error:
            raise YarnEmulationError(f"gcc: {error}", "apt-get install gcc libc6-dev") from error
        if done.returncode:
            raise YarnEmulationError(f"{_STARTER.name}: {done.stderr.strip()}", "apt-get install gcc libc6-dev")
        return program.read_bytes()
