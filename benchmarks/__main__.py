"""python -m benchmarks [NAME ...] [--save]: run all benchmarks, or those named.

--save writes results/benchmarks.json, or results/benchmarks-NAME.json.
"""

import argparse
from importlib import import_module
from pathlib import Path

from dpkit.storage.files import write_json
from dpkit.storage.provenance import machine, versions

NAMES = (
    "data_path",
    "reading",
    "recording",
    "fast_cnn",
    "dual",
    "grand",
    "memory",
    "selectors",
    "exits",
    "influence",
    "sweeps",
    "gpu",
)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"any of {', '.join(NAMES)}; all if none is given")
    parser.add_argument("--save", action="store_true", help="write the file in results/")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(NAMES))
    if unknown:
        parser.error(f"unknown benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    rows = []
    for name in arguments.names or NAMES:
        for title, found in import_module(f"benchmarks.{name}").run():
            rows.append(
                {
                    "benchmark": title,
                    **{k: round(v, 9) if isinstance(v, float) else v for k, v in found.items()},
                }
            )
            shown = (
                f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items()
            )
            print(f"{title:62}", "  ".join(shown), flush=True)
    if arguments.save:
        command = " ".join(["python -m benchmarks", *arguments.names, "--save"])
        stem = "-".join(["benchmarks", *arguments.names])
        write_json(
            Path(__file__).parents[1] / "results" / f"{stem}.json",
            {"command": command, "machine": machine(), "versions": versions(), "rows": rows},
        )


if __name__ == "__main__":
    main()
