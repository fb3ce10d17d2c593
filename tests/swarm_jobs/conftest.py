"""The launcher's package is the host bundle's: it is imported from there."""

import sys
from pathlib import Path

BUNDLE = str(Path(__file__).parents[2] / "assets/hosts")
if BUNDLE not in sys.path:
    sys.path.insert(0, BUNDLE)
