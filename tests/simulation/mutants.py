"""Mutants: the product, broken on purpose in one place each. ``python -m tests.simulation.mutants`` shows that the
simulation notices, and at which seed; ``README.md`` has what came of it. For those who change lanes, order or batches:
it takes half an hour.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..memory import memory
from .runs import make_template, run

ROOT = Path(__file__).parents[2]
SOURCE = "src/tellwire"


class Mutant(NamedTuple):
    """Each text of ``edits`` stands once in its file; with the other instead, a seed of its worlds must be red."""

    name: str
    worlds: str
    edits: dict[str, dict[str, str]]

    def made_of(self, source: Path) -> dict[str, str]:
        """The text of each file that it changes. Raises AssertionError where one is not as it was."""
        found: dict[str, str] = {}
        for file, edits in self.edits.items():
            text = (source / file).read_text()
            for old, new in edits.items():
                assert text.count(old) == 1, (
                    f"{file} has changed, and so must this mutant: {self.name}: {old!r}"
                )
                text = text.replace(old, new)
            found[file] = text
        return found


WORLDS: dict[str, Callable[[int], bool]] = {
    "all": lambda seed: True,
    "limited": lambda seed: seed % 3 != 0,
    "bursting": lambda seed: seed % 3 == 1,
    "batched": lambda seed: seed % 3 != 0 and seed % 5 == 3,
    "ordered": lambda seed: seed % 5 in (1, 2),
    "lined up": lambda seed: seed % 10 == 8,
    "rearranged": lambda seed: seed % 10 == 6,
    "rearranged in pages": lambda seed: seed % 20 == 6,
}
"""Which seeds have what is meant; see ``Simulation``."""

MUTANTS = (
    Mutant("a lane is taken whoever owns it", "limited", {"store/lanes.py": {
        "WHERE lanes.owner = excluded.owner OR lanes.until_ms <= :now_ms\n    RETURNING":
            "WHERE true OR :now_ms = 0\n    RETURNING",
        "if before is not None and before.owner != owner and before.until_ms > now_ms:": "if False:",
    }}),
    Mutant("nobody asks whether the lane is still ours", "limited", {"deliver/ownership.py": {
        "return until_ms is not None and until_ms - self._clock.now_ms() >= self._needed_ms":
            "return until_ms is not None",
    }}),
    Mutant("the burst is twice as large", "limited", {"deliver/lanes.py": {
        "Bucket(rate.per_ms, rate.at_once, 0,": "Bucket(rate.per_ms, 2 * rate.at_once, 0,",
    }}),
    Mutant("a new owner begins with a full bucket", "bursting", {"deliver/lanes.py": {
        "tokens = bucket.burst if idle_since_ms is None else 0": "tokens = bucket.burst",
    }}),
    Mutant("the token is taken before a batch is sealed", "batched", {"deliver/lanes.py": {
        "            lane.unsent.add(claim)":
            "            lane.bucket = lane.bucket.taken(self._clock.now_ms()) or lane.bucket",
        "        taken = bucket.taken(now_ms)": "        taken = bucket",
    }}),
    Mutant("one request more than max_in_flight", "limited", {"deliver/lanes.py": {
        "maximum = settings.max_in_flight or": "maximum = (settings.max_in_flight or 15) + 1 or",
    }}),
    Mutant("several probes at a time", "bursting", {"deliver/lanes.py": {
        "            if lane.in_flight:": "            if False:",
        "(circuit.probe_ms > now_ms or lane.in_flight > 1)": "circuit.probe_ms > now_ms",
    }, "deliver/lane.py": {
        "return self.per_request  # for a probe": "return 8 * self.per_request",
    }}),
    Mutant("a probe at once, without a pause", "limited", {"deliver/lanes.py": {
        "if circuit.probe_ms > now_ms:": "if False:",
        "(circuit.probe_ms > now_ms or lane.in_flight > 1)": "False",
    }}),
    Mutant("a new owner does not look at the circuit", "bursting", {"deliver/lanes.py": {
        "if circuit is not None and lane.sets_circuit:": "if False:",
    }}),
    Mutant("an open circuit is not written down", "limited", {"deliver/holding.py": {
        "self._owner, why.waiting_for, why.circuit)": "self._owner, why.waiting_for)",
    }}),
    Mutant("Retry-After does not hold the lane back", "all", {"deliver/executor.py": {
        "        if verdict.hold_ms:": "        if False:",
    }}),
    Mutant("Retry-After holds only where it was heard", "all", {"deliver/holds.py": {
        "            self._unwritten[lane.endpoint_id] = until_ms\n": "",
    }}),
    Mutant("nobody looks at what others were told", "all", {"deliver/claimer.py": {
        "        self._holds.heard(found.held, self._last_survey_ms, writes, lifts=found.abreast)\n": "",
    }}),
    Mutant("replays take all slots", "all", {"deliver/replayer.py": {
        ".limit.allowed // 2, 1)": ".limit.allowed * 2, 1)",
    }}),
    Mutant("what has expired is sent", "all", {"deliver/executor.py": {
        "if claim.expires_ms is not None and claim.expires_ms <= started_ms:": "if False:",
    }}),
    Mutant("a result is written whoever holds the lease", "all", {"store/sqlite_hot.py": {
        "WHERE deliveries.id = new.column1 AND deliveries.lease_token = new.column2 AND deliveries.state = 0":
            "WHERE deliveries.id = new.column1 AND deliveries.state = 0",
    }}),
    Mutant("a lease is taken away", "all", {"store/sqlite_hot.py": {
        "d.endpoint_id = ?1 AND {ready_ms} <= ?2": "d.endpoint_id = ?1 AND {ready_ms} <= 5000 + ?2",
    }}),
    Mutant("the lease of a dead process never ends", "all", {"store/sqlite_hot.py": {
        'AND lease_until_ms IS NOT NULL"\n': 'AND lease_until_ms IS NOT NULL AND false"\n',
    }}),
    Mutant("what was cancelled is sent all the same", "bursting", {"deliver/engine.py": {
        "if claim.delivery_id == delivery_id:\n                claim.lease_until_ms = 0":
            "if claim.delivery_id == delivery_id:\n                pass",
    }}),
    Mutant("a paused endpoint gets what is in memory", "bursting", {"deliver/executor.py": {
        "if endpoint is None or endpoint.state is not EndpointState.ENABLED:": "if endpoint is None:",
    }}),
    Mutant("what follows in a line does not wait", "ordered", {"deliver/engine.py": {
        "if through and not self._stopped:": "if not self._stopped:",
    }}),
    Mutant("what is claimed behind a run does not wait", "ordered", {"deliver/engine.py": {
        "        if last.received:\n": "        if True:\n",
    }}),
    Mutant("what is exhausted does not block its line", "ordered", {"store/sqlite_order.py": {
        "WHERE state = 2 AND sequence IS NOT NULL": "WHERE state = 9 AND sequence IS NOT NULL",
    }}),
    Mutant("what stands behind a batch does not wait", "lined up", {"deliver/batches.py": {
        "        return evidence.succeeded": "        return True",
    }}),
    Mutant("a line is claimed past the end of a batch", "lined up", {"store/order.py": {
        "takewhile(lambda row: row[-1] == first[-1], following)": "following",
    }}),
    Mutant("a change of order leaves what waits where it was", "rearranged", {"store/order.py": {
        "            .values(sequence=sequence_now(order))": "            .values(sequence=deliveries.c.sequence)",
    }}),
    Mutant("a new order is taken for done after its first page", "rearranged in pages", {"store/rearranging.py": {
        "left is None and seen < most)": "True)",
    }}),
    Mutant("a lane does not rest while it is rearranged", "rearranged in pages", {"deliver/claimer.py": {
        "if endpoint.rearranging is not None:  # what is first": "if False:  # what is first",
        "if endpoint is not None and endpoint.rearranging is not None:": "if False:",
    }}),
    Mutant("a lane waits while another has something in the air", "all", {"deliver/lanes.py": {
        "while lane.waiting and lane.in_flight < self._slots(lane) and not self._stopped:":
            "while lane.waiting and lane.in_flight < self._slots(lane) and not self._stopped and not any("
            "one.in_flight for one in self._lanes.values() if one is not lane):",
    }}),
    Mutant("nobody hears of what others leave", "all", {"deliver/claimer.py": {
        "if self._survey_ms is None or ready_ms < self._survey_ms:": "if False:",
    }}),
    Mutant("a new id for each sending of a batch", "batched", {"deliver/batches.py": {
        "            batch_id = batch_id_of(claims)\n            if":
            "            batch_id = claims[0].batch_id or self._random.randbytes(16)\n            if",
    }}),
)  # fmt: skip


def main() -> int:
    """Tell of each mutant which seed notices it, and how; 1 where one is noticed by none."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="so many of its worlds each (default 100)")
    parser.add_argument("--only", default="", help="those with this in their name")
    parser.add_argument("--here", metavar="WORLDS", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.here is not None:
        return _look_for_one(asked.here, asked.seeds)
    alive = 0
    for mutant in MUTANTS:
        if asked.only in mutant.name:
            told = _noticed(mutant, asked.seeds)
            alive += told is None
            where = ", ".join(f"`{file}`" for file in mutant.edits)
            print(f"| {mutant.name} | {where} | {told or 'NOBODY NOTICES'} |", flush=True)
    return int(alive > 0)


def _noticed(mutant: Mutant, seeds: int) -> str | None:
    """What the first red seed says, or None."""
    with tempfile.TemporaryDirectory(prefix="tellwire-mutant-", dir=memory()) as folder:
        for part in ("src", "tests"):
            shutil.copytree(
                ROOT / part, Path(folder) / part, ignore=shutil.ignore_patterns("node_modules", "__pycache__")
            )
        source = Path(folder) / SOURCE
        for file, text in mutant.made_of(source).items():
            (source / file).write_text(text)
        ran = subprocess.run(
            [sys.executable, "-m", "tests.simulation.mutants", f"--here={mutant.worlds}", f"--seeds={seeds}"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(folder) / "src")},
            capture_output=True,
            text=True,
        )
    assert ran.returncode in (0, 1), ran.stderr[-2_000:]
    return ran.stdout.strip() or None


def _look_for_one(worlds: str, seeds: int) -> int:
    """In a process of its own, which has imported the mutant."""
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None
    with tempfile.TemporaryDirectory(prefix="tellwire-sim-", dir=memory()) as folder:
        template = make_template(Path(folder))
        for seed in [seed for seed in range(100 * seeds) if WORLDS[worlds](seed)][:seeds]:
            broken = run(seed, template).broken
            if broken is not None:
                print(f"{seed} | `{broken.splitlines()[0][:160]}`")
                return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
