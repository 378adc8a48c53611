"""A report passes only if everything in it is true, and what is written is whole or absent."""

import errno
import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dpkit import reports
from dpkit.reports.kernel import Watch
from dpkit.reports.parameters import parameters_for, read_defaults, read_preset
from dpkit.reports.result import ENVIRONMENT
from dpkit.reports.result_checks import read_result
from dpkit.storage import claims

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("papermill")
v4 = nbformat.v4
ROOT = Path(__file__).parent.parent

PARAMETERS = 'epochs = 30  # how long\nlr = 0.1\nfast = False\nname = "digits"\nratios = [0.3, 0.5]'
BEGIN = 'from dpkit import reports\nreport = reports.begin("lesson", globals())'
FINISH = 'report.finish(seeds=[0], device="cpu")'


@pytest.fixture(autouse=True)
def kernels_find_this_dpkit(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv(ENVIRONMENT, raising=False)


@pytest.fixture
def no_kernel(monkeypatch):
    def execute(*arguments):
        raise AssertionError("a kernel was started")

    monkeypatch.setattr("dpkit.reports.run.execute", execute)


def write_lesson(folder, *cells, parameters=PARAMETERS, name="lesson"):
    """A notebook with a parameters cell and then `cells`; text that begins with # is markdown."""
    notebook = v4.new_notebook(
        cells=[v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    )
    notebook.cells += [
        v4.new_markdown_cell(c) if c.startswith("#") else v4.new_code_cell(c) for c in cells
    ]
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


def run(folder, *cells, **options):
    lines = []
    verdict = reports.run_report(
        write_lesson(folder, *cells), out=folder / "out", progress=lines.append, **options
    )
    return verdict, lines


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- a good run ----------------------------------------------------------------------------------

PICTURE = """import matplotlib.pyplot as plt
figure, ax = plt.subplots(figsize=(2, 2))
report.figure(figure, "moon_plot")"""
GOOD = (
    BEGIN,
    "## Look",
    "print('epoch 1')",
    PICTURE,
    "import numpy as np\nreport.table('accuracy', [{'method': 'dual', 'acc': np.float64(0.9)}, "
    "{'method': 'el2n', 'acc': np.nan}])\nreport.check('dual by hand equals the library', "
    "bool(np.isclose(1, 1)))",
    FINISH,
)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    (folder / "presets").mkdir()
    (folder / "presets" / "smoke.yaml").write_text("lesson:\n  epochs: 3\n  ratios: [0.9]\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        verdict, lines = run(
            folder, *GOOD, preset="smoke", parameters={"lr": 1, "fast": reports.Text("true")}
        )
    return folder, verdict, lines


def test_a_good_run_leaves_a_whole_report_and_nothing_else(good):
    folder, verdict, _ = good
    assert verdict.passed and verdict.reasons == () and verdict.folder == folder / "out"
    assert names(folder) == ["lesson.ipynb", "out", "presets"]
    assert names(folder / "out") == ["figures", "notebook.ipynb", "report.html", "result.json"]
    assert names(folder / "out" / "figures") == ["moon_plot.png"]
    assert re.fullmatch(r"PASSED in \d+ s: 1 check, 1 figure", verdict.headline())


def test_the_preset_and_then_the_call_override_the_notebook(good):
    result = json.loads((good[0] / "out" / "result.json").read_text())
    assert result["parameters"] == {
        "epochs": 3,
        "lr": 1.0,
        "fast": True,
        "name": "digits",
        "ratios": [0.9],
    }
    assert type(result["parameters"]["lr"]) is float  # a whole number given for a float


def test_the_result_says_what_ran_where_without_naming_the_machine(good):
    result = good[1].result
    assert result["tables"]["accuracy"] == [
        {"method": "dual", "acc": 0.9},
        {"method": "el2n", "acc": None},
    ]
    assert result["versions"]["python"] == sys.version.split()[0] and "numpy" in result["versions"]
    assert result["machine"]["threads"] >= 1 and result["seconds"] > 0
    for name in ("result.json", "notebook.ipynb", "report.html"):
        assert str(good[0]) not in (good[0] / "out" / name).read_text()


def test_progress_tells_the_cell_the_heading_and_what_the_notebook_prints(good):
    lines = good[2]
    assert any(re.fullmatch(r"\[4/7\] \d\d:\d\d ## Look", line) for line in lines), lines
    assert "    epoch 1" in lines


def test_each_figure_is_shown_once(good):
    cells = nbformat.read(good[0] / "out" / "notebook.ipynb", as_version=4).cells
    shown = [output for cell in cells if "moon_plot" in cell.source for output in cell.outputs]
    assert [output.output_type for output in shown] == ["display_data"] and "image/png" in shown[
        0
    ].data


# ---- runs that must not pass ---------------------------------------------------------------------


def test_sys_exit_zero_is_not_a_pass(tmp_path):
    verdict, _ = run(tmp_path, BEGIN, "## Retrain", "import sys\nsys.exit(0)", FINISH)
    assert verdict.reasons[0] == (
        "the notebook stopped before its last cell: cell 3 of 4 ('## Retrain') called sys.exit(0)"
    )
    assert "1 of 4 code cells did not run" in verdict.reasons[1] and len(verdict.reasons) == 2


def test_an_exception_is_told_with_its_cell_and_an_older_good_report_survives_it(good, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(good[0] / "out", out)  # the older report
    verdict, _ = run(tmp_path, BEGIN, "## Score", "1 / 0", FINISH)
    assert not verdict.passed and verdict.folder == tmp_path / "out-failed"
    assert (
        verdict.reasons[0] == "cell 3 of 4 ('## Score') raised ZeroDivisionError: division by zero"
    )
    assert names(out) == ["figures", "notebook.ipynb", "report.html", "result.json"]
    assert {"notebook.ipynb", "report.html", "verdict.json"} == set(names(verdict.folder))
    assert json.loads((verdict.folder / "verdict.json").read_text())["reasons"] == list(
        verdict.reasons
    )
    assert "FAILED" in (verdict.folder / "report.html").read_text()
    assert names(tmp_path) == ["lesson.ipynb", "out", "out-failed"]


def test_a_killed_kernel_is_not_a_pass_even_after_the_result_was_written(tmp_path):
    verdict, _ = run(
        tmp_path, BEGIN, FINISH, "## After", "import os\nos.kill(os.getpid(), 9)", "x = 1"
    )
    assert verdict.reasons[0].startswith("the kernel died in cell 4 of 5 ('## After') (signal 9")
    assert not (verdict.folder / "result.json").exists()


STUBBORN = """import time
while True:
    try:
        time.sleep(0.01)
    except KeyboardInterrupt:
        pass"""


def test_the_time_limit_ends_a_cell_that_ignores_interrupts_and_the_processes_it_started(
    tmp_path, monkeypatch, kernels
):
    monkeypatch.setenv("DPKIT_TEST_MARK", tmp_path.name)
    child = (
        "import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', 'import "
        "time; time.sleep(60)'])"
    )
    before = set(kernels(f"DPKIT_TEST_MARK={tmp_path.name}"))
    results = []
    worker = threading.Thread(
        target=lambda: results.append(run(tmp_path, child, STUBBORN, timeout=4))
    )
    worker.start()  # off the main thread, as another program might call it
    worker.join(30)
    verdict, _ = results[0]
    assert verdict.reasons[0] == "the notebook ran past its limit of 4 s in cell 3 of 3"
    assert verdict.seconds < 15
    assert set(kernels(f"DPKIT_TEST_MARK={tmp_path.name}")) == before


@pytest.mark.parametrize("stop", ["expire", "signal"])
def test_a_stop_while_the_kernel_is_still_starting_is_not_lost(stop):
    watch = Watch(1, print)
    watch.expire() if stop == "expire" else setattr(watch, "signum", 2)
    kernel = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
    )
    watch.attach(kernel)
    assert kernel.wait(timeout=10) == -9


def test_a_notebook_without_a_result_does_not_pass(tmp_path):
    verdict, _ = run(tmp_path, "x = 1")
    assert verdict.reasons == (
        "the notebook wrote no result.json; its last cell must call report.finish(...)",
    )


def test_a_false_check_stays_false_though_the_notebook_swallows_it(tmp_path):
    swallow = "try:\n    report.check('ranks agree', False)\nexcept AssertionError:\n    pass"
    verdict, _ = run(tmp_path, BEGIN, swallow, FINISH)
    assert verdict.reasons == ("the check 'ranks agree' failed",)


@pytest.mark.parametrize(
    "damage, reason",
    [
        (
            lambda r, f: (f / "figures/moon_plot.png").write_bytes(b"other"),
            "is not the picture that the notebook saved",
        ),
        (lambda r, f: (f / "figures/moon_plot.png").unlink(), "figures/moon_plot.png is missing"),
        (
            lambda r, f: r["figures"].append({"file": "../secret.png", "sha256": ""}),
            "expected a file figures/<name>.png",
        ),
        (
            lambda r, f: r["parameters"].update(epochs=30),
            "'epochs' was given as 3, but result.json says 30",
        ),
        (
            lambda r, f: r["parameters"].update(fast=1),
            "'fast' was given as true, but result.json says 1",
        ),
        (lambda r, f: r["parameters"].pop("lr"), "result.json says absent"),
        (lambda r, f: r.update(notebook="other"), "names the notebook 'other'"),
        (lambda r, f: r["checks"].update(more=1), "the check 'more' failed"),
        (lambda r, f: r.update(schema=0), "has schema 0"),
        (lambda r, f: r.update(seconds=math.nan), "not valid JSON"),
        (lambda r, f: r.update(device=None), "device has the wrong type"),
        (lambda r, f: r.pop("seeds"), "missing or extra: seeds"),
        (lambda r, f: r["tables"].update(accuracy=[{"acc": None}]), "every entry is null"),
        (lambda r, f: r["tables"].update(accuracy="0.9"), "must be a list of rows"),
    ],
)
def test_a_wrong_result_is_told(good, tmp_path, damage, reason):
    folder = shutil.copytree(good[0] / "out", tmp_path / "copy")
    parameters = good[1].result["parameters"]
    assert read_result(folder, notebook="lesson", parameters=parameters)[1] == []
    result = json.loads((folder / "result.json").read_text())
    damage(result, folder)
    (folder / "result.json").write_text(json.dumps(result))
    wrong = read_result(folder, notebook="lesson", parameters=parameters)[1]
    assert len(wrong) == 1 and reason in wrong[0]


# ---- runs refused before a kernel starts ---------------------------------------------------------


def test_all_mistakes_in_parameters_are_told_at_once(tmp_path, no_kernel):
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "quick.yaml").write_text("lesson:\n  lr: 1e-3\n  ratio: [0.1]\n")
    with pytest.raises(reports.Refused) as refused:
        run(
            tmp_path,
            preset="quick",
            parameters={"epochs": 2.0, "fast": "true", "ratios": [0.1, "x"]},
        )
    text = "\n".join(refused.value.mistakes)
    assert len(refused.value.mistakes) == 5
    assert (
        "preset 'quick': parameter 'lr' must be a number, like 0.1; got '1e-3'" in text
        and "write 0.001" in text
    )
    assert "unknown parameter 'ratio'; did you mean 'ratios'?" in text
    assert "parameter 'epochs' must be a whole number, like 30; got 2.0" in text
    assert "parameter 'fast' must be true or false, like False; got 'true'" in text
    assert "parameter 'ratios' must be a list of a number each" in text


@pytest.mark.parametrize(
    "name, typed, value",
    [
        ("fast", "true", True),
        ("fast", "False", False),
        ("fast", "1", None),
        ("fast", "yes", None),
        ("epochs", "5", 5),
        ("epochs", "5.0", None),
        ("epochs", "true", None),
        ("lr", "1e-3", 1e-3),
        ("lr", "-2", -2.0),
        ("lr", "nan", None),
        ("lr", "inf", None),
        ("name", "true", "true"),
        ("name", "3", "3"),
        ("ratios", "[1e-3, 1]", [1e-3, 1.0]),
        ("ratios", "[]", []),
        ("ratios", "0.3", None),
        ("ratios", "[a]", None),
        ("ratios", "[[0.1]]", None),
        ("names", "[a, b]", ["a", "b"]),
        ("names", "[1]", None),
        ("anything", "[1, a, true]", [1, "a", True]),
    ],
)
def test_the_command_line_is_read_by_the_type_of_the_default(tmp_path, name, typed, value):
    notebook = write_lesson(tmp_path, parameters=PARAMETERS + '\nnames = ["x"]\nanything = []')
    if value is None:
        with pytest.raises(reports.Refused, match=f"parameter '{name}' must be"):
            parameters_for(notebook, None, {name: reports.Text(typed)})
    else:
        read = parameters_for(notebook, None, {name: reports.Text(typed)})[1][name]
        assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    "cell",
    [
        "x = len([1])",
        "import os",
        "x: int = 1",
        "a, b = 1, 2",
        "x = None",
        "x = {'a': 1}",
        "x = [[1]]",
        "_x = 1",
        "x = 1\nx = 2",
        "x =",
        "x = 1e999",
        "print('ran')",
        "a.b = 1",
    ],
)
def test_only_flat_literals_stand_in_the_parameters_cell_and_it_is_never_run(
    tmp_path, capsys, cell
):
    with pytest.raises(reports.Refused):
        read_defaults(write_lesson(tmp_path, parameters=cell))
    assert capsys.readouterr().out == ""


