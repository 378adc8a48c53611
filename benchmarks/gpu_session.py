"""python -m benchmarks.gpu_session MINUTES [--out DIR]: the most that a GPU lent for some minutes
can tell, in the order of its worth.

1. What the machine lacks (packages, the set), before a minute is lost.
2. The tests that need a GPU.
3. Steps a second, by network, batch size, compiled or not, recorded or not.
4. Eight small trainings by 1, 4 and 8 processes on the one GPU.
5. Trainings at 90 % pruned in the GPU's presets, until the time is over; they resume.

Each measurement is written as soon as it is made, so a session that is cut short keeps what it has.
`--device cpu --tiny` tries all of it in a minute on a machine without a GPU.

`--pack FOLDER` writes the set into parts below 64 MiB, for a machine that takes no larger files;
`--parts FOLDER` reads them there.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice, product
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
PART = 60 * 2**20  # bytes
SHARES = {"tests": 0.25, "steps": 0.45, "workers": 0.55}  # of the minutes, when each must be over
MODULES = {"pillow": "PIL", "scikit-learn": "sklearn"}  # packages that import under another name


@dataclass(frozen=True)
class Session:
    """device : "cuda" or "cpu".   tiny : as little work as proves that it runs."""

    device: str
    tiny: bool
    out: Path
    begun: float
    minutes: float

    def seconds_until(self, share: float) -> float:
        """What is left of this share of the session."""
        return self.begun + 60 * self.minutes * share - time.monotonic()


def missing_packages() -> list[str]:
    """The requirements in pyproject.toml that cannot be imported here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], "pytest", "papermill", "ipykernel", "distributed"]
    names = {line: line.partition(">")[0].strip() for line in needed}
    return [
        line
        for line, name in names.items()
        if not find_spec(MODULES.get(name, name.replace("-", "_")))
    ]


# ---- the set in parts ----------------------------------------------------------------------------


