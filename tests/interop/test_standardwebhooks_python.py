"""The reference library for Python (``standardwebhooks``) verifies what we sign, and we verify what it signs.

It knows ``v1`` only; ``v1a`` is checked against ``cryptography``, used here without any of our code.
"""

import base64
import json
import os
import time
from datetime import UTC, datetime
from typing import Literal

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from tellwire import unpack
from tellwire.deliver.batch_request import batch_id_of, batch_request_for
from tellwire.errors import SignatureError
from tellwire.model.batching import BatchSettings
from tellwire.model.claim import Claim
from tellwire.model.endpoint import EndpointState
from tellwire.model.event import envelope
from tellwire.policy.subscribing import compile_subscriptions
from tellwire.signing import (
    generate_asymmetric,
    generate_symmetric,
    headers,
    parse_secret,
    public_key,
    verify,
)
from tellwire.store.roster import LiveEndpoint
from tellwire.store.signers import LiveSecret

ID = "evt_01k0000000000000000000000"
BODIES = [
    b"{}",
    b'{"test": 2432232314}',
    '{"name":"Åsa 漢字 🎉","n":1.10}'.encode(),
    b"[" + b"1," * 50_000 + b"1]",
]


@pytest.mark.parametrize("body", BODIES)
def test_it_verifies_what_we_sign(body: bytes) -> None:
    """Also with a second signature beside it, and not when the body differs."""
    texts = [generate_symmetric(os.urandom) for _ in range(2)]
    secrets = [parse_secret(text) for text in (*texts, generate_asymmetric(os.urandom))]
    made = headers(secrets, ID, int(time.time()), body)
    for text in texts:
        assert Webhook(text).verify(body, made) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Webhook(texts[0]).verify(body + b" ", made)


@pytest.mark.parametrize("body", BODIES)
def test_we_verify_what_it_signs(body: bytes) -> None:
    """And not when the body differs."""
    text = generate_symmetric(os.urandom)
    now_s = int(time.time())
    signature = Webhook(text).sign(ID, datetime.fromtimestamp(now_s, UTC), body.decode())
    given = {"Webhook-Id": ID, "Webhook-Timestamp": str(now_s), "Webhook-Signature": signature}
    verify([parse_secret(text)], given, body, now_s)
    with pytest.raises(SignatureError):
        verify([parse_secret(text)], given, body + b" ", now_s)


@pytest.mark.parametrize("body", BODIES)
def test_our_ed25519_signatures_verify_independently(body: bytes) -> None:
    """With the public key that we give out, over ``id.timestamp.body``."""
    secret = parse_secret(generate_asymmetric(os.urandom))
    made = headers([secret], ID, 1_700_000_000, body)
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key(secret).removeprefix("whpk_")))
    signature = base64.b64decode(made["webhook-signature"].removeprefix("v1a,"))
    public.verify(signature, f"{ID}.1700000000.".encode() + body)


@pytest.mark.parametrize("body", BODIES)
def test_we_verify_ed25519_signatures_made_independently(body: bytes) -> None:
    """From a key pair that we never saw, given only its public half."""
    private = Ed25519PrivateKey.generate()
    signature = base64.b64encode(private.sign(f"{ID}.1700000000.".encode() + body)).decode()
    given = {"webhook-id": ID, "webhook-timestamp": "1700000000", "webhook-signature": f"v1a,{signature}"}
    public = parse_secret("whpk_" + base64.b64encode(private.public_key().public_bytes_raw()).decode())
    verify([public], given, body, 1_700_000_000)


@pytest.mark.parametrize("format", ["array", "cloudevents"])
def test_it_verifies_a_batch(format: Literal["array", "cloudevents"]) -> None:
    """One signature holds for all of it."""
    text = generate_symmetric(os.urandom)
    endpoint = LiveEndpoint(
        b"p" * 16, "ep", "acme", "https://a.example", compile_subscriptions([]), EndpointState.ENABLED, {},
        (LiveSecret(parse_secret(text), None),),
    )  # fmt: skip
    body = envelope("order.paid", "2026-01-31T09:30:00.123Z", b'{"n":1.10}')
    ids = [f"evt_01k000000000000000000000{n}0" for n in range(3)]
    claims = [Claim(bytes([n]), b"e", b"p", id, "order.paid", body, 1, 0) for n, id in enumerate(ids)]
    batch_id = batch_id_of(claims)
    made, sent = batch_request_for(
        claims, batch_id, endpoint, BatchSettings(format=format), time.time_ns() // 10**6
    )
    found = Webhook(text).verify(sent, made)
    assert [one["id"] for one in found] == ids
    assert [one.id for one in unpack(made, sent)] == ids
    with pytest.raises(WebhookVerificationError):
        Webhook(text).verify(sent[:-1] + b" ]", made)
