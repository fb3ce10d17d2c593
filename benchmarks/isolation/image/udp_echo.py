"""Round trips of one small UDP packet between two containers: how late the slow ones are.

`udp_echo.py serve` answers for ever; `udp_echo.py ask ADDRESS SECONDS` prints a line of JSON. Runs inside the image.
"""

import json
import socket
import sys
import time

PORT = 7331
#: A packet that is not back by then is lost.
LOST_SECONDS = 1.0
PACKET = 64


def serve() -> None:
    """Send each packet back to whoever sent it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        # Neighbours reach a container by its own address alone.
        own.bind(("0.0.0.0", PORT))  # noqa: S104
        print("listening", flush=True)
        while True:
            packet, sender = own.recvfrom(2048)
            own.sendto(packet, sender)


def ask(address: str, seconds: float) -> None:
    """Microseconds of 50 and 95 of 100 round trips, one after the other, and how many packets got lost."""
    took: list[float] = []
    lost = number = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.settimeout(LOST_SECONDS)
        own.connect((address, PORT))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            number += 1
            packet = number.to_bytes(8, "big").ljust(PACKET, b".")
            started = time.perf_counter_ns()
            own.send(packet)
            try:
                # An answer that comes too late belongs to an earlier question.
                while own.recv(2048) != packet:
                    continue
            except TimeoutError:
                lost += 1
                continue
            took.append((time.perf_counter_ns() - started) / 1000)
    took.sort()
    if not took:
        sys.exit(f"none of {number} packets came back from {address}")
    told = {"round_trips": len(took), "p50_us": took[len(took) // 2], "p95_us": took[int(len(took) * 0.95)]}
    print(json.dumps({**told, "lost_percent": 100 * lost / number}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        ask(sys.argv[2], float(sys.argv[3]))