def test_negative_numbers_are_literals(tmp_path):
    assert read_defaults(write_lesson(tmp_path, parameters="x = -1.5  # cold\ny = [-1]")) == {
        "x": -1.5,
        "y": [-1],
    }


def test_presets_are_found_beside_the_notebook_or_one_level_up_and_a_missing_one_is_told(
    tmp_path, no_kernel
):
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "smoke.yaml").write_text("other: {epochs: 1}\nsecond:\n")
    deeper = tmp_path / "reproductions"
    deeper.mkdir()
    other = write_lesson(deeper, name="other")
    assert read_preset(other, "smoke") == {"epochs": 1}
    assert read_preset(write_lesson(tmp_path, name="second"), "smoke") == {}
    with pytest.raises(reports.Refused, match=r"no preset 'smok'.*smoke"):
        reports.run_report(other, preset="smok")
    with pytest.raises(reports.Refused, match="says nothing about lesson; it has other, second"):
        run(tmp_path, preset="smoke")


def test_what_is_not_a_notebook_is_refused(tmp_path, no_kernel):
    write_lesson(tmp_path)
    with pytest.raises(
        reports.Refused, match=r"no notebook .*lessn.ipynb; beside it are lesson.ipynb"
    ):
        reports.run_report(tmp_path / "lessn.ipynb")
    (tmp_path / "half.ipynb").write_text('{"cells": [')
    with pytest.raises(reports.Refused, match="not a whole notebook"):
        reports.run_report(tmp_path / "half.ipynb")
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell("x = 1")]), tmp_path / "bare.ipynb")
    with pytest.raises(
        reports.Refused, match="exactly one code cell tagged 'parameters'; it has 0"
    ):
        reports.run_report(tmp_path / "bare.ipynb")


