"""The tables: one for each scenario, one row a measurement, the target beside it, doubts below."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Value = float | str | None


@dataclass(frozen=True)
class Column:
    """One column: the key of its values, its heading, and how numbers are shown (text where empty)."""

    key: str
    heading: str
    form: str = ""

    def shown(self, value: Value) -> str:
        """A value as text; what is None does not apply."""
        return "" if value is None else format(value, self.form)


PER_S = Column("per_s", "per second", ",.0f")
CPU = Column("cpu_us", "CPU us each", ",.0f")
DATABASE_CPU = Column("database_cpu_us", "database CPU us each", ",.0f")
RATIO = Column("ratio", "ratio to bare", ".2f")
RSS = Column("rss_mib", "peak RSS MiB", ",.0f")
DATABASE_MIB = Column("database_mib", "database MiB", ",.0f")
P50 = Column("p50_ms", "p50 ms", ",.2f")
P99 = Column("p99_ms", "p99 ms", ",.2f")
P999 = Column("p999_ms", "p99.9 ms", ",.2f")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table."""

    what: str
    values: Mapping[str, Value] = field(default_factory=dict)
    cpu_split_us: Mapping[str, float] = field(default_factory=dict)
    target: str = ""
    met: bool | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """What a scenario has found; ``notes`` say what its rows have in common."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: list[Row]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As a JSON object, from which ``join`` makes the table again."""
        return asdict(self)

    def printed(self) -> str:
        """As Markdown, with what it says of CPU time by thread and with the doubts."""
        targets = any(row.target for row in self.rows)
        headings = [
            "what",
            *(column.heading for column in self.columns),
            *(["target", "met"] if targets else []),
        ]
        table = [headings, *(self._cells(row, targets) for row in self.rows)]
        lines = [f"### {self.title}", "", *_aligned(table, len(self.columns)), ""]
        lines += [f"- {note}" for note in self.notes]
        for row in self.rows:
            if row.cpu_split_us:
                split = ", ".join(f"{name} {used:,.0f}" for name, used in row.cpu_split_us.items())
                lines.append(f"- CPU us each, {row.what}: {split}")
        lines += [f"- DOUBT {row.what}: {doubt}" for row in self.rows for doubt in row.doubts]
        return "\n".join(lines).rstrip()

    def _cells(self, row: Row, targets: bool) -> list[str]:
        cells = [row.what, *(column.shown(row.values.get(column.key)) for column in self.columns)]
        if targets:
            cells += [row.target, "" if row.met is None else "yes" if row.met else "NO"]
        return cells


def print_report(facts: Mapping[str, str], tables: Sequence[Table]) -> None:
    """Print the machine and the tables."""
    for name, value in facts.items():
        print(f"- {name}: {value}")
    for table in tables:
        print()
        print(table.printed())


def _aligned(table: Sequence[Sequence[str]], numbers: int) -> list[str]:
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    right = range(1, numbers + 1)
    lines = [
        "| "
        + " | ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in table
    ]
    rule = "|".join("-" * (width + 1) + (":" if i in right else "-") for i, width in enumerate(widths))
    return [lines[0], f"|{rule}|", *lines[1:]]
