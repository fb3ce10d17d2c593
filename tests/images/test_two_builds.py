"""The same source makes the same layers, so that a registry and a host take only what has changed."""

import pytest

from emulation.engine import Engine
from sparkvault.spark_images import BUILD_TIMEOUT_SECONDS


@pytest.mark.campaign
@pytest.mark.timeout(2 * BUILD_TIMEOUT_SECONDS)
def test_a_build_from_nothing_makes_the_same_layers(engine: Engine, submit_image: str) -> None:
    """On one day, for Debian's packages are the newest of their suite; but for the JVM's own archive of classes."""
    tag = "sparkvault/again:two-builds"
    engine.spark_image_anew("submit", tag, print)
    client = engine.client()
    try:
        first, second = (client.images.get(name).attrs["RootFS"]["Layers"] for name in (submit_image, tag))
        made_by = [step["CreatedBy"] for step in reversed(client.images.get(tag).history()) if step["Size"]]
        client.images.remove(tag)
    finally:
        client.close()
    layers = zip(made_by, first, second, strict=True)
    assert [step for step, one, other in layers if one != other and "/archive/" not in step] == []