def test_a_report_with_a_published_table_is_replaced_by_the_next_and_knows_its_command(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    publish = (
        "report.published.mkdir()\n(report.published / 'command.txt').write_text(report.command)"
    )
    for epochs in (3, 4):
        verdict, _ = run(
            tmp_path, BEGIN, publish, FINISH, parameters={"epochs": epochs}, timeout=200
        )
        assert verdict.passed, verdict.reasons
    told = (tmp_path / "out" / "published" / "command.txt").read_text()
    assert told == "dpkit report lesson.ipynb -p epochs 4 --timeout 200"


@pytest.mark.parametrize("stranger", ["out/thesis.tex", "out-failed/notes.txt", "out"])
def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path, no_kernel, stranger):
    path = tmp_path / stranger
    path.parent.mkdir(exist_ok=True)
    path.write_text("precious")
    with pytest.raises(reports.Refused, match=r"not an earlier report|is no folder|is a file"):
        run(tmp_path, BEGIN, FINISH)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("there", ["out", "out-failed"])
def test_another_notebooks_report_is_refused_and_both_are_named(tmp_path, no_kernel, there):
    mark = {"out": "result.json", "out-failed": "verdict.json"}[there]
    (tmp_path / there / "figures").mkdir(parents=True)
    (tmp_path / there / mark).write_text(
        json.dumps({"notebook": "other_lesson", "parameters": {"epochs": 3}})
    )
    (tmp_path / there / "report.html").write_text("precious")
    with pytest.raises(
        reports.Refused,
        match=rf"{there} holds the report of other_lesson, which that of lesson would replace; "
        "choose another --out, or move it away",
    ):
        run(tmp_path, BEGIN, FINISH)
    assert (tmp_path / there / "report.html").read_text() == "precious"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"notebook": 3, "parameters": {}}',
        '{"notebook": "lesson"}',
        '{"accuracy": 1}',
        '{"notebook": "lesson", "parameters": 7}',
    ],
)
def test_a_folder_with_a_result_that_is_no_reports_is_refused(tmp_path, no_kernel, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "result.json").write_text(text)
    with pytest.raises(
        reports.Refused, match=r"no result.json of ours in it\); choose another --out"
    ):
        run(tmp_path, BEGIN, FINISH)
    assert (tmp_path / "out" / "result.json").read_text() == text


