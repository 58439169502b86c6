"""How much a caller may ask: requests of a key, events of a tenant, wrong keys from an address.

In memory of this process: of several processes behind one address, each allows as much. Without limits, which is the
default, a publish request pays two look-ups for this.
"""

import math
from ipaddress import IPv6Address
from typing import Any, Final

import msgspec

from tellwire.clock import Clock
from tellwire.errors import UnauthorizedError
from tellwire.hub import Tellwire
from tellwire.model.key import Caller
from tellwire.policy.buckets import Buckets

from .problems import TOO_MANY, RefusedError

_WRONG_KEYS_PER_S: Final = 1.0
_WRONG_KEYS_AT_ONCE: Final = 20


class Rates(msgspec.Struct, frozen=True):
    """So many a second; 0 is no limit. ``per_key`` counts requests, ``per_tenant`` events, unless it has its own."""

    per_key: int = 0
    per_tenant: int = 0


class Gate:
    """Lets requests pass, or tells when to come again."""

    def __init__(self, tellwire: Tellwire, rates: Rates, clock: Clock) -> None:
        self._tellwire = tellwire
        self._rates = rates
        self._keys = Buckets()
        self._tenants = Buckets()
        self._addresses = Buckets(at_once=_WRONG_KEYS_AT_ONCE)
        self._now_ms = clock.now_ms

    def admit(self, caller: Caller) -> None:
        """Count one request of a key; the key of the settings has no limit. Raises RefusedError (429)."""
        per_s = self._rates.per_key
        if per_s and caller.actor is not None:
            wait_s = self._keys.take(caller.actor, 1, per_s=per_s, now_ms=self._now_ms())
            if wait_s:
                detail = f"this API key may make {per_s} requests a second"
                raise _too_many("key", per_s, wait_s, detail)

    def give_back(self, caller: Caller, tenants: list[str] | None = None) -> None:
        """Undo ``admit``, and ``admit_events`` where ``tenants`` are given: the request comes again."""
        if caller.actor is not None:
            self._keys.give_back(caller.actor, 1)
        for tenant in tenants or ():
            self._tenants.give_back(tenant, 1)

    def admit_events(self, tenants: list[str]) -> None:
        """Count events that are published, by their tenants. Raises RefusedError (429): one may publish no more now."""
        for tenant in tenants if len(tenants) == 1 else dict.fromkeys(tenants):
            per_s = self._tellwire.publish_rate(tenant) or self._rates.per_tenant
            if per_s:
                count = tenants.count(tenant)
                wait_s = self._tenants.take(tenant, count, per_s=per_s, now_ms=self._now_ms())
                if wait_s:
                    detail = f"tenant {tenant!r} may publish {per_s} events a second"
                    raise _too_many("tenant", per_s, wait_s, detail)

    def refuse(self, error: Exception, client: Any) -> Exception:
        """The answer to a refusal: after many wrong keys from an address, that there were too many.

        Good keys always pass: behind a reverse proxy, strangers share its address with everybody.
        """
        if not isinstance(error, UnauthorizedError) or not error.shown or client is None:
            return error
        wait_s = self._addresses.take(
            _network_of(client[0]), 1, per_s=_WRONG_KEYS_PER_S, now_ms=self._now_ms()
        )
        if not wait_s:
            return error
        return _too_many("address", 1, wait_s, "too many wrong API keys from this address")


def _network_of(address: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 address, which is what one subscriber has at least."""
    try:
        return str(IPv6Address(int(IPv6Address(address)) >> 64 << 64))
    except ValueError:
        return address


def _too_many(policy: str, per_s: int, wait_s: float, detail: str) -> RefusedError:
    after_s = max(1, math.ceil(wait_s))
    headers = {
        "retry-after": str(after_s),
        # draft-ietf-httpapi-ratelimit-headers-10
        "ratelimit-policy": f'"{policy}";q={per_s};w=1',
        "ratelimit": f'"{policy}";r=0;t={after_s}',
    }
    return RefusedError(TOO_MANY, f"{detail}; try again in {after_s} s", headers)
