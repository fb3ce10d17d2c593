"""What the supported EC2 instance types offer: vCPU, memory, SMT, Nitro Enclaves, nested virtualization.

Sources: the EC2 instance type pages (vCPU and memory per size) and the Nitro Enclaves user guide,
"Requirements and considerations" (which types may be parents: four or more vCPU on Intel and AMD with SMT,
two or more on Graviton; bare metal never).
"""

from dataclasses import dataclass
from typing import Literal

Architecture = Literal["x86_64", "arm64"]

#: vCPU of each size that is the same in every family listed below.
_COMMON_SIZES: dict[str, int] = {"large": 2, "xlarge": 4, "2xlarge": 8, "4xlarge": 16}

#: A Nitro host runs at most four enclaves (Nitro Enclaves user guide).
MAX_ENCLAVES_PER_HOST = 4


@dataclass(frozen=True)
class InstanceFamily:
    """A family of instance types whose memory grows with its vCPU.

    ``threads_per_core`` is 2 where vCPU are hyper-threads and 1 where each is a core of its own.
    """

    gib_per_vcpu: int
    sizes: dict[str, int]
    architecture: Architecture = "x86_64"
    threads_per_core: Literal[1, 2] = 2
    nested_virtualization: bool = False


@dataclass(frozen=True)
class InstanceType:
    """One instance type; memory in MiB."""

    name: str
    vcpu: int
    memory_mib: int
    architecture: Architecture
    threads_per_core: Literal[1, 2]
    supports_enclaves: bool
    nested_virtualization: bool
    metal: bool

    @property
    def runs_virtual_machines(self) -> bool:
        """Whether KVM is to be had on it: bare metal, or nested virtualization that can be switched on."""
        return self.metal or self.nested_virtualization


def _sizes(*larger: tuple[str, int]) -> dict[str, int]:
    return _COMMON_SIZES | dict(larger)


_INTEL_5_COMPUTE = _sizes(("9xlarge", 36), ("12xlarge", 48), ("18xlarge", 72), ("24xlarge", 96), ("metal", 96))
_INTEL_5 = _sizes(("8xlarge", 32), ("12xlarge", 48), ("16xlarge", 64), ("24xlarge", 96), ("metal", 96))
_INTEL_6 = _sizes(
    ("8xlarge", 32), ("12xlarge", 48), ("16xlarge", 64), ("24xlarge", 96), ("32xlarge", 128), ("metal", 128)
)
_AMD_6 = _sizes(
    ("8xlarge", 32),
    ("12xlarge", 48),
    ("16xlarge", 64),
    ("24xlarge", 96),
    ("32xlarge", 128),
    ("48xlarge", 192),
    ("metal", 192),
)
_INTEL_7 = _sizes(
    ("8xlarge", 32), ("12xlarge", 48), ("16xlarge", 64), ("24xlarge", 96), ("48xlarge", 192), ("metal-24xl", 96)
)
_INTEL_8 = _sizes(
    ("8xlarge", 32), ("12xlarge", 48), ("16xlarge", 64), ("24xlarge", 96), ("32xlarge", 128), ("48xlarge", 192)
)
_GRAVITON = _sizes(("8xlarge", 32), ("12xlarge", 48), ("16xlarge", 64), ("metal", 64))
_GRAVITON_8 = _sizes(("8xlarge", 32), ("12xlarge", 48), ("16xlarge", 64), ("24xlarge", 96), ("48xlarge", 192))

#: The families this project supports. c5 and m5 are the defaults; the rest are what people swap in.
#: c5n is left out: its 2.625 GiB a vCPU do not fit this description.
FAMILIES: dict[str, InstanceFamily] = {
    "c5": InstanceFamily(2, _INTEL_5_COMPUTE),
    "c5d": InstanceFamily(2, _INTEL_5_COMPUTE),
    "m5": InstanceFamily(4, _INTEL_5),
    "m5d": InstanceFamily(4, _INTEL_5),
    "m5n": InstanceFamily(4, _INTEL_5),
    "r5": InstanceFamily(8, _INTEL_5),
    "r5d": InstanceFamily(8, _INTEL_5),
    "c6i": InstanceFamily(2, _INTEL_6),
    "m6i": InstanceFamily(4, _INTEL_6),
    "r6i": InstanceFamily(8, _INTEL_6),
    "c6a": InstanceFamily(2, _AMD_6),
    "m6a": InstanceFamily(4, _AMD_6),
    "c7i": InstanceFamily(2, _INTEL_7),
    "m7i": InstanceFamily(4, _INTEL_7),
    "r7i": InstanceFamily(8, _INTEL_7),
    "c8i": InstanceFamily(2, _INTEL_8, nested_virtualization=True),
    "m8i": InstanceFamily(4, _INTEL_8, nested_virtualization=True),
    "r8i": InstanceFamily(8, _INTEL_8, nested_virtualization=True),
    "c6g": InstanceFamily(2, _GRAVITON, "arm64", 1),
    "m6g": InstanceFamily(4, _GRAVITON, "arm64", 1),
    "r6g": InstanceFamily(8, _GRAVITON, "arm64", 1),
    "c7g": InstanceFamily(2, _GRAVITON, "arm64", 1),
    "m7g": InstanceFamily(4, _GRAVITON, "arm64", 1),
    "r7g": InstanceFamily(8, _GRAVITON, "arm64", 1),
    "c8g": InstanceFamily(2, _GRAVITON_8, "arm64", 1),
    "m8g": InstanceFamily(4, _GRAVITON_8, "arm64", 1),
    "r8g": InstanceFamily(8, _GRAVITON_8, "arm64", 1),
}

#: Types above the minimum size that still cannot be parents of enclaves (Nitro Enclaves user guide).
_NO_ENCLAVES = {f"{family}7i.{size}" for family in "cmr" for size in ("24xlarge", "48xlarge")}


def _describe(family: str, size: str) -> InstanceType:
    of = FAMILIES[family]
    vcpu = of.sizes[size]
    name = f"{family}.{size}"
    metal = size.startswith("metal")
    least_vcpu = 4 if of.threads_per_core == 2 else 2
    return InstanceType(
        name=name,
        vcpu=vcpu,
        memory_mib=vcpu * of.gib_per_vcpu * 1024,
        architecture=of.architecture,
        threads_per_core=of.threads_per_core,
        supports_enclaves=not metal and vcpu >= least_vcpu and name not in _NO_ENCLAVES,
        nested_virtualization=of.nested_virtualization and not metal,
        metal=metal,
    )


#: Every supported instance type by its name.
INSTANCE_TYPES: dict[str, InstanceType] = {
    f"{family}.{size}": _describe(family, size) for family in FAMILIES for size in FAMILIES[family].sizes
}