def test_the_command_refuses_a_second_notebook_in_the_same_folder(tmp_path, capsys, monkeypatch):
    from dpkit.cli import main

    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        write_lesson(tmp_path, BEGIN.replace("lesson", name), FINISH, name=name)
    assert main(["report", "first.ipynb", "--out", "x"]) == 0
    before = (tmp_path / "x" / "report.html").read_bytes()
    capsys.readouterr()
    assert main(["report", "second.ipynb", "--out", "x"]) == 2
    assert re.search(
        "x holds the report of first, which that of second would replace", capsys.readouterr().err
    )
    assert (tmp_path / "x" / "report.html").read_bytes() == before
    # the same notebook's, with a word
    assert main(["report", "first.ipynb", "--out", "x", "-p", "epochs", "4"]) == 0
    assert (
        "holds this notebook's report with other parameters (epochs 30); it is replaced"
        in capsys.readouterr().err
    )
    assert json.loads((tmp_path / "x" / "result.json").read_text())["parameters"]["epochs"] == 4


def test_a_folder_that_cannot_be_made_is_found_before_a_kernel_starts(tmp_path, no_kernel):
    (tmp_path / "file").write_text("")
    with pytest.raises(reports.Refused, match="out cannot be made, as .*file is no folder"):
        reports.run_report(write_lesson(tmp_path), out=tmp_path / "file" / "out")


