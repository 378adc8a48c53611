"""The command line answers quickly, exits with what happened, and cleans up when it is stopped."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dpkit.cli import main

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    "code",
    [
        "import dpkit.reports",
        (
            "import runpy; sys.argv = ['dpkit', '--help']; runpy.run_module('dpkit', "
            "run_name='__main__')"
        ),
        (
            "import runpy; sys.argv = ['dpkit', 'report', '--help']; runpy.run_module('dpkit', "
            "run_name='__main__')"
        ),
        "import runpy; sys.argv = ['dpkit', '--version']; runpy.run_module('dpkit', "
        "run_name='__main__')",
        "import runpy; sys.argv = ['dpkit', 'lessons']; runpy.run_module('dpkit', "
        "run_name='__main__')",
        (
            "import runpy; sys.argv = ['dpkit', 'prune', '--help']; runpy.run_module('dpkit', "
            "run_name='__main__')"
        ),
        (
            "import runpy; sys.argv = ['dpkit', 'export', '--help']; runpy.run_module('dpkit', "
            "run_name='__main__')"
        ),
        "import runpy; sys.argv = ['dpkit', 'fetch', '--help']; runpy.run_module('dpkit', "
        "run_name='__main__')",
        (
            "import runpy; sys.argv = ['dpkit', 'sweep', '--help']; runpy.run_module('dpkit', "
            "run_name='__main__')"
        ),
        (
            "import runpy; sys.argv = ['dpkit', 'assignments', '--help']; "
            "runpy.run_module('dpkit', run_name='__main__')"
        ),
        (
            "import runpy; sys.argv = ['dpkit', 'grade', '--help']; runpy.run_module('dpkit', "
            "run_name='__main__')"
        ),
    ],
)
def test_help_and_the_report_driver_load_no_torch(code):
    loaded = "print('torch' in sys.modules, 'pandas' in sys.modules)"
    program = f"import atexit, sys\natexit.register(lambda: {loaded})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT
    )
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "False False", done


def test_the_help_of_prune_names_every_method_and_network(capsys):
    from dpkit.methods.catalog import METHODS
    from dpkit.nets.builders import MODELS

    with pytest.raises(SystemExit):
        main(["prune", "--help"])
    told = capsys.readouterr().out.replace(",", " ").split()
    assert {*METHODS, *MODELS} <= set(told)


def notebook(folder, *cells):
    nbformat = pytest.importorskip("nbformat")
    v4 = nbformat.v4
    first = v4.new_code_cell("epochs = 3", metadata={"tags": ["parameters"]})
    nbformat.write(
        v4.new_notebook(cells=[first, *map(v4.new_code_cell, cells)]), folder / "lesson.ipynb"
    )
    return str(folder / "lesson.ipynb")


def test_refusals_exit_with_2_and_tell_every_mistake(tmp_path, capsys):
    assert main(["report", notebook(tmp_path), "-p", "epochs", "x", "-p", "lr", "1"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert (
        len(told) == 2 and "parameter 'epochs' must be a whole number, like 3; got 'x'" in told[0]
    )
    assert main(["report", str(tmp_path / "none.ipynb")]) == 2


def test_a_folder_that_cannot_be_made_exits_with_2_and_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["report", notebook(tmp_path), "--out", str(tmp_path / "file" / "out")]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and "file is no folder; name another folder" in told[0]


def test_a_report_prints_its_verdict_its_tables_and_where_the_page_is(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    begin = "from dpkit import reports\nreport = reports.begin('lesson', globals())"
    finish = (
        "report.table('accuracy', [{'method': 'dual', 'acc': 0.5}])\n"
        "report.finish(seeds=[], device='cpu')"
    )
    assert main(["report", notebook(tmp_path, begin, finish), "-p", "epochs", "-1"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("PASSED in ") and printed[2:6] == [
        "accuracy",
        "method  acc",
        "------  ---",
        "dual    0.5",
    ]
    assert printed[-1] == str(tmp_path / "reports" / "lesson-default" / "report.html")


@pytest.mark.parametrize("signum, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_leaves_no_kernel_and_no_file(tmp_path, signum, code, kernels):
    endless = (
        "import pathlib\npathlib.Path('running').touch()\nwhile True:\n    try:\n        while "
        "True: pass\n    except KeyboardInterrupt:\n        pass"
    )
    command = [
        sys.executable,
        "-m",
        "dpkit",
        "report",
        notebook(tmp_path, endless),
        "--out",
        str(tmp_path / "out"),
    ]
    mark = f"DPKIT_TEST_MARK={tmp_path.name}-{signum}"
    process = subprocess.Popen(
        command,
        env={**ENVIRONMENT, **dict([mark.split("=")])},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 30
    while not (tmp_path / "running").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signum)
    _, told = process.communicate(timeout=30)
    assert process.returncode == code
    assert told.splitlines()[-1] == "dpkit: interrupted; nothing was written"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lesson.ipynb", "running"]
    assert not kernels(mark)


def test_missing_packages_are_all_named_as_pip_takes_them(tmp_path, capsys, monkeypatch):
    find = importlib.util.find_spec
    absent = ("papermill", "yaml")
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: name not in absent and find(name))
        assert main(["report", "00_start_here"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "dpkit: reports need packages that are not installed here: pip install papermill pyyaml"
    ]
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["sweep", str(tmp_path / "grid.yaml")]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and told[0].endswith("not installed here: pip install distributed")


def test_a_package_that_is_broken_is_told_from_one_that_is_not_there(tmp_path, monkeypatch):
    from dpkit.cli._exit import missing

    (tmp_path / "half_there.py").write_text("import a_part_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    assert missing("json") is None
    assert missing("json", "half_there", "not_there_at_all") == (
        "this command needs packages that are not installed here (half_there cannot be imported: "
        "No module named 'a_part_that_is_not_there'): pip install half_there not_there_at_all"
    )
