"""The table: one row a measurement, the target beside it, doubts below it."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .runs import CONCURRENCY, STEADY_PER_S, Bare, Full, Steady

_HEADINGS = (
    "what", "per second", "CPU us each", "ratio to bare", "p50 ms", "p99 ms", "peak RSS MiB", "target", "met",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table; what is None does not apply."""

    what: str
    per_s: float | None = None
    cpu_us: float | None = None
    cpu_split_us: dict[str, float] | None = None
    ratio: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    rss_mib: float | None = None
    target: str = ""
    met: bool | None = None
    doubts: tuple[str, ...] = ()

    def cells(self) -> tuple[str, ...]:
        """As text."""
        met = "" if self.met is None else "yes" if self.met else "NO"
        return (
            self.what, _shown(self.per_s, ",.0f"), _shown(self.cpu_us, ",.0f"), _shown(self.ratio, ".2f"),
            _shown(self.p50_ms, ".2f"), _shown(self.p99_ms, ".2f"), _shown(self.rss_mib, ",.0f"),
            self.target, met,
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def bare_row(what: str, runs: Sequence[Bare]) -> Row:
    """The mean of several runs of the bare loop, and how far they lie apart."""
    rates = [run.per_s for run in runs]
    spread = f" ({min(rates):,.0f} to {max(rates):,.0f})" if len(rates) > 1 else ""
    return Row(
        what=what + spread, per_s=statistics.mean(rates), cpu_us=statistics.mean(r.cpu_us for r in runs)
    )


def full_row(what: str, run: Full, around: Sequence[Bare], least_ratio: float | None) -> Row:
    """A run at full speed beside the runs of the bare loop before and after it."""
    ratio = run.per_s / statistics.mean(bare.per_s for bare in around)
    return Row(
        what=f"{what} (acknowledged {run.publish_per_s:,.0f}/s)",
        per_s=run.per_s,
        cpu_us=run.cpu_us,
        cpu_split_us=run.cpu_split_us,
        ratio=ratio,
        rss_mib=run.rss_mib,
        target="" if least_ratio is None else f"ratio >= {least_ratio:.2f}",
        met=None if least_ratio is None else ratio >= least_ratio,
        doubts=run.doubts,
    )


def steady_rows(what: str, run: Steady, p50_below_ms: float) -> list[Row]:
    """Latencies to the acknowledgement and to the receipt."""
    return [
        Row(what=f"{what}: publish to 202", per_s=STEADY_PER_S, p50_ms=run.ack_p50_ms, p99_ms=run.ack_p99_ms),
        Row(
            what=f"{what}: publish to receipt",
            per_s=STEADY_PER_S,
            cpu_us=run.cpu_us,
            cpu_split_us=run.cpu_split_us,
            p50_ms=run.p50_ms,
            p99_ms=run.p99_ms,
            rss_mib=run.rss_mib,
            target=f"p50 < {p50_below_ms:.0f} ms",
            met=run.p50_ms < p50_below_ms,
            doubts=run.doubts,
        ),
    ]


def print_report(facts: dict[str, str], rows: Sequence[Row]) -> None:
    """Print the machine, the table (Markdown) and the doubts."""
    for name, value in facts.items():
        print(f"- {name}: {value}")
    print()
    table = [_HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEADINGS))]
    for index, line in enumerate(table):
        padded = [
            cell.rjust(width) if 1 <= column <= 6 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print(f"| {' | '.join(padded)} |")
        if index == 0:
            print(
                "|"
                + "|".join(
                    "-" * (width + 1) + (":" if 1 <= i <= 6 else "-") for i, width in enumerate(widths)
                )
                + "|"
            )
    print(f"\nConcurrency {CONCURRENCY}. CPU of the bare loop or of the Tellwire server, all threads.")
    for row in rows:
        if row.cpu_split_us:
            split = ", ".join(f"{name} {used:,.0f}" for name, used in row.cpu_split_us.items())
            print(f"CPU us each, {row.what}: {split}")
    for row in rows:
        for doubt in row.doubts:
            print(f"DOUBT {row.what}: {doubt}")


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
