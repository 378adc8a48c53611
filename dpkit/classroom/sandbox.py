"""Where student code runs: bubblewrap's command line, and a watch over what it uses.

Inside there is no network, no other process, an empty home and work folder in memory, and nothing
of the disk but what Python needs, read-only. The kernel's own limits (rlimits) bound one process;
the watch bounds them all together, because a limit on the number of processes does not bind root,
and one on memory binds each process alone.
"""

import os
import re
import shutil
import site
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

HOME, WORK, LIBRARY = "/sandbox/home", "/sandbox/work", "/sandbox/library"
SCRATCH = 64 * 2**20  # bytes that may be written to each folder inside
ETC = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/fonts",
)


@dataclass(frozen=True)
class Limits:
    """What a submission may use.

    seconds:   of one cell or one call.
    total:     seconds of one submission, the tests included.
    memory:    bytes, of all processes of one submission together.
    processes: at most so many at once, and eight times as many threads.
    """

    seconds: float = 20.0
    total: float = 600.0
    memory: int = 2 * 2**30
    processes: int = 32


def environment() -> dict:
    """What the worker sees of the environment: nothing of the teacher's."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",
        "IPYTHONDIR": f"{HOME}/.ipython",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DPKIT_DATA": f"{HOME}/data",
        "DPKIT_CACHE": f"{HOME}/cache",
        "PYTHONPATH": os.pathsep.join([LIBRARY, *_site_packages()]),
    }


def _site_packages():
    own = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return [
        folder for folder in dict.fromkeys([*site.getsitepackages(), *own]) if os.path.isdir(folder)
    ]


def command(arguments: Sequence[str], hidden: Sequence[str] = ()) -> list[str]:
    """The command line that runs Python with these arguments in a sandbox.

    hidden: folders that must not be seen even where they lie under something Python needs, e.g.
            below /usr.
    """
    # dpkit itself and not what lies beside it: sources, tests, submissions
    package = Path(__file__).resolve().parents[1]
    seen = ["/usr", *dict.fromkeys([sys.base_prefix, sys.base_exec_prefix, *_site_packages()])]
    words = [
        shutil.which("bwrap"),
        "--unshare-all",
        "--unshare-user",
        *_no_more_namespaces(),
        "--uid",
        "1000",
        "--gid",
        "1000",
        "--hostname",
        "sandbox",
        "--cap-drop",
        "ALL",
        "--new-session",
        "--die-with-parent",
    ]
    for folder in ("/tmp", HOME, WORK):  # first: what Python needs may lie in one of them
        words += ["--size", str(SCRATCH), "--tmpfs", folder]
    for folder in seen:
        words += ["--ro-bind", folder, folder] if not folder.startswith("/usr/") else []
    for folder in ("/bin", "/sbin", "/lib", "/lib64", "/lib32"):
        if os.path.islink(folder):
            words += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            words += ["--ro-bind", folder, folder]
    for path in ETC:
        words += ["--ro-bind-try", path, path]
    for folder in hidden:
        if any(Path(folder).resolve().is_relative_to(place) for place in seen):
            words += [
                "--tmpfs",
                str(Path(folder).resolve()),
                "--remount-ro",
                str(Path(folder).resolve()),
            ]
    words += ["--proc", "/proc", "--dev", "/dev", "--size", str(SCRATCH), "--tmpfs", "/dev/shm"]
    # looking for fonts takes seconds
    for font_list in sorted(Path.home().glob(".cache/matplotlib/fontlist-*.json")):
        words += ["--ro-bind", str(font_list), f"{HOME}/.cache/matplotlib/{font_list.name}"]
    words += ["--ro-bind", str(package), f"{LIBRARY}/dpkit", "--remount-ro", "/dev"]
    if (package / "notebooks").is_dir():  # an installed dpkit: solutions and hidden tests lie there
        words += ["--tmpfs", f"{LIBRARY}/dpkit/notebooks"]
        words += ["--remount-ro", f"{LIBRARY}/dpkit/notebooks"]
    # root outside is the owner of the kernel's settings in /proc/sys inside, too, whatever number
    # it has there
    words += ["--remount-ro", "/proc", "--remount-ro", "/", "--chdir", WORK]
    return [*words, "--", os.path.realpath(sys.executable), "-B", *arguments]


def _no_more_namespaces():
    """Inside, a namespace of one's own would give folders without a limit; bubblewrap can forbid
    that from 0.8.
    """
    version = subprocess.run(
        [shutil.which("bwrap"), "--version"], capture_output=True, text=True
    ).stdout
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    return ["--disable-userns"] if numbers >= [0, 8] else []


def why_not() -> str | None:
    """Why no sandbox can be made here, in one sentence; None where it can."""
    advice = "or add --trust to run the students' code unprotected, as yourself"
    if not sys.platform.startswith("linux"):
        return (
            "student code is shut in by bubblewrap, which is for Linux alone; grade in a "
            f"Linux machine, {advice}"
        )
    if shutil.which("bwrap") is None:
        return (
            "student code is shut in by bubblewrap, which is not installed: sudo apt-get "
            f"install bubblewrap, {advice}"
        )
    try:
        done = subprocess.run(
            command(["-c", "print('inside')"]),
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
    except subprocess.TimeoutExpired:
        return f"bubblewrap did not start Python within a minute; {advice.removeprefix('or ')}"
    if done.stdout == "inside\n":
        return None
    said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return (
        f"bubblewrap is installed but makes no sandbox here ({said}); in a container or where user "
        f"namespaces are forbidden, ask for them to be allowed, {advice}"
    )


# ---- what it uses --------------------------------------------------------------------------------


class Watch(threading.Thread):
    """Looks at all processes below `root` five times a second, and ends them when they are too many
    or too large.

    verdict: why they were ended, as what the student's code did; None so far.
    """

    def __init__(self, root: int, limits: Limits) -> None:
        super().__init__(daemon=True)
        self.root, self.limits, self.verdict = root, limits, None
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.wait(0.2):
            found = below(self.root)
            # not num_threads: a process may name itself so that it reads as one
            threads = _total(found, lambda process: len(process.threads()))
            # 2: bubblewrap's own
            if len(found) > self.limits.processes + 2 or threads > 8 * self.limits.processes:
                self._end(f"started more than {self.limits.processes} processes")
            elif (
                _total(found, _resident) > self.limits.memory
                and _total(found, _shared_out) > self.limits.memory
            ):
                self._end(f"used more than {self.limits.memory / 2**30:.3g} GB of memory")

    def _end(self, verdict):
        if not self._over.is_set():
            self.verdict = verdict
            kill_below(self.root)

    def stop(self) -> None:
        self._over.set()


def below(root: int) -> list[psutil.Process]:
    """Every living process whose ancestor is `root`."""
    psutil.process_iter.cache_clear()  # a number may have become another process's since
    children = defaultdict(list)
    # not Process.children, which refuses where the system hides other users' processes
    for process in psutil.process_iter(["ppid", "status"]):
        children[process.info["ppid"]].append(process)
    waiting, family = [root], []
    while waiting:
        found = children.pop(waiting.pop(), [])
        waiting += [process.pid for process in found]
        family += [one for one in found if one.info["status"] != psutil.STATUS_ZOMBIE]
    return family


def _total(processes, of) -> int:
    total = 0
    for process in processes:
        with suppress(psutil.Error):  # it ended, or is not ours to see
            total += of(process)
    return total


def _resident(process) -> int:
    """Bytes of memory, all that it shares with others included."""
    return process.memory_info().rss


def _shared_out(process) -> int:
    """Bytes of memory, its part of what it shares; as `_resident` where the system does not say."""
    try:
        return process.memory_full_info().pss
    except (AttributeError, psutil.AccessDenied):
        return _resident(process)


def kill_below(root: int) -> None:
    """End every process below `root`; those that start others while this happens too."""
    end = time.monotonic() + 10
    while (found := below(root)) and time.monotonic() < end:
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(0.02)
