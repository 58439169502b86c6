"""``python -m benchmarks.join FILE...``: one report, and the plots, of what several runs with ``--json`` have found.

Large scenarios are measured one at a time, or one store at a time; a machine may be needed by others in between.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import plots
from .report import Column, Row, Table, print_report


def main(paths: Iterable[str]) -> None:
    """Join the tables of the same name, in the order of the files."""
    runs = [_read(Path(path)) for path in paths]
    tables: dict[str, Table] = {}
    for run in runs:
        for found in run.pop("tables"):
            table = _table_of(found)
            known = tables.setdefault(table.name, table)
            if known is not table:
                known.rows.extend(table.rows)
    facts = runs[0] | {"date": f"{runs[0]['date']} to {runs[-1]['date']}"}
    facts["plots"] = ", ".join(plots.draw(list(tables.values()))) or "none"
    print_report(facts, list(tables.values()))


def _read(path: Path) -> dict[str, Any]:
    """The JSON object of a file, which may have lines of progress before it and others behind."""
    text = path.read_text()
    found: dict[str, Any] = json.JSONDecoder().raw_decode(text, text.index("{"))[0]
    return found


def _table_of(found: dict[str, Any]) -> Table:
    columns = tuple(Column(**column) for column in found["columns"])
    rows = [Row(**row | {"doubts": tuple(row["doubts"])}) for row in found["rows"]]
    return Table(found["name"], found["title"], columns, rows, tuple(found["notes"]))


if __name__ == "__main__":
    main(sys.argv[1:])
