"""Many small files, as shuffles and Python's imports make them: written, listed, looked at, read, removed.

`small_files.py FOLDER SECONDS` prints a line of JSON with files a second. Runs inside the image.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

FILES = 200
CONTENT = b"x" * 4096


def main(folder: str, seconds: float) -> None:
    """As many rounds as fit, one at least."""
    rounds = 0
    started = time.monotonic()
    while not rounds or time.monotonic() - started < seconds:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            place = Path(name)
            for number in range(FILES):
                (place / f"{number}").write_bytes(CONTENT)
            for file in place.iterdir():
                if file.stat().st_size != len(CONTENT) or file.read_bytes() != CONTENT:
                    sys.exit(f"{file} is not what was written")
        rounds += 1
    print(json.dumps({"files_s": rounds * FILES / (time.monotonic() - started)}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
