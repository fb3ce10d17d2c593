# shellcheck shell=bash
# Who this host is, as user data wrote it down.

HOST_FILE=/etc/sparkvault/host.json

# host_value KEY [FILE]: a value of the host file by its dotted key; nothing where it is null or missing.
host_value() {
  python3 - "$1" "${2:-$HOST_FILE}" <<'PYTHON'
import json
import sys

key, path = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    value = json.load(file)
for part in key.split("."):
    value = value.get(part) if isinstance(value, dict) else None
if value is not None:
    print(value)
PYTHON
}
