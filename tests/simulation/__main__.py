"""Simulations from the command line: ``python -m tests.simulation --seeds 5000``, or one seed again: ``--seed 123``."""

import argparse
import gc
import multiprocessing
import os
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from ..memory import memory
from .runs import Run, make_template, run


def main() -> int:
    """Run, print what was broken and a summary; 1 where something was."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--seed", type=int, help="this one alone, with its whole trace")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)"
    )
    parser.add_argument(
        "--own-clocks",
        action="store_true",
        help="each process goes by its own wrong clock: promises must break",
    )
    parser.add_argument("--small", action="store_true", help="worlds in which less happens")
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.seeds) if asked.seed is None else [asked.seed]
    began, happened, broken, done = monotonic(), Counter[str](), 0, 0
    with tempfile.TemporaryDirectory(prefix="tellwire-sim-", dir=memory()) as folder:
        template = make_template(Path(folder))
        gc.freeze()  # what is there now stays: it need not be looked through after each seed
        for found in _runs(list(seeds), _Runner(template, not asked.own_clocks, asked.small), asked.jobs):
            done += 1
            happened += found.happened
            if found.broken is not None:
                broken += 1
                print(f"\nseed {found.seed}: {found.broken}\n{found.story}")
                print(
                    f"again: python -m tests.simulation --seed {found.seed}{' --small' if asked.small else ''}"
                )
    print(
        f"\n{done} seeds in {monotonic() - began:.0f} s, {broken} with a broken promise. What happened in them:"
    )
    for what, times in sorted(happened.items(), key=lambda item: -item[1]):
        print(f"{times:10,} {what}")
    return 1 if broken else 0


def _runs(seeds: list[int], runner: "_Runner", jobs: int) -> Iterator[Run]:
    if len(seeds) == 1 or jobs == 1:
        yield from map(runner, seeds)
        return
    with multiprocessing.Pool(jobs, maxtasksperchild=200) as pool:
        yield from pool.imap_unordered(runner, seeds, chunksize=5)


class _Runner:
    def __init__(self, template: Path, measured: bool, small: bool) -> None:
        self._template = template
        self._measured = measured
        self._small = small

    def __call__(self, seed: int) -> Run:
        # Processes that died leave coroutines and files behind, which is what dying means.
        warnings.simplefilter("ignore")
        sys.unraisablehook = lambda _: None
        found = run(seed, self._template, measured=self._measured, small=self._small)
        gc.collect()
        return found


if __name__ == "__main__":
    sys.exit(main())
