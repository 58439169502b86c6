"""The JavaScript library (npm ``standardwebhooks``), installed once into ``node_modules``, which git ignores."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def javascript_library() -> str:
    """The path of node, once the exact version of package.json is installed beside this file."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are needed on the PATH to run the JavaScript library")
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]["standardwebhooks"]
    found = HERE / "node_modules" / "standardwebhooks" / "package.json"
    if found.exists() and json.loads(found.read_text())["version"] == wanted:
        return node
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--no-package-lock"],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"npm install failed:\n{done.stdout}\n{done.stderr}"
    return node
