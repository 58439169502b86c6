"""Verifying: an endpoint whose URL has not proved that it wants deliveries is not enabled, where that is asked for.

Which URL was verified is stored with the endpoint, apart from its state: so pausing, disabling and coming back to a URL
ask nothing twice, and none of them is a way around it.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy import Connection

from tellwire.clock import Clock
from tellwire.errors import ConflictError
from tellwire.model.endpoint import Endpoint, EndpointState
from tellwire.model.verification import Verification
from tellwire.signing.secret import SigningSecret, parse_secret
from tellwire.signing.vault import Vault
from tellwire.store import endpoints, tenants
from tellwire.store.signers import LiveSecret, signers
from tellwire.store.store import Store

from .audit import Audit, Note

Challenge = Callable[[Verification, Endpoint, Sequence[SigningSecret]], Awaitable[str | None]]
"""Asks a receiver once; None where it is verified, else why it is not."""

_ASKED = "waits for its receiver to be verified"


class Verifying:
    """Decides in which state endpoints are switched on, and has them verified."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        clock: Clock,
        audit: Audit,
        wake: Callable[[], None],
        *,
        default: Verification,
        challenge: Challenge,
    ) -> None:
        """``default`` is for tenants that say nothing else."""
        self._store = store
        self._vault = vault
        self._clock = clock
        self._audit = audit
        self._wake = wake
        self._default = default
        self._challenge = challenge

    def switched_on(
        self, connection: Connection, tenant: str, url: str, id: str | None = None
    ) -> dict[str, Any]:
        """The fields of an endpoint that is to be enabled: enabled, or first to be verified."""
        if self._asked_of(connection, tenant) is not Verification.OFF and (
            id is None or endpoints.verified_url(connection, id) != url
        ):
            return {"state": EndpointState.UNVERIFIED, "state_reason": _ASKED}
        return {"state": EndpointState.ENABLED, "state_reason": None}

    async def verified(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint, after its receiver was asked where it is to be verified."""
        return await self.verify(endpoint.id) if endpoint.state is EndpointState.UNVERIFIED else endpoint

    async def verify(self, id: str) -> Endpoint:
        """Ask the receiver now; what waited is sent if it wants deliveries, else ``state_reason`` says why not.

        An endpoint whose URL is verified already is not asked again.

        Raises:
            NotFoundError: there is no such endpoint.
            ConflictError: its tenant's endpoints need not be verified; or it is in another state than
                ``unverified``, and its receiver did not pass.
        """

        def read(connection: Connection) -> tuple[Endpoint, Verification, str | None, str]:
            endpoint = endpoints.get(connection, self._vault, id)
            asked = self._asked_of(connection, endpoint.tenant)
            secret = endpoints.current_secret(connection, self._vault, id)
            return endpoint, asked, endpoints.verified_url(connection, id), secret

        endpoint, asked, verified_url, secret = await self._store.read(read)
        if asked is Verification.OFF:
            raise ConflictError(
                f"endpoints of the tenant {endpoint.tenant!r} need not be verified: enable it instead"
            )
        fault = None
        if verified_url != endpoint.url:
            live = signers([LiveSecret(parse_secret(secret), None)], endpoint.settings.signing, self._vault)
            fault = await self._challenge(asked, endpoint, [one.secret for one in live])
        elif endpoint.state is not EndpointState.UNVERIFIED:
            return endpoint
        after = await self._record(endpoint, fault)
        self._wake()
        return after

    async def _record(self, asked: Endpoint, fault: str | None) -> Endpoint:
        now_ms = self._clock.now_ms()

        def record(connection: Connection, note: Note) -> Endpoint:
            before = endpoints.get(connection, self._vault, asked.id)
            if before.url != asked.url:
                return before  # whoever changed it has the new one verified
            waits = before.state is EndpointState.UNVERIFIED
            fields: dict[str, Any]
            if fault is None:
                fields = {"verified_url": asked.url}
                if waits:
                    fields |= {"state": EndpointState.ENABLED, "state_reason": None}
            elif waits:
                fields = {"state_reason": f"not verified: {fault}"}
            else:
                raise ConflictError(f"endpoint {asked.id!r} is not verified: {fault}")
            after = endpoints.change(connection, self._vault, asked.id, fields, now_ms=now_ms)
            note(asked.id, after.tenant, before, after)
            return after

        return await self._audit.write(
            "endpoint.verified" if fault is None else "endpoint.not_verified", record
        )

    def _asked_of(self, connection: Connection, tenant: str) -> Verification:
        own = tenants.verification_of(connection, tenant)
        return self._default if own is None else own
