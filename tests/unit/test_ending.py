"""Programs that run until Ctrl-C end by it, whenever it comes."""

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Says when it hears, and then only waits; many signals may come while it is about to.
PROGRAM = """
from emulation.ending import Ending
ended = Ending()
assert not ended.wait(0.01)
print("hears", flush=True)
assert ended.wait()
assert ended.wait(0.0)
print("ended", flush=True)
"""


def test_a_signal_that_comes_while_the_program_begins_to_wait_is_heard() -> None:
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == b"hears\n"
            try:
                for _ in range(50):
                    program.send_signal(signal.SIGTERM)
                # Its exit code says nothing: a signal may still come while Python takes its handlers down.
                assert program.communicate(timeout=20)[0] == b"ended\n"
            finally:
                program.kill()
