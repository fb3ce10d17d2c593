"""Exit code 0 if the Spark master of this container answers."""

import json
import socket
import sys
import urllib.request

URL = f"http://{socket.gethostname()}:8080/json/"

try:
    with urllib.request.urlopen(URL, timeout=4) as answer:
        state = json.load(answer)
except (OSError, ValueError) as error:
    sys.exit(f"the master does not answer: {error}")
if state.get("status") not in ("ALIVE", "STANDBY"):
    sys.exit(f"the master is {state.get('status')}")
