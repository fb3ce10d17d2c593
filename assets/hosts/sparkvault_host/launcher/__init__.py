"""Runs people's jobs on the swarm: checks what was asked for, and builds the container from a fixed template."""
