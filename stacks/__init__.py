"""The stacks: one file each, composed by `app.py`."""
