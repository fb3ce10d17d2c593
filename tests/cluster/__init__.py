"""The real host bundle on emulated hosts with real systemd and real Docker engines."""
