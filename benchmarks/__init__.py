"""Benchmarks: what is measured, how, and how it is reported. `python -m benchmarks NAME` runs one."""
