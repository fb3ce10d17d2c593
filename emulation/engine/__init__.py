"""One Docker engine of our own per machine, for tests and the demo: leased, shared, and ended with its last lease.

It is a real Docker engine with its own data folder and socket; whatever else runs on the machine is left alone. Images
cannot be pulled: `Engine.base_image` makes the base by debootstrap, `Engine.spark_image` builds ours with the
project's own Dockerfile.
"""

from emulation.engine.daemon import Engine
from emulation.engine.errors import EngineError, EngineMissing
from emulation.engine.lease import engine_lease

__all__ = ["Engine", "EngineError", "EngineMissing", "engine_lease"]
