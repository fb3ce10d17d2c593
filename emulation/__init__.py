"""Emulated surroundings for tests, the demo and explicit options; the product never imports it by default."""
