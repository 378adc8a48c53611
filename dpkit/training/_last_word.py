"""What a process says after torchrun, which prints a long summary of its own when a process died.

Run as a script: waits in a process of its own until torchrun has ended, and prints the sentence.
"""

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress

WAIT = 60.0  # seconds; a torchrun that goes on for longer has started its processes again


def say_after_torchrun(sentence: str) -> None:
    """Print it on stderr once the torchrun that started this process has ended; no torchrun:
    nothing.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or sys.platform == "win32":
        return
    with suppress(OSError):
        subprocess.Popen(
            [sys.executable, "-I", __file__, str(os.getppid()), sentence],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # torchrun ends those of its own
        )


def main(agent: int, sentence: str) -> None:
    import psutil

    one_of_us = socket.socket(socket.AF_UNIX)  # other processes of the training have it to say, too
    if sys.platform == "linux":
        try:
            one_of_us.bind(f"\0dpkit-{agent}")
        except OSError:
            return
    until = time.monotonic() + WAIT
    with suppress(psutil.NoSuchProcess):
        torchrun = psutil.Process(agent)
        # whoever reads its output may not have fetched its exit code yet
        while torchrun.is_running() and torchrun.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > until:
                return
            time.sleep(0.05)
    print(sentence, file=sys.stderr)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
