"""Every lesson, as committed and as executed by the report driver in its smoke preset."""

import json
from pathlib import Path

import pytest
import warm_kernels
import yaml

from dpkit import reports
from dpkit.reports.parameters import parameters_for

FOLDER = Path(__file__).parents[1] / "notebooks"
LESSONS = sorted(path for path in FOLDER.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
PRESETS = sorted((FOLDER / "presets").glob("*.yaml"))


def entries():
    return [
        (preset.stem, stem) for preset in PRESETS for stem in yaml.safe_load(preset.read_text())
    ]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_committed_without_outputs(path):
    cells = json.loads(path.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.mark.parametrize(
    "path",
    [path for path in LESSONS if path.parent.name != "assignments"],
    ids=lambda path: path.stem,
)
def test_a_lesson_is_more_prose_than_code(path):
    notebook = json.loads(path.read_text())
    length = {"markdown": 0, "code": 0}
    for cell in notebook["cells"]:
        length[cell["cell_type"]] += len("".join(cell["source"]))
    assert length["markdown"] > 0.8 * length["code"]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_notebook_runs_on_any_python3(path):
    name = json.loads(path.read_text())["metadata"]["kernelspec"]["name"]
    assert name == "python3", f"{path.name}: choose the kernel python3; it has {name}"


@pytest.mark.parametrize(("preset", "stem"), entries())
def test_every_preset_fits_its_notebook(preset, stem):
    (path,) = [path for path in LESSONS if path.stem == stem]
    parameters_for(path, preset)  # raises Refused for an unknown or wrongly typed parameter


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson_passes_in_smoke(path, tmp_path, monkeypatch):
    local_provisioner = pytest.importorskip("jupyter_client.provisioning.local_provisioner")
    warm_kernels.start_server()
    monkeypatch.setattr(local_provisioner, "launch_kernel", warm_kernels.Kernel)
    monkeypatch.setenv("DPKIT_CACHE", str(tmp_path / "cache"))
    verdict = reports.run_report(
        path, preset="smoke", out=tmp_path / "report", timeout=600, progress=lambda line: None
    )
    assert verdict.passed, verdict.reasons
    assert verdict.result["checks"], f"{path.name}: the report checks nothing; add a report.check"
    assert path.parent.name == "assignments" or (
        verdict.result["figures"] and verdict.result["tables"]
    )
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000
