"""The command line `sparkvault`."""
