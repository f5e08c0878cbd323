"""The example of the README, run as it stands."""

from __future__ import annotations

import shutil
import subprocess
import sys

from conftest import MODELS, ROOT


def test_the_example_of_the_readme(tmp_path):
    page = (ROOT / "README.md").read_text()
    example = page.split("### Python\n")[1].split("```python\n")[1].split("```")[0]
    assert len(example.strip().splitlines()) == 5
    shutil.copytree(MODELS, tmp_path / "models")
    shutil.copytree(ROOT / "tests" / "data", tmp_path / "tests" / "data")
    example += "print(probabilities.shape, 0 < training.accuracy < 1)\n"
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "tests/data/cat.png" and lines[1].split()[0] == "cat" and lines[-1] == "(2, 10) True", lines
