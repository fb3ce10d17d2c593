"""gVisor's ways to share files: which of them keep shared folders shared, and which of those is the fastest."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, median

from assets.yarn.sparkvault_yarn import node_host, render
from benchmarks.isolation.containers import in_background, said, shared
from benchmarks.isolation.measures import Figures, Measure, fio, small_files
from benchmarks.isolation.samples import ByFigure
from emulation.yarn import downloads
from emulation.yarn.bare_node import BareNode
from emulation.yarn.errors import YarnEmulationError
from emulation.yarn.node_engine import RUNSC_FLAGS

#: What comes with no flag: `--overlay2=root:self --directfs=true --file-access=exclusive --file-access-mounts=shared`.
BASELINE = "runsc-as-it-comes"

#: Runtime → flags beside those that this machine needs. Meant to fail are the last two: what a container writes, or
#: what its host writes, must be seen by the other: YARN hands scripts, tokens, logs and shuffle files over in folders.
SETTINGS: Mapping[str, tuple[str, ...]] = {
    BASELINE: (),
    "runsc-overlay-in-memory": ("--overlay2=root:memory",),
    "runsc-without-overlay": ("--overlay2=none",),
    "runsc-without-directfs": ("--directfs=false",),
    # Goes with no overlay alone.
    "runsc-root-revalidated": ("--overlay2=none", "--file-access=shared"),
    "runsc-mounts-exclusive": ("--file-access-mounts=exclusive",),
    "runsc-overlay-everywhere": ("--overlay2=all:self",),
}
VARIANTS: Mapping[str, Sequence[str]] = {name: (*RUNSC_FLAGS, *more) for name, more in SETTINGS.items()}

#: A setting is worth leaving the default for from here on: less is the machine's own noise.
WORTH = 1.1
#: With fewer samples a ratio between settings is a hint: on a shared machine one sample is off by a third and more.
ENOUGH = 3
_FLAG = re.compile(r"^\s+-([\w-]+)", re.MULTILINE)
_SEEN_SECONDS = 3.0
_READY_SECONDS = 30.0

#: Looks for a file that is not there, says so, writes one itself, and waits for the host's. A cache that never asks
#: again answers from what it saw first.
_LOOK = """
cat /shared/from-host 2>/dev/null
echo mine > /shared/from-container
echo ready
for i in $(seq 30); do
    if [ "$(cat /shared/from-host 2>/dev/null)" = theirs ]; then echo seen; exit 0; fi
    sleep 0.1
