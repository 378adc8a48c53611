"""A student with a mouse and a keyboard: JupyterLab in a real browser, an assignment, a mistake,
its mending.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "notebooks" / "assignments"
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
STEM = "dynamics_and_dual"
WRONG = ["def window_means(curves, window):", "return curves[:, :window].mean(axis=1)"]
RIGHT = [
    "def window_means(curves, window):",
    "return np.lib.stride_tricks.sliding_window_view(curves, window, axis=1).mean(axis=2)",
]


@contextmanager
def jupyterlab(folder, home):
    """The address of a JupyterLab that serves `folder` and leaves nothing outside of `home`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        f"JUPYTER_{name}_DIR": str(home / name) for name in ("CONFIG", "DATA", "RUNTIME")
    }
    environment |= {
        "OMP_NUM_THREADS": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    command = [
        sys.executable,
        "-m",
        "jupyter",
        "lab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--IdentityProvider.token=student",
        f"--ServerApp.root_dir={folder}",
    ]
    with open(home / "log", "w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/api/status?token=student", timeout=5
                ).close()
                break
            except OSError:
                assert server.poll() is None, (home / "log").read_text()
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/lab/tree/{STEM}.ipynb?token=student"
    finally:
        server.terminate()
        server.wait(30)


def all_answered_but_the_first(copy, solved):
    """Put the tutorial's answers into a student's copy, all but the first: that one is typed."""
    notebook, answers = json.loads(copy.read_text()), json.loads(solved.read_text())
    answers = {
        cell["metadata"]["nbgrader"]["grade_id"]: cell["source"]
        for cell in answers["cells"]
        if cell["metadata"].get("nbgrader", {}).get("solution")
    }
    for cell in notebook["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id")
        if name in answers and name != "window-means":
            cell["source"] = answers[name]
    copy.write_text(json.dumps(notebook))


@pytest.mark.skipif(BROWSER is None, reason="no Chromium: sudo apt install chromium")
def test_a_student_types_a_mistake_reads_about_it_mends_it_and_validates(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("jupyterlab")
    handouts = pytest.importorskip("dpkit.classroom.handouts")
    handouts.make_assignments(SOURCE, tmp_path / "classroom")
    home, desk = tmp_path / "home", tmp_path / "desk"
    home.mkdir()
    desk.mkdir()
    shutil.copy(tmp_path / "classroom" / "handout" / STEM / f"{STEM}.ipynb", desk)
    all_answered_but_the_first(
        desk / f"{STEM}.ipynb", tmp_path / "classroom" / "tutorials" / f"{STEM}.ipynb"
    )

    with jupyterlab(desk, home) as address, playwright.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox"] * (os.getuid() == 0)
        )
        page = browser.new_page(viewport={"width": 1300, "height": 950})
        page.set_default_timeout(120_000)
        page.goto(address)
        page.locator(".jp-Notebook").wait_for()
        page.get_by_role("button", name="| Idle").wait_for()  # the kernel
        picture(page, "opened")

        page.locator(".jp-CodeCell").first.click()
        for _ in range(3):  # parameters, set-up, text
            page.keyboard.press("Shift+Enter")
        write(page, WRONG)
        page.keyboard.press("Shift+Enter")  # the first test
        page.get_by_text("AssertionError: 4 epochs hold 2 windows of 3").wait_for()
        picture(page, "wrong")

        page.keyboard.press("ArrowUp")  # back from the second test to the first, and to the answer
        page.keyboard.press("ArrowUp")
        write(page, RIGHT)
        page.keyboard.press("Shift+Enter")
        page.get_by_text("AssertionError: 4 epochs hold 2 windows of 3").wait_for(state="hidden")
        picture(page, "right")

        page.get_by_role("button", name="Validate").click()
        page.get_by_text("Success! Your notebook passes all the tests.").wait_for()
        picture(page, "validated")
        browser.close()

    saved = json.loads((desk / f"{STEM}.ipynb").read_text())
    assert any(RIGHT[1] in "".join(cell["source"]) for cell in saved["cells"])


def write(page, lines):
    """Replace what stands in the active cell, key by key, and run it."""
    page.keyboard.press("Enter")
    page.keyboard.press("ControlOrMeta+a")
    for k, line in enumerate(lines):
        if k:
            page.keyboard.press("Enter")  # the editor indents by itself
        page.keyboard.type(line)
    page.keyboard.press("Shift+Enter")


def picture(page, name):
    """A screenshot for whoever wants to look: DPKIT_PICTURES names the folder."""
    if folder := os.environ.get("DPKIT_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png")
