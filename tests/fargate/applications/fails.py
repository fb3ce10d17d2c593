"""Ends with the exit code that it is given, without a single executor."""

import sys

print("about to fail", flush=True)
sys.exit(int(sys.argv[1]))
