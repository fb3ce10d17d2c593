"""A module beside an application."""

CODE = 42
