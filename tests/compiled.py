"""What SQLAlchemy has compiled serves all engines of the tests: each test has new ones, which would compile it anew.

In that, a process of the tests is like one of ours that has run for a while. An ``Engine`` has a cache of its own, with
keys that begin with its dialect; here they begin with the kind of dialect.
"""

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.util import LRUCache

_COMPILED: LRUCache[Any, Any] = LRUCache(5_000)


class _Shared:
    """As much of a cache as SQLAlchemy asks for."""

    def get(self, key: tuple[Any, ...]) -> Any:
        return _COMPILED.get(_shared(key))

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        _COMPILED[_shared(key)] = compiled


def _shared(key: tuple[Any, ...]) -> tuple[Any, ...]:
    dialect = key[0]
    return (type(dialect), dialect.server_version_info, *key[1:])


def share() -> None:
    """Have all engines that are made from now on, in this process, use one cache."""
    if getattr(Engine, "shares", False):
        return
    make = Engine.__init__

    # Options have to be named one by one: ``create_engine`` looks which there are.
    def made(
        self: Engine, pool: Any, dialect: Any, url: Any, hide_parameters: bool = False, **more: Any
    ) -> None:
        make(self, pool, dialect, url, hide_parameters=hide_parameters, **more)
        self._compiled_cache = _Shared()  # type: ignore[assignment]  # all that is asked of it

    Engine.__init__ = made  # type: ignore[method-assign, assignment]
    Engine.shares = True  # type: ignore[attr-defined]
