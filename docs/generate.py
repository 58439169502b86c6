"""``make docs``: writes the pages that come from the code anew, and the SQL of new SQLite databases.

Only these are generated. The other pages are written by hand, and ``tests/docs`` proves that they leave nothing out.
"""

from pathlib import Path

from docs import openapi_changes
from tellwire.cli import reference as cli
from tellwire.manage import operational_reference as operational
from tellwire.observe import reference as metrics
from tellwire.settings import reference as settings
from tellwire.store.migrations import new_sqlite

REFERENCE = Path(__file__).parent / "reference"
DOCUMENT = REFERENCE / "openapi.json"
PAGES = {
    "settings.md": settings.render,
    "cli.md": cli.render,
    "metrics.md": metrics.render,
    "operational-events.md": operational.render,
}


def main() -> None:
    """Write each page."""
    for name, render in PAGES.items():
        (REFERENCE / name).write_text(render(), encoding="utf-8")
    DOCUMENT.write_text(openapi_changes.render(), encoding="utf-8")
    new_sqlite.SCRIPT.write_text(new_sqlite.render(), encoding="utf-8")


if __name__ == "__main__":
    main()
