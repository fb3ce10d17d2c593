"""The same source makes the same layers, so that a registry and a host take only what has changed."""

import pytest

from emulation.engine import Engine
from sparkvault.spark_images import BUILD_TIMEOUT_SECONDS


@pytest.mark.campaign
@pytest.mark.timeout(2 * BUILD_TIMEOUT_SECONDS)
def test_a_build_from_nothing_makes_the_same_layers(engine: Engine, submit_image: str) -> None:
    """On one day: Debian's packages are the newest of their suite."""
    tag = "sparkvault/again:two-builds"
    engine.spark_image_anew("submit", tag, print)
    client = engine.client()
    try:
        first, second = (client.images.get(name).attrs["RootFS"]["Layers"] for name in (submit_image, tag))
        client.images.remove(tag)
    finally:
        client.close()
    assert [one == other for one, other in zip(first, second, strict=True)] == [True] * len(first)
