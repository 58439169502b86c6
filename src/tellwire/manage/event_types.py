"""The catalogue of event types: described, with schemas and examples that are checked before they are stored."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from tellwire.clock import Clock, to_datetime
from tellwire.errors import FieldError, InvalidInputError, LimitExceededError
from tellwire.model.event import is_type_name
from tellwire.model.event_type import MAX_EXAMPLES, MAX_VERSION_CHARS, EventType
from tellwire.model.limits import Limits
from tellwire.model.page import Page
from tellwire.policy.schema import MOST_LEVELS, check_schema, compile_schema, levels_of
from tellwire.store import event_types
from tellwire.store.roster import raise_revision
from tellwire.store.store import Store

from .announcing import operational_page, operational_type
from .asked import asked_limit
from .audit import Audit, Note


class EventTypes:
    """Describe event types, look at them, take them out."""

    def __init__(self, store: Store, clock: Clock, limits: Limits, audit: Audit) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits
        self._audit = audit

    async def put(
        self,
        name: str,
        *,
        description: str = "",
        schema: Mapping[str, Any] | None = None,
        version: str = "1",
        examples: Sequence[Mapping[str, Any]] = (),
        deprecated: bool = False,
        validate: bool = False,
    ) -> tuple[EventType, bool]:
        """Describe an event type, in place of what the catalogue said of it before; gives it and whether it is new.

        Args:
            name: such as ``order.paid``.
            description: for people.
            schema: of the data of its events, JSON Schema 2020-12; it refers to nothing outside of itself. For an
                event that you declare as a class: ``OrderPaid.model_json_schema()``.
            version: your own count or name, 1 to 64 characters.
            examples: of the data; at most 20, and each fits the schema.
            deprecated: subscribers are to leave it.
            validate: refuse events of this type whose data does not fit the schema when they are published.

        Raises:
            InvalidInputError: every fault, by field.
            LimitExceededError: larger than ``event_type_bytes``, or more than ``event_types`` of them.
        """
        now_ms = self._clock.now_ms()
        plain_schema, plain_examples = _plain(schema, "schema"), _plain(list(examples), "examples")
        event_type = EventType(
            name, description, plain_schema, version, tuple(plain_examples), deprecated, validate,
            to_datetime(now_ms), to_datetime(now_ms),
        )  # fmt: skip
        self._check(event_type)

        def put(connection: Connection, note: Note) -> tuple[EventType, bool]:
            revision = raise_revision(connection)  # first of all: it lets one change after the other
            before = event_types.find(connection, name)
            if before is None:
                self._check_room(event_types.count(connection))
            after = event_types.put(connection, event_type, revision, now_ms=now_ms)
            note(name, None, before, after)
            return after, before is None

        return await self._audit.write("event_type.put", put)

    async def get(self, name: str) -> EventType:
        """One event type; an operational one where the catalogue has none of that name. Raises NotFoundError."""

        def get(connection: Connection) -> EventType:
            return (
                event_types.find(connection, name)
                or operational_type(name)
                or event_types.get(connection, name)
            )

        return await self._store.read(get)

    async def list(
        self, *, operational: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Page[EventType]:
        """Event types by name; with ``operational``, those of operational events instead of the catalogue's."""
        limit = asked_limit(limit, self._limits)
        if operational:
            return operational_page(limit, cursor)
        return await self._store.read(
            lambda connection: event_types.list_page(connection, limit=limit, cursor=cursor)
        )

    async def delete(self, name: str) -> None:
        """Take an event type out of the catalogue; events of it are published and kept as before.

        Raises NotFoundError.
        """

        def delete(connection: Connection, note: Note) -> None:
            revision = raise_revision(connection)
            before = event_types.get(connection, name)
            event_types.remove(connection, name, revision)
            note(name, None, before, None)

        await self._audit.write("event_type.deleted", delete)

    def _check(self, event_type: EventType) -> None:
        faults: list[FieldError] = []
        if not is_type_name(event_type.name):
            faults.append(FieldError(("name",), "is not an event type such as order.paid"))
        if len(event_type.description) > self._limits.description_chars:
            msg = f"must have at most {self._limits.description_chars} characters"
            faults.append(FieldError(("description",), msg))
        if "\0" in event_type.description:
            faults.append(FieldError(("description",), "must not have the character NUL"))
        if not 1 <= len(event_type.version) <= MAX_VERSION_CHARS:
            faults.append(FieldError(("version",), f"must have 1 to {MAX_VERSION_CHARS} characters"))
        elif not event_type.version.isprintable():
            faults.append(FieldError(("version",), "must have printable characters only"))
        if len(event_type.examples) > MAX_EXAMPLES:
            faults.append(FieldError(("examples",), f"must be at most {MAX_EXAMPLES}"))
        if event_type.validate and event_type.schema is None:
            faults.append(FieldError(("validate",), "needs a schema"))
        if faults:
            raise InvalidInputError(faults)
        self._check_size(event_type)
        _check_schema(event_type)

    def _check_size(self, event_type: EventType) -> None:
        size_bytes = len(json.dumps([event_type.schema, event_type.examples], ensure_ascii=False).encode())
        most = self._limits.event_type_bytes
        if size_bytes > most:
            place = "schema" if event_type.schema is not None else "examples"
            fault = FieldError((place,), f"schema and examples must have at most {most} bytes together")
            raise LimitExceededError([fault], limit="event_type_bytes", maximum=most)

    def _check_room(self, taken: int) -> None:
        most = self._limits.event_types
        if taken >= most:
            fault = FieldError(("name",), f"the catalogue has {most} event types, which is the limit")
            raise LimitExceededError([fault], limit="event_types", maximum=most)


def _check_schema(event_type: EventType) -> None:
    if event_type.schema is None:
        return
    try:
        check_schema(event_type.schema, _levels_asked(event_type))
        schema = compile_schema(event_type.schema)
    except InvalidInputError as error:
        raise InvalidInputError([fault.under("schema") for fault in error.errors]) from None
    faults = [
        fault.under("examples", index)
        for index, example in enumerate(event_type.examples)
        for fault in schema.faults(example)
    ]
    if faults:
        raise InvalidInputError(faults)


def _levels_asked(event_type: EventType) -> int:
    """How many levels the data may have that the schema of this type is ever asked of."""
    return MOST_LEVELS if event_type.validate else levels_of(list(event_type.examples))


def _plain(value: Any, name: str) -> Any:
    """JSON as it will be read again, so that what is answered now is what is answered later."""
    try:
        plain = json.loads(json.dumps(value, allow_nan=False, ensure_ascii=False, default=_number))
        json.dumps(plain, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError.at(name, msg=f"is not JSON that can be kept: {error}") from None
    return plain


def _number(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} is no JSON")
