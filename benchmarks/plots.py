"""Draws what a curve says better than a row, as PNG into ``benchmarks/plots``; needs the extra ``bench``."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .databases import TITLES
from .report import Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FOLDER = Path(__file__).parent / "plots"
_COLOURS = {"sqlite": "#0b6e99", "postgres": "#d9622b"}


def draw(tables: Sequence[Table]) -> list[str]:
    """Draw what there is a plot for; gives the names of the files."""
    import matplotlib

    matplotlib.use("Agg")
    drawn = []
    for table in tables:
        plot = _PLOTS.get(table.name)
        if plot is not None and table.rows:
            _save(table.name, plot, table)
            drawn.append(f"{table.name}.png")
    return drawn


def _save(name: str, plot: "Callable[[Axes, Table], None]", table: Table) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=110, layout="constrained")
    axes.grid(alpha=0.3)
    plot(axes, table)
    axes.set_title(table.title)
    axes.legend()
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / f"{name}.png", metadata={"Software": ""})
    pyplot.close(figure)


def _latency(axes: "Axes", table: Table) -> None:
    for store, rows in _by_store(table).items():
        for key, style in (("p50_ms", "-o"), ("p99_ms", "--o"), ("p999_ms", ":o")):
            label = f"{TITLES[store]} {key.removesuffix('_ms').replace('p999', 'p99.9')}"
            axes.plot(_numbers(rows, "rate"), _numbers(rows, key), style, color=_COLOURS[store], label=label)
    axes.set(xlabel="events offered a second", ylabel="publish to receipt, ms", yscale="log")
    axes.set_xlim(left=0)


def _growth(axes: "Axes", table: Table) -> None:
    for store, rows in _by_store(table).items():
        sizes = [_size(row) for row in rows]
        for key, style, what in (
            ("share", "-o", "throughput"),
            ("claim_share", "--o", "claim (empty / this)"),
        ):
            label = f"{TITLES[store]} {what}"
            axes.plot(sizes, _numbers(rows, key), style, color=_COLOURS[store], label=label)
    axes.axhline(0.8, color="grey", linewidth=1)
    axes.set(ylabel="share of the empty database")
    axes.set_ylim(bottom=0)


def _numbers(rows: Sequence[Row], key: str) -> list[float]:
    return [float(row.values[key] or 0) for row in rows]


def _size(row: Row) -> str:
    history, pending = (int(row.values[key] or 0) for key in ("history", "pending"))
    return f"{history:,}" + (f"\n+ {pending:,} pending" if pending else "")


def _by_store(table: Table) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in table.rows:
        found.setdefault(str(row.values["store"]), []).append(row)
    return found


_PLOTS = {"latency": _latency, "growth": _growth}
