"""Writes docs/reference/metrics.md from the table of metrics."""

from .families import FAMILIES, Family

_HEAD = """\
# Metrics

<!-- Written by `make docs`: change tellwire/observe/families.py, not this page. -->

`GET /metrics` of a server, in the text format of Prometheus, or of OpenMetrics where the client asks for it. How to set
it up: [Monitor](../how-to/monitor.md).

- **All processes of a server count.** Whichever process answers adds up what all of them have counted since the server
  was started; what one has counted stays when it dies. Nothing is to be set up for it. Gauges are those of the
  processes that are alive.
- **Series are few.** Every value of every label stands on this page, and every series is there from the start, at zero.
  No label names an endpoint, a tenant or an event type: for these, ask [the API](http-api.md) or read the log lines.
- **What is counted is durable.** An event counts when it is committed, an attempt when its result is.
- Values since the start of the server; Prometheus' `rate` and `increase` cope with restarts.

A histogram `NAME` has the series `NAME_bucket` (with the label `le`), `NAME_sum` and `NAME_count`. Times are seconds.
"""

_KINDS = {"counter": "Counters", "histogram": "Histograms", "gauge": "Gauges"}


def render() -> str:
    """The whole page."""
    parts = [_HEAD]
    for kind, heading in _KINDS.items():
        families = [family for family in FAMILIES if family.kind == kind]
        parts.append(f"## {heading}\n")
        parts.append("| metric | labels | what |\n|---|---|---|")
        parts.append("\n".join(map(_row, families)) + "\n")
    return "\n".join(parts)


def _row(family: Family) -> str:
    values = [dict.fromkeys(column) for column in zip(*family.series, strict=True)]
    labels = [
        f"`{label}`: {', '.join(f'`{value}`' for value in found)}"
        for label, found in zip(family.labels, values, strict=False)
    ] or [f"`{label}`" for label in family.labels]
    doc = family.doc
    if family.buckets:
        doc += f" Buckets: {', '.join(f'{bound:g}' for bound in family.buckets)}."
    return f"| `{family.name}` | {'; '.join(labels)} | {doc} |"
