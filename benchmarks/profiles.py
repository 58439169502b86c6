"""Prints what ``benchmarks.launch --profile`` has written."""

import pstats
from pathlib import Path


def show_profile(path: Path) -> None:
    """Print where each thread spent its CPU time, those that hardly worked left out."""
    for file in sorted(path.parent.glob(f"{path.name}.*")):
        stats = pstats.Stats(str(file))
        if stats.total_tt > 0.1:  # type: ignore[attr-defined]  # the stubs do not know it
            stats.sort_stats("tottime").print_stats(30)