done
echo stale
"""


def measures() -> list[Measure]:
    """The part of all measures that files decide."""
    chosen = {"fio_rootfs_randwrite", "fio_shared_randread", "fio_shared_randwrite"}
    found = [measure for place in ("rootfs", "shared") for measure in fio(place) if measure.name in chosen]
    return [*found, small_files("rootfs"), small_files("shared")]


def known_flags(program: Path) -> set[str]:
    """The flags that this runsc has. Raises YarnEmulationError."""
    try:
        done = subprocess.run([str(program), "flags"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise YarnEmulationError(f"{program.name} does not say which flags it has: {error}") from error
    return set(_FLAG.findall(done.stdout + done.stderr))


def installed_flags() -> set[str]:
    """Of the runsc that containers run under here."""
    return known_flags(downloads.runsc(lambda text: None))


def possible(known: set[str]) -> tuple[dict[str, Sequence[str]], list[str]]:
    """Those variants whose flags runsc has, and what is to be said of the others."""
    fit, missing = {}, []
    for name, flags in VARIANTS.items():
        unknown = [flag for flag in flags if flag.removeprefix("--").partition("=")[0] not in known]
        if unknown:
            missing.append(f"{name}: the installed runsc does not know {' '.join(unknown)}")
        else:
            fit[name] = flags
    return fit, missing


def visibility(node: BareNode, runtime: str) -> Figures:
    """1 where the host sees what a running container wrote to a shared folder, and the other way round; 0 where not."""
    options = shared(node)
    folder = Path(options[1].split(":")[0])
    for name in ("from-host", "from-container"):
        (folder / name).unlink(missing_ok=True)
    try:
        with in_background(node, runtime, ["sh", "-c", _LOOK], says="ready", options=options) as container:
            from_container = _written(folder / "from-container", "mine")
            (folder / "from-host").write_text("theirs", encoding="utf-8")
            seen = said(container, "seen", "stale", seconds=2 * _SEEN_SECONDS + _READY_SECONDS) == "seen"
            return {"host_sees": float(from_container), "container_sees": float(seen)}
    finally:
        with contextlib.suppress(OSError):
            (folder / "from-host").unlink(missing_ok=True)


def _written(file: Path, content: str) -> bool:
    """Whether the file has that content soon: the container has said that it wrote it."""
    deadline = time.monotonic() + _SEEN_SECONDS
    while time.monotonic() < deadline:
        if file.exists() and file.read_text(encoding="utf-8").strip() == content:
            return True
        time.sleep(0.1)
    return False


@dataclass(frozen=True)
class Verdict:
    """What the sweep found of one setting."""

    runtime: str
    flags: str
    host_sees: bool | None
    container_sees: bool | None
    speed: float | None
    """Geometric mean of its figures ÷ those of the baseline; None where one of both was not measured."""
    samples: int = ENOUGH
    """The least number of samples among those figures."""

    @property
    def safe(self) -> bool:
        """Whether shared folders are shared, both ways; what was not looked at is not safe."""
        return bool(self.host_sees and self.container_sees)


def verdicts(found: ByFigure) -> list[Verdict]:
    """One for each setting that was measured at all."""
    made = []
    for name, more in SETTINGS.items():
        seen = {
            side: (min(values) == 1.0 if (values := found.get(side, {}).get(name)) else None)
            for side in ("host_sees", "container_sees")
        }
        speed = _speed(found, name)
        if speed is not None or None not in seen.values():
            counts = [len(by_runtime.get(name, ())) for figure, by_runtime in found.items() if _counts(figure)]
            flags = " ".join(more) or "none"
            made.append(Verdict(name, flags, seen["host_sees"], seen["container_sees"], speed, min(counts, default=0)))
    return made


def _counts(figure: str) -> bool:
    """Whether the figure is one of those that say how fast a setting is."""
    return figure.endswith(("_iops", "_files_s"))


def _speed(found: ByFigure, runtime: str) -> float | None:
    ratios = []
    for figure, by_runtime in found.items():
        if _counts(figure):
            own, under = by_runtime.get(runtime), by_runtime.get(BASELINE)
            if not own or not under:
                return None
            ratios.append(median(own) / median(under))
    return geometric_mean(ratios) if ratios else None


def best(found: Sequence[Verdict]) -> Verdict | None:
    """The fastest of the safe ones, and the defaults where nothing is worth leaving them; None if they fail too."""
    safe = [one for one in found if one.safe and one.speed is not None]
    usual = next((one for one in safe if one.runtime == BASELINE), None)
    fastest = max(safe, key=lambda one: one.speed or 0.0, default=None)
    if usual is not None and (fastest is None or (fastest.speed or 0.0) < WORTH):
        return usual
    return fastest


def kata_settings() -> dict[str, str]:
    """How Kata shares files by our configuration: not measured here, as it needs KVM."""
    wanted = ("shared_fs", "virtio_fs_cache", "virtio_fs_cache_size", "virtio_fs_extra_args", "block_device_driver")
    template = (render.TEMPLATES / "kata-configuration.toml").read_text(encoding="utf-8")
    # A node fills these two in; what its code names is what hosts get.
    node = Path(node_host.__file__).read_text(encoding="utf-8")
    for name in ("virtio_fs_cache", "virtio_fs_dax_mib"):
        given = re.search(rf'"{name}": "([^"]*)"', node)
        template = template.replace(f"{{{{{name}}}}}", given[1] if given else "chosen by the node")
    found = (line.partition("=") for line in template.splitlines() if not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in found if name.strip() in wanted}
