"""All that is sealed at rest, page by page: which key sealed it, and sealed anew with the vault's first.

Nothing changes but the seal, so nobody has to hear of it. What proves that a database and a key belong together comes
last: a database that opens with the first key alone has nothing left that only another opens.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Column, Connection, select, update

from tellwire.signing.vault import Vault

from . import endpoint_settings
from .answers import SEALED_FOR
from .key_check import NAME
from .tables import endpoints, facts, kept_answers, secrets

PER_PAGE: Final = 500


class Place(NamedTuple):
    """A column of sealed values, and what each value is bound to: the value of ``bound_to``, by way of ``aad``."""

    column: Column[Any]
    key: Column[Any]
    bound_to: Column[Any]
    aad: Callable[[Any], bytes] = bytes
    purpose: bytes | None = None


PLACES: Final = (
    Place(secrets.c.sealed, secrets.c.id, secrets.c.endpoint_id),
    Place(endpoints.c.headers, endpoints.c.id, endpoints.c.id),
    Place(endpoints.c.settings, endpoints.c.id, endpoints.c.id, endpoint_settings.place),
    Place(kept_answers.c.sealed, kept_answers.c.id, kept_answers.c.id, purpose=SEALED_FOR),
    Place(facts.c.value, facts.c.name, facts.c.name, str.encode),
)


class At(msgspec.Struct, frozen=True):
    """How far one is: the place, and the last key that was looked at there."""

    place: int = 0
    after: bytes | str | None = None


class Page(msgspec.Struct, frozen=True):
    """What a page had: sealed values, those sealed with an older key than the first, and where the next begins."""

    values: int
    older: int
    following: At | None


def look(connection: Connection, vault: Vault, at: At, *, reseal: bool) -> Page:
    """Look at the next values, and seal those anew that are to be, if ``reseal`` says so.

    Raises:
        SettingsError: one opens with none of the keys.
    """
    place = PLACES[at.place]
    key, column = place.key, place.column
    asked = select(key, place.bound_to, column).where(column.is_not(None)).order_by(key).limit(PER_PAGE)
    if key.table is facts:
        asked = asked.where(key == NAME)
    if at.after is not None:
        asked = asked.where(key > at.after)
    rows = connection.execute(asked).all()
    own = vault if place.purpose is None else vault.derived(place.purpose)
    older = 0
    for id, bound_to, sealed in rows:
        anew = own.resealed(sealed, place.aad(bound_to))
        if anew is None:
            continue
        older += 1
        if reseal:  # unless somebody has written another value meanwhile, with a key of their own
            connection.execute(
                update(key.table).where(key == id, column == sealed).values({column.name: anew})
            )
    following: At | None
    if len(rows) == PER_PAGE:
        following = At(at.place, rows[-1][0])
    else:
        following = At(at.place + 1) if at.place + 1 < len(PLACES) else None
    return Page(len(rows), older, following)
