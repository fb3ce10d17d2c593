"""Exit code 0 if the Spark worker of this container answers."""

import json
import socket
import sys
import urllib.request

URL = f"http://{socket.gethostname()}:8081/json/"

try:
    with urllib.request.urlopen(URL, timeout=4) as answer:
        state = json.load(answer)
except (OSError, ValueError) as error:
    sys.exit(f"the worker does not answer: {error}")
if not state.get("masterurl"):
    sys.exit("the worker has no master")
