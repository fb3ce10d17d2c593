"""Says goodbye with an exit code of its own; needs a module that lies beside it."""

import sys

from beside_exit_42 import CODE  # type: ignore[import-not-found]

print("arguments:", sys.argv[1:])
sys.exit(CODE)