# ---- whole or absent -----------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["write_text", "rename"])
def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch, broken):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    def execute(notebook, target, *others):  # what a kernel would do
        target.write_text(notebook.read_text())
        monkeypatch.setattr(
            *((Path, "write_text") if broken == "write_text" else (os, "rename")), full
        )

    monkeypatch.setattr("dpkit.reports.run.execute", execute)
    with pytest.raises(OSError, match="no space left on the disk of .*out"):
        run(tmp_path, BEGIN, FINISH)
    monkeypatch.undo()
    assert names(tmp_path) == ["lesson.ipynb"]


def test_leftovers_of_killed_runs_are_cleared(tmp_path, monkeypatch):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / f".out.building-{claims.host_name()}-{gone.pid}-1").mkdir()

    def execute(notebook, target, *others):
        target.write_text(notebook.read_text())

    monkeypatch.setattr("dpkit.reports.run.execute", execute)
    run(tmp_path, BEGIN)
    assert names(tmp_path) == ["lesson.ipynb", "out-failed"]


def test_a_report_that_another_run_makes_is_refused(tmp_path, capsys, no_kernel):
    from dpkit.cli import main

    alive = tmp_path / f".out.building-{claims.host_name()}-{os.getppid()}-1"
    alive.mkdir()
    lesson = str(write_lesson(tmp_path))
    assert main(["report", lesson, "--out", str(tmp_path / "out")]) == 2
    assert "out is being written by another run" in capsys.readouterr().err
    assert names(tmp_path) == [alive.name, "lesson.ipynb"]


# ---- what the notebook uses ----------------------------------------------------------------------


def test_by_hand_the_same_cells_write_a_valid_result_to_a_fresh_folder(tmp_path, monkeypatch):
    write_lesson(tmp_path)
    monkeypatch.chdir(tmp_path)
    namespace = {
        "epochs": 3,
        "lr": 0.1,
        "fast": True,
        "name": "x",
        "ratios": [],
        "derived": 7,
        "_private": 1,
    }
    report = reports.begin("lesson", namespace)
    assert "result.json" in report.finish(seeds=[1], device="cpu")
    wanted = {name: namespace[name] for name in ("epochs", "lr", "fast", "name", "ratios")}
    result, wrong = read_result(report.folder, notebook="lesson", parameters=wanted)
    assert wrong == [] and result["parameters"] == wanted
    # no such file: all flat public values
    assert "derived" in reports.begin("unknown", namespace).parameters


