"""Several processes publish, deliver, fail, crash and freeze: for many seeds, the promises hold.

``make sim SEEDS=5000`` runs more of them; ``python -m tests.simulation --seed 123`` runs one again and tells its story.
"""

import gc
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from .database import Trouble
from .runs import make_template, run

SEEDS = 75
MORE_SEEDS = 300
SMALL = range(75, 200)
"""The seeds of worlds in which less happens: they take half as long, and have shown what larger ones hid."""
SMALL_FOR_CERTAIN = 50
AT_A_TIME = 25
MOST_S = 110
MOST_WITH_SMALL_S = 230
"""So long more seeds are begun, and more of the small worlds."""
TELL_SOONEST = (77, 74)
"""What wrong clocks break."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = make_template(tmp_path_factory.mktemp("template"))
    gc.collect()
    gc.freeze()  # what is there now stays: it need not be looked through after each seed
    yield made
    gc.unfreeze()


@pytest.fixture(scope="module")
def began_s() -> float:
    """When the first seeds were begun."""
    return time.monotonic()


@pytest.fixture(scope="module")
def happened() -> Counter[str]:
    """What happened in all seeds together."""
    return Counter()


@pytest.mark.parametrize("first", range(0, MORE_SEEDS, AT_A_TIME))
@pytest.mark.filterwarnings("ignore")  # processes that died leave coroutines and files behind
def test_the_promises_hold(first: int, template: Path, happened: Counter[str], began_s: float) -> None:
    """Nothing acknowledged is lost, no stale lease writes, attempts are bounded, nothing is left behind."""
    took_s = time.monotonic() - began_s
    if first >= SEEDS and took_s > MOST_S:
        pytest.skip(f"{first} seeds have taken {took_s:.0f} s here: more would keep all other tests waiting")
    for seed in range(first, first + AT_A_TIME):
        happened += lived(seed, template)


@pytest.mark.parametrize("first", SMALL[::AT_A_TIME])
@pytest.mark.filterwarnings("ignore")
def test_the_promises_hold_in_small_worlds(
    first: int, template: Path, happened: Counter[str], began_s: float
) -> None:
    """The same where less happens, so that what is seldom meets calm on both sides."""
    took_s = time.monotonic() - began_s
    if first >= SMALL[SMALL_FOR_CERTAIN] and took_s > MOST_WITH_SMALL_S:
        pytest.skip(
            f"all seeds before {first} have taken {took_s:.0f} s here: more would keep other tests waiting"
        )
    for seed in range(first, first + AT_A_TIME):
        happened += lived(seed, template, small=True)


def lived(seed: int, template: Path, *, small: bool = False) -> Counter[str]:
    """What happened in a world whose promises held."""
    found = run(seed, template, small=small)
    gc.collect()
    again = f"python -m tests.simulation --seed {seed}{' --small' if small else ''}"
    assert found.broken is None, f"seed {seed}: {found.broken}\n{found.story}\nagain: {again}"
    return found.happened


def test_everything_goes_wrong_now_and_then(happened: Counter[str]) -> None:
    """The seeds meet every kind of trouble, so that none of them has quietly ceased to be simulated."""
    if happened["processes"] < SEEDS:
        pytest.skip("not all seeds were run")
    wanted = {
        *Trouble, "crash", "crash before the commit", "crash after the commit", "freeze", "graceful stop", "collision",
        "disk full", "database down", "answer lost", "notification lost", "locked rows skipped", "refused", "rescued",
        "late result dropped", "answer to a publish lost", "answer to a result lost", "answer to a claim lost",
        "clock set", "batch sent again", "lane taken over", "lane taken over from a dead owner", "lane at its bound",
        "rate at its bound", "circuit opened", "lane held back", "lane held back for others",
        "replay succeeded", "replay cancelled",
        "replay taken over", "brought again", "sent at once", "cancelled", "batch kept together",
        "order changed in pages", "waited for in a new order",
    }  # fmt: skip
    assert {what for what in wanted if happened[what] < 1} == set()


@pytest.mark.filterwarnings("ignore")
def test_wrong_clocks_break_promises_where_they_rule(template: Path) -> None:
    """Were processes to go by the clocks of their hosts, leases would be stolen and deliveries claimed early: so the
    clocks of the simulation are wrong enough to tell."""
    missing = {"a lease was taken away", "claimed"}
    for seed in dict.fromkeys([*TELL_SOONEST, *range(SEEDS)]):
        if missing:
            found = run(seed, template, measured=False)
            gc.collect()
            missing = {what for what in missing if not (found.broken or "").startswith(what)}
    assert missing == set()


_DIGEST = """
import hashlib, sys, warnings
from pathlib import Path
from tests.simulation.notes import Notes
from tests.simulation.simulation import Simulation
warnings.simplefilter("ignore")
sys.unraisablehook = lambda _: None
simulation = Simulation(19, Path(sys.argv[1]), Path(sys.argv[2]))
simulation.run()
print(hashlib.sha256(repr(Notes(simulation).history()).encode()).hexdigest())
"""


def test_the_same_seed_is_the_same_history_in_every_process(template: Path, tmp_path: Path) -> None:
    """A seed tells everything, whatever the order of Python's sets, so that a failure can be looked at again."""
    digests = set()
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        ran = subprocess.run(
            [sys.executable, "-c", _DIGEST, str(template), str(folder)],
            env={**os.environ, "PYTHONHASHSEED": str(number + 1)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(ran.stdout)
    assert len(digests) == 1
