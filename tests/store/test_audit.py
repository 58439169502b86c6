"""The audit log in the store: filters, and pruning by age."""

from functools import partial

from tellwire.store import audit
from tellwire.store.audit import AuditFilters, NewEntry, prune_audit
from tellwire.store.store import Store

from .rows import NOW


def entry(number: int) -> NewEntry:
    """Entries a millisecond apart, of two tenants in turn."""
    at_ms = NOW + number
    id = at_ms.to_bytes(6, "big") + number.to_bytes(10, "big")
    tenant = "acme" if number % 2 else None
    return NewEntry(
        id, at_ms, "key.created", f"key_{number % 3}", tenant, f"s{number}", None, None, {"n": number}
    )


async def numbers(store: Store, filters: AuditFilters = AuditFilters()) -> list[int]:  # noqa: B008 - frozen
    page = await store.read(partial(audit.list_page, filters=filters, limit=50, cursor=None))
    return [one.after["n"] for one in page.data if one.after]


async def test_entries_are_narrowed_and_pruned(store: Store) -> None:
    """By tenant, actor, subject and time; the oldest go first, some at a time, and none that is young."""
    for number in range(6):
        await store.write(partial(audit.add, entry=entry(number)))
    assert await numbers(store) == [5, 4, 3, 2, 1, 0]
    assert await numbers(store, AuditFilters(tenant="acme")) == [5, 3, 1]
    assert await numbers(store, AuditFilters(tenant="acme", actor="key_0")) == [3]
    assert await numbers(store, AuditFilters(subject="s4")) == [4]
    assert await numbers(store, AuditFilters(since_ms=NOW + 2, until_ms=NOW + 4)) == [3, 2]
    assert await store.write(partial(prune_audit, before_ms=NOW + 5, limit=2)) == 2
    assert await numbers(store) == [5, 4, 3, 2]
    assert await store.write(partial(prune_audit, before_ms=NOW + 5, limit=9)) == 3
    assert await store.write(partial(prune_audit, before_ms=NOW + 5, limit=9)) == 0
    assert await numbers(store) == [5]
