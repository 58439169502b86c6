"""What several commands take: ids, times, pairs, pages. Each is checked before a database is opened."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
import typer

from ..clock import to_datetime
from ..model.endpoint_settings import SETTING_NAMES
from ..model.subscription import Envelope, Subscription

_LENGTH = re.compile(r"([0-9]{1,9})(s|m|h|d)")
_UNITS: Mapping[str, str] = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def time(text: str) -> datetime:
    """An RFC 3339 time, or how long ago: ``90s``, ``15m``, ``2h``, ``7d``."""
    return _time(text, -1)


def ahead(text: str) -> datetime:
    """An RFC 3339 time, or how long from now: ``12h``, ``90d``."""
    return _time(text, 1)


def _time(text: str, direction: int) -> datetime:
    from ..publish.occurred import occurred_ms

    length = _LENGTH.fullmatch(text)
    try:
        if length is not None:
            return datetime.now(UTC) + direction * timedelta(**{_UNITS[length[2]]: int(length[1])})
        return to_datetime(occurred_ms(text))
    except (ValueError, OverflowError) as error:
        where = "ago" if direction < 0 else "from now"
        raise typer.BadParameter(
            f"{text!r}: {error}; or give how long {where}, such as 15m, 2h or 7d"
        ) from None


def pairs(texts: Sequence[str], flag: str, separator: str) -> dict[str, str | None]:
    """``Name: value`` or ``name=value`` texts as a mapping; an empty value is None, which clears in an update."""
    found: dict[str, str | None] = {}
    for text in texts:
        name, middle, value = text.partition(separator)
        if not middle or not name.strip():
            raise typer.BadParameter(f"{text!r} is not of the form name{separator}value", param_hint=flag)
        found[name.strip()] = value.strip() or None
    return found


def settings(given: list[str]) -> dict[str, Any]:
    """What --set gives: names of settings and their values, which are JSON, or else plain text."""
    found: dict[str, Any] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals or name not in SETTING_NAMES:
            names = ", ".join(sorted(SETTING_NAMES))
            raise typer.BadParameter(
                f"{one[:64]!r} is not NAME=VALUE with a name of {names}", param_hint="--set"
            )
        try:
            found[name] = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError):
            found[name] = text
    return found


def json_object(text: str, flag: str) -> dict[str, Any]:
    """A JSON object; its numbers keep all their digits."""
    from ..errors import InvalidInputError
    from ..model.limits import Limits
    from ..publish import strict_json

    try:
        parsed = strict_json.parse(text.encode(errors="surrogateescape"), Limits(), loc_depth=0)
    except InvalidInputError as error:
        raise typer.BadParameter(str(error), param_hint=flag) from None
    found = strict_json.with_decimals(parsed)
    if not isinstance(found, dict):
        raise typer.BadParameter(f"{text[:64]!r} is not a JSON object", param_hint=flag)
    return found


def subscription(
    events: Sequence[str],
    filter: str | None,
    envelope: Envelope | None,
    fields: Sequence[str] | None,
    transform: str | None,
) -> Subscription:
    """The one subscription that --events and what goes with it make."""
    return Subscription(
        tuple(events),
        None if filter is None else json_object(filter, "--filter"),
        envelope,
        tuple(patterns(fields)) if fields else None,
        transform,
    )


def patterns(texts: Sequence[str]) -> list[str]:
    """Event-type patterns, given one by one or with commas between."""
    return [one.strip() for text in texts for one in text.split(",") if one.strip()]


Patterns = Annotated[
    list[str] | None,
    typer.Option(
        "--events", "-e", metavar="PATTERN",
        help="Event types or patterns such as order.*, with commas between or several times.",
    ),
]  # fmt: skip
Filter = Annotated[
    str | None,
    typer.Option("--filter", metavar="JSON", help="What else events must be like; goes with --events."),
]
EnvelopeName = Annotated[
    Envelope | None,
    typer.Option(
        "--envelope", help="The form in which events are sent; goes with --events.", show_default=False
    ),
]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        "--fields", metavar="PATH",
        help="The only parts of the data that are sent, such as customer.id, with commas between or several times; "
        "goes with --events.",
    ),
]  # fmt: skip
TransformText = Annotated[
    str | None,
    typer.Option(
        "--transform", metavar="JMESPATH",
        help="An expression over the event, whose result is sent instead of its data; goes with --events.",
    ),
]  # fmt: skip
Tenant = Annotated[str | None, typer.Option("--tenant", metavar="ID", help="Of this tenant only.")]
Since = Annotated[
    datetime | None,
    typer.Option(
        "--since", parser=time, metavar="TIME", help="Not older: an RFC 3339 time, or such as 15m, 2h."
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option("--until", parser=time, metavar="TIME", help="Older than this time."),
]
Type = Annotated[
    str | None, typer.Option("--type", metavar="PATTERN", help="An event type or a pattern such as order.*")
]
Limit = Annotated[int, typer.Option("--limit", min=1, metavar="NUMBER", help="Items on the page.")]
Cursor = Annotated[
    str | None, typer.Option("--cursor", metavar="CURSOR", help="The next page, as the page before names it.")
]
EventId = Annotated[str, typer.Argument(metavar="EVENT_ID", help="evt_...", show_default=False)]
EndpointId = Annotated[str, typer.Argument(metavar="ENDPOINT_ID", help="ep_...", show_default=False)]
DeliveryId = Annotated[str, typer.Argument(metavar="DELIVERY_ID", help="dlv_...", show_default=False)]