def pack(file: Path, folder: Path) -> list[Path]:
    """The arrays of an .npz, compressed without loss, in parts below 64 MiB and a manifest."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, np.load(file, allow_pickle=False) as arrays:
        whole = Path(scratch) / file.name
        np.savez_compressed(whole, **arrays)
        content = whole.read_bytes()
    parts = []
    for k, start in enumerate(range(0, len(content), PART)):
        parts.append(folder / f"{file.name}.{k:03}")
        parts[-1].write_bytes(content[start : start + PART])
    said = {"parts": len(parts), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / f"{file.name}.json").write_text(json.dumps(said))
    return parts


def join(folder: Path, to: Path) -> list[Path]:
    """The .npz of each manifest in the folder, put together again; ValueError where it is not the
    one that was packed.
    """
    to.mkdir(parents=True, exist_ok=True)
    found = []
    for manifest in sorted(folder.glob("*.npz.json")):
        said, name = json.loads(manifest.read_text()), manifest.stem
        parts = [folder / f"{name}.{k:03}" for k in range(said["parts"])]
        if absent := [part.name for part in parts if not part.is_file()]:
            raise ValueError(f"{', '.join(absent)} of {name} is missing in {folder}: bring it too")
        content = b"".join(part.read_bytes() for part in parts)
        if hashlib.sha256(content).hexdigest() != said["sha256"]:
            raise ValueError(f"the parts of {name} in {folder} are not those that were packed")
        found.append(to / name)
        found[-1].write_bytes(content)
    return found


# ---- the measurements, each a generator of rows --------------------------------------------------


def tests(session: Session) -> Iterator[dict]:
    """The tests that skip themselves elsewhere."""
    files = [str(ROOT / "tests" / name) for name in ("test_gpu.py", "test_gpu_faults.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    env = os.environ | {"DPKIT_GPU_TESTS": session.device}
    limit = max(30.0, session.seconds_until(SHARES["tests"]))
    try:
        ended = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=limit
        )
        said, code = ended.stdout + ended.stderr, ended.returncode
    except subprocess.TimeoutExpired as stopped:
        said, code = str(stopped.stdout or ""), "stopped: time was over"
    (session.out / "tests.txt").write_text(said)
    yield {"tests": said.strip().splitlines()[-1] if said.strip() else "", "exit": code}


def steps_a_second(session: Session, images, *, model, batch_size, compile, record, tdds) -> dict:
    """Of one way to train: the median of three epochs of `count` steps, after one that warms up."""
    from dpkit import Recipe, make_net, train

    count = 2 if session.tiny else 100
    some = images.first(min(len(images), count * batch_size))
    recipe = Recipe(epochs=200, batch_size=batch_size, compile=compile)
    epochs = train(
        make_net(model, some, seed=0), some, recipe, seed=0, record=record, tdds=record and tdds
    )
    seen = [(report.steps, report.seconds) for report in islice(epochs, 4)]
    per_epoch = seen[0][0]
    return {"steps_per_second": per_epoch / median(seconds for _, seconds in seen[1:])}


def steps(session: Session) -> Iterator[dict]:
    """Recorded and not, in turn for each network, batch size and way to run it."""
    import numpy as np

    from dpkit.data.image_set import from_arrays

    rng = np.random.default_rng(0)
    n = 512 if session.tiny else 12_800
    images = from_arrays(
        rng.integers(0, 256, (n, 32, 32, 3), np.uint8),
        rng.integers(0, 10, n),
        shift=4,
        mirror=True,
        device=session.device,
    )
    networks = ("small_cnn",) if session.tiny else ("small_cnn", "fast_cnn", "resnet18")
    sizes = (128,) if session.tiny else (128, 64, 32)
    ways = {"off": (False, False), "on": (True, False), "with tdds": (True, True)}
    for compile, model, batch_size in product((False, True), networks, sizes):
        if session.tiny and compile:
            return
        for name, (record, tdds) in ways.items():
            if session.seconds_until(SHARES["steps"]) < 0:
                yield {"steps": "stopped: time was over"}
                return
            how = {"model": model, "batch_size": batch_size, "compile": compile}
            found = steps_a_second(session, images, **how, record=record, tdds=tdds)
            yield {"steps": model} | how | {"record": name} | found


def workers(session: Session) -> Iterator[dict]:
    """Seconds of eight small trainings, by so many processes on one device."""
    from dpkit import Recipe, Trial, storage, sweep

    name = "cifar10" if (storage.data_folder(None) / "cifar10.npz").is_file() else "digits"
    trials = [
        Trial(
            name,
            "random",
            0.5,
            seed,
            Recipe(epochs=1),
            1,
            Recipe(budget="steps", steps=2 if session.tiny else 400, batch_size=64),
            num_samples=200 if session.tiny else 0,
        )
        for seed in range(2 if session.tiny else 8)
    ]
    for count in (1, 2) if session.tiny else (1, 4, 8):
        if session.seconds_until(SHARES["workers"]) < 0:
            yield {"workers": "stopped: time was over"}
            return
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            table = sweep(
                trials,
                out=f"{folder}/out",
                cache=f"{folder}/cache",
                workers=count,
                threads=1,
                device=session.device,
            )
            seconds = time.perf_counter() - begun
        yield {
            "workers": count,
            "set": name,
            "trainings": len(trials),
            "seconds": seconds,
            "failed": int((table.failed != "").sum()),
        }


def tables(session: Session) -> Iterator[dict]:
    """The presets' trials at 90 % pruned, until the time is over."""
    preset, cell = ("smoke", []) if session.tiny else ("paper_cifar10", ["-p", "ratios", "[0.9]"])
    cell += [] if session.tiny else ["-p", "batch_sizes", "[32]"]
    left = max(1.0, session.seconds_until(0.95) / 60)
    out = session.out / "dual_cifar"
    command = [sys.executable, "-m", "dpkit", "report"]
    command += [str(ROOT / "notebooks/reproductions/dual_cifar.ipynb"), "--preset", preset, *cell]
    command += ["-p", "minutes", f"{left:.1f}", "-p", "device", session.device, "--out", str(out)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    (session.out / "tables.txt").write_text(ended.stdout + ended.stderr)
    yield {"tables": preset, "exit": ended.returncode, "report": out.name}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_session", description=__doc__)
    parser.add_argument("minutes", type=float, nargs="?", default=13.0)
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "gpu-session")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="as little work as proves that it runs")
    parser.add_argument(
        "--pack", type=Path, help="write the .npz of --set into parts here, no more"
    )
    parser.add_argument("--set", type=Path, help="the .npz to pack")
    parser.add_argument("--parts", type=Path, help="read the set from the parts in this folder")
    return parser


def main() -> int:
    parser = make_parser()
    asked = parser.parse_args()
    if asked.pack:
        if not asked.set or not asked.set.is_file():
            parser.error("--pack needs --set FILE.npz, the set to pack; there is no such file")
        print(*pack(asked.set, asked.pack), sep="\n")
        return 0
    if lacking := missing_packages():
        wanted = " ".join(f"'{line}'" for line in lacking)
        print(
            f"this machine lacks {len(lacking)} packages; bring their wheels:\npip wheel {wanted}"
        )
        return 2
    if asked.parts:
        os.environ["DPKIT_DATA"] = str(ROOT / "reports" / "gpu-data")
        print("sets:", *join(asked.parts, Path(os.environ["DPKIT_DATA"])))
    import torch

    from dpkit.storage.files import write_json
    from dpkit.storage.provenance import machine, versions

    if asked.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here: --device cpu --tiny tries the session without one")
        return 2
    asked.out.mkdir(parents=True, exist_ok=True)
    session = Session(asked.device, asked.tiny, asked.out, time.monotonic(), asked.minutes)
    head = {"command": " ".join(sys.argv[1:]), "machine": machine(), "versions": versions()}
    head["device"] = torch.cuda.get_device_name() if asked.device == "cuda" else "cpu"
    rows: list[dict] = []
    for row in measurements(session):
        rows.append(row)
        print(json.dumps(row), flush=True)
        write_json(asked.out / "gpu_session.json", head | {"rows": rows})
    return 0


def measurements(session: Session) -> Iterator[dict]:
    """Of all parts; one that fails takes no other's minutes."""
    for part in (tests, steps, workers, tables):
        try:
            yield from part(session)
        except Exception as error:
            yield {part.__name__: f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    sys.exit(main())
