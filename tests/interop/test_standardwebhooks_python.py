"""The reference library for Python (``standardwebhooks``) verifies what we sign, and we verify what it signs.

It knows ``v1`` only; ``v1a`` is checked against ``cryptography``, used here without any of our code.
"""

import base64
import json
import os
import time
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from tellwire.errors import SignatureError
from tellwire.signing import (
    generate_asymmetric,
    generate_symmetric,
    headers,
    parse_secret,
    public_key,
    verify,
)

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
