"""The instance types on record: sizes, and who may run enclaves or virtual machines."""

import pytest

from spark_constructs.fargate_sizes import FARGATE_MEMORY_MIB, is_offered, smallest_fitting
from spark_constructs.instance_types import INSTANCE_TYPES


@pytest.mark.parametrize(
    ("name", "vcpu", "gib"),
    [("c5.xlarge", 4, 8), ("m5.2xlarge", 8, 32), ("c5.18xlarge", 72, 144), ("r5.large", 2, 16), ("m7g.large", 2, 8)],
)
def test_sizes_are_those_of_aws(name: str, vcpu: int, gib: int) -> None:
    assert (INSTANCE_TYPES[name].vcpu, INSTANCE_TYPES[name].memory_mib) == (vcpu, gib * 1024)


@pytest.mark.parametrize(
    ("name", "supported"),
    [
        ("c5.large", False),
        ("c5.xlarge", True),
        ("m5.metal", False),
        ("m7g.large", True),
        ("m7i.24xlarge", False),
        ("m7i.16xlarge", True),
    ],
)
def test_enclaves_need_a_virtualized_type_with_enough_cores(name: str, supported: bool) -> None:
    assert INSTANCE_TYPES[name].supports_enclaves is supported


@pytest.mark.parametrize(
    ("name", "runs"), [("m8i.2xlarge", True), ("m5.metal", True), ("m5.24xlarge", False), ("c7i.4xlarge", False)]
)
def test_virtual_machines_need_metal_or_nested_virtualization(name: str, runs: bool) -> None:
    assert INSTANCE_TYPES[name].runs_virtual_machines is runs


@pytest.mark.parametrize(
    ("vcpu", "memory", "offered"),
    [(1, 2048, True), (1, 9216, False), (8, 20480, True), (8, 18432, False), (3, 8192, False)],
)
def test_fargate_offers_certain_pairs_only(vcpu: float, memory: int, offered: bool) -> None:
    assert is_offered(vcpu, memory) is offered


def test_the_smallest_fitting_fargate_size_is_offered_and_large_enough() -> None:
    for vcpu in (0.1, 0.25, 1, 1.5, 3, 16):
        for memory in (1, 600, 5000, 31_000, 120 * 1024):
            size = smallest_fitting(vcpu, memory)
            assert size is not None
            assert is_offered(size.vcpu, size.memory_mib)
            assert size.vcpu >= vcpu
            assert size.memory_mib >= memory
    assert smallest_fitting(17, 1) is None
    assert smallest_fitting(1, max(FARGATE_MEMORY_MIB[16]) + 1) is None
