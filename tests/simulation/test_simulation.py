"""Ten days of publishing, failing, crashing and retrying, in a second: for many seeds, the promises hold.

``TELLWIRE_SIM_SEEDS=1000`` runs more of them; ``TELLWIRE_SIM_FIRST=123 TELLWIRE_SIM_SEEDS=1`` runs one again.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .invariants import Notes, check
from .simulation import Simulation, collect, template

SEEDS = int(os.environ.get("TELLWIRE_SIM_SEEDS", "50"))
FIRST = int(os.environ.get("TELLWIRE_SIM_FIRST", "0"))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return template(tmp_path_factory.mktemp("template"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
@pytest.mark.filterwarnings("ignore")  # crashed processes leave coroutines and sockets behind
def test_the_promises_hold(seed: int, database: Path, tmp_path: Path) -> None:
    """Nothing acknowledged is lost, no stale lease writes, attempts are bounded and on time, nothing hangs."""
    print(f"seed {seed}: run it again with TELLWIRE_SIM_FIRST={seed} TELLWIRE_SIM_SEEDS=1")
    simulation = Simulation(seed, database, tmp_path)
    simulation.run()
    check(Notes(simulation))
    assert simulation.sent
    collect()


@pytest.mark.filterwarnings("ignore")
def test_the_same_seed_is_the_same_history(database: Path, tmp_path: Path) -> None:
    """A seed tells everything: two runs of it write, send and wait alike, so that a failure can be looked at again."""
    histories = []
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        simulation = Simulation(5, database, tmp_path / run)
        simulation.run()
        histories.append(Notes(simulation).history())
        collect()
    assert histories[0] == histories[1]


_DIGEST = """
import hashlib, sys, warnings
from pathlib import Path
from tests.simulation.invariants import Notes
from tests.simulation.simulation import Simulation
warnings.simplefilter("ignore")
simulation = Simulation(7, Path(sys.argv[1]), Path(sys.argv[2]))
simulation.run()
print(hashlib.sha256(repr(Notes(simulation).history()).encode()).hexdigest())
"""


def test_the_same_seed_is_the_same_history_in_every_process(database: Path, tmp_path: Path) -> None:
    """Nothing hangs on how Python happens to order its sets in a process."""
    digests = set()
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        ran = subprocess.run(
            [sys.executable, "-c", _DIGEST, str(database), str(folder)],
            env={**os.environ, "PYTHONHASHSEED": str(number + 1)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(ran.stdout)
    assert len(digests) == 1