def test_a_false_check_stops_the_lesson(tmp_path):
    report = reports.Report("lesson", {}, tmp_path, True)
    with pytest.raises(AssertionError, match="ranks agree"):
        report.check("ranks agree", 1 == 2)
    with pytest.raises(TypeError, match=r"write bool\(...\)"):
        report.check("ranks agree", "False")


def test_tables_take_flat_rows_only(tmp_path):
    report = reports.Report("lesson", {}, tmp_path, True)
    with pytest.raises(TypeError, match="column 'kept' must hold numbers"):
        report.table("t", [{"kept": [1, 2]}])
    with pytest.raises(ValueError, match="at least one row"):
        report.table("t", [])


def test_a_text_table_is_aligned_and_short():
    rows = [
        {"method": "dual", "kept": 5, "acc": 0.91239},
        {"method": "random", "kept": 50, "acc": None},
    ]
    assert reports.text_table(rows).splitlines() == [
        "method  kept     acc",
        "------  ----  ------",
        "dual       5  0.9124",
        "random    50       -",
    ]
    assert reports.text_table(rows * 30).endswith("... and 20 more rows")


# ---- the page ------------------------------------------------------------------------------------

PROSE = r"""# A title with `code`

Inline $\sigma_k < 1$ but `$not$ math` and \$5.

$$\sqrt{\frac{1}{J-1}\sum_{j=1}^J p_j}$$

Broken $\left( a$ and unknown $\nonsense{x}$.

```python
price = "$1$"
```

<details>
<summary>Hint</summary>

The *mean*.

</details>

![far](https://example.org/a.png) <img src="http://example.org/b.png"> [link](https://example.org)
"""


def page(*cells):
    from dpkit.reports.page import page

    return page(v4.new_notebook(cells=list(cells)), folder=".", name="lesson")


def loads(html):
    """What a browser would fetch: every address outside <a> and outside namespaces."""
    html = re.sub(r"<a\b[^>]*>", "", html).replace('xmlns="http://www.w3.org/1998/Math/MathML"', "")
    attribute = r"(?:src|href|srcset|poster|data)\s*=\s*[\"']?(?!data:|#)[^\"'\s>]+"
    return re.findall(attribute + r"|url\([^)]*|@import[^;]*", html)


def test_the_page_of_a_report_loads_nothing(good):
    html = (good[0] / "out" / "report.html").read_text()
    assert loads(html) == [] and "<script" not in html and "default-src 'none'" in html
    assert html.count("data:image/png;base64,") == 1 and "PASSED" in html


def test_formulas_are_mathml_and_what_cannot_be_read_stays_as_source():
    html = page(v4.new_markdown_cell(PROSE))
    assert html.count("<math ") == 2 and "<munderover>" in html
    assert (
        r'<code class="latex">\left( a</code>' in html
        and r'<code class="latex">\nonsense{x}</code>' in html
    )
    assert "<code>$not$ math</code>" in html and "$1$" in re.sub("<[^>]+>", "", html).replace(
        "&quot;", '"'
    )


def test_hints_stay_folded_and_pictures_on_the_network_become_links():
    html = page(v4.new_markdown_cell(PROSE))
    hint = html[html.index("<summary>Hint") :]
    assert hint.index("<em>mean</em>") < hint.index("</details>")
    assert loads(html) == [] and '<a href="https://example.org/a.png">' in html
    assert "<title>A title with code</title>" in html


def test_outputs_that_would_load_or_run_something_are_disarmed():
    rich = (
        "<script src='https://cdn.example/x.js'>run()</script><iframe "
        "src=//x.org></iframe><b>kept</b><link rel=stylesheet href=https://x.org/a.css><video "
        "poster='https://x.org/p.png'></video>"
    )
    cell = v4.new_code_cell(
        "show()",
        execution_count=1,
        outputs=[
            v4.new_output("display_data", {"text/html": rich}),
            v4.new_output(
                "display_data",
                {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "IntSlider()"},
            ),
            v4.new_output("stream", name="stdout", text="10%\r100%\n<b>"),
            v4.new_output("stream", name="stdout", text="x"),
        ],
    )
    html = page(cell)
    assert loads(html) == [] and "<script" not in html and "<b>kept</b>" in html
    assert "interactive in JupyterLab" in html and "100%\n&lt;b&gt;x" in html and ">10%" not in html
