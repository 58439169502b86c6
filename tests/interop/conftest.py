"""JavaScript libraries (``standardwebhooks`` and others), installed once into ``node_modules``, which git ignores."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def javascript_library() -> str:
    """The path of node, once the exact versions of package.json are installed beside this file."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are needed on the PATH to run the JavaScript libraries")
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
    if all(_version(name) == version for name, version in wanted.items()):
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


def _version(name: str) -> str | None:
    """The version of a library that is installed."""
    found = HERE / "node_modules" / name / "package.json"
    return json.loads(found.read_text())["version"] if found.exists() else None
