"""What pyproject.toml cannot say: a wheel holds notebooks/ as dpkit/notebooks, beside the code."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# the same as PARTS in dpkit/reports/notebooks.py: a checkout may hold a reader's own files too
PARTS = (
    "*.ipynb",
    "reproductions/*.ipynb",
    "assignments/*.ipynb",
    "assignments/README.md",
    "presets/*.yaml",
)


class WithNotebooks(build_py):
    def run(self):
        super().run()
        if self.editable_mode:  # then dpkit finds notebooks/ where it is
            return
        target = Path(self.build_lib, "dpkit", "notebooks")
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build
        for part in PARTS:
            for file in Path("notebooks").glob(part):
                place = target / file.relative_to("notebooks")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)


setup(cmdclass={"build_py": WithNotebooks})
