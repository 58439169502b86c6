"""A foreign issuer of tokens on loopback: it publishes its keys, and signs whatever a test wants."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from tellwire import Tellwire
from tellwire.api.issuer import Issuer, IssuerOptions
from tellwire.clock import Clock, SystemClock
from tellwire.signing.jwt import TokenRules

from .conftest import Receiver, Reply

ISSUER = "https://issuer.example"
AUDIENCE = "https://events.example"
RULES = TokenRules(issuer=ISSUER, audiences=(AUDIENCE,), tenant_claim="org")


class ForeignIssuer:
    """``rotate`` to sign with a new key; ``publishes`` are the keys that it shows."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.publishes: list[ECKey] = []
        self.rotate()
        receiver.respond = lambda request: Reply(body=self.jwks())

    def rotate(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": f"key-{len(self.publishes)}"})
        self.publishes.append(self.key)

    def jwks(self) -> bytes:
        return json.dumps({"keys": [key.as_dict(private=False) for key in self.publishes]}).encode()

    def token(self, **claims: Any) -> dict[str, str]:
        """The header that shows a token: good, but for ``claims``."""
        now_s = int(time.time())
        known = {"iss": ISSUER, "aud": AUDIENCE, "sub": "client-1", "exp": now_s + 600, "iat": now_s}
        said = {"scope": "admin", "org": "*", **known, **claims}
        header = {"alg": "ES256", "typ": "at+jwt", "kid": self.key.kid}
        return {"authorization": f"Bearer {jwt.encode(header, said, self.key)}"}


@asynccontextmanager
async def foreign_issuer() -> AsyncIterator[ForeignIssuer]:
    async with Receiver() as receiver:
        yield ForeignIssuer(receiver)


def trusting(
    foreign: ForeignIssuer, tellwire: Tellwire, *, brake_s: float = 30.0, clock: Clock | None = None
) -> Issuer:
    """The server's side of it."""
    options = IssuerOptions(rules=RULES, keys_url=foreign.receiver.url, brake_s=brake_s)
    return Issuer(options, tellwire, clock or SystemClock())
