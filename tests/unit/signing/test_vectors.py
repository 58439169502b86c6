"""Published signatures, recomputed and checked: the specification's here, more of them in the shared data."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tellwire.errors import InvalidInputError, SignatureError
from tellwire.signing import SigningSecret, parse_secret, public_key, sign, verify

ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP_S = 1614265330
BODY = b'{"test": 2432232314}'

SHARED = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECRET_KEY = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC_KEY = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="

# (secret, signature): the first is in the tests of every Standard Webhooks library; the second is the header
# example of the specification, whose key pair Svix publishes; the third is in the Go library's tests, from a
# seed.
PUBLISHED = [
    (SHARED, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    (
        SECRET_KEY,
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
    ),
    (
        "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=",
        "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==",
    ),
]


@pytest.mark.parametrize(("text", "signature"), PUBLISHED)
def test_published_signatures_are_made_and_verified(text: str, signature: str) -> None:
    """Both schemes are deterministic, so that signing gives exactly what was published."""
    secret = parse_secret(text)
    assert sign([secret], ID, TIMESTAMP_S, BODY) == signature
    given = {"webhook-id": ID, "webhook-timestamp": str(TIMESTAMP_S), "webhook-signature": signature}
    verify([secret], given, BODY, TIMESTAMP_S)
    with pytest.raises(SignatureError):
        verify([secret], given, BODY.replace(b"2", b"3", 1), TIMESTAMP_S)


def test_published_public_key_belongs_to_the_published_secret_key() -> None:
    """And verifies the specification's example."""
    assert public_key(parse_secret(SECRET_KEY)) == PUBLIC_KEY


VECTORS = Path(__file__).parents[4] / "shared" / "data" / "signature-vectors.json"
# Providers that sign by Standard Webhooks; the last two send the same three headers under names of their own.
HEADER_NAMES = {
    "standard-webhooks": ("webhook-id", "webhook-timestamp", "webhook-signature"),
    "openai": ("webhook-id", "webhook-timestamp", "webhook-signature"),
    "svix": ("svix-id", "svix-timestamp", "svix-signature"),
    "finch": ("finch-event-id", "finch-timestamp", "finch-signature"),
}


def shared_vectors() -> list[Any]:
    if not VECTORS.exists():
        reason = "../shared/data/signature-vectors.json lies outside the repository and is not there"
        return [pytest.param(None, id="no-shared-data", marks=pytest.mark.skip(reason=reason))]
    every = json.loads(VECTORS.read_text())
    return [pytest.param(vector, id=vector["id"]) for vector in every if vector["provider"] in HEADER_NAMES]


def secret_of(vector: dict[str, Any]) -> SigningSecret:
    """The vector's secret, its prefix added where the provider leaves it out."""
    text: str = vector.get("public_key") or vector["secret"]
    if "_" not in text:
        with pytest.raises(InvalidInputError, match="write whsec_ in front"):
            parse_secret(text)
        text = f"whsec_{text}"
    return parse_secret(text)


@pytest.mark.parametrize("vector", shared_vectors())
def test_shared_vectors_are_judged_as_they_say(vector: dict[str, Any]) -> None:
    """Good ones verify; each tampered, expired or malformed one is refused."""
    standard = HEADER_NAMES["standard-webhooks"]
    renamed = dict(zip(HEADER_NAMES[vector["provider"]], standard, strict=True))
    given = {renamed[name.lower()]: value for name, value in vector["headers"].items()}
    body = (
        vector["body"].encode()
        if vector.get("body_base64") is None
        else base64.b64decode(vector["body_base64"])
    )
    secret = secret_of(vector)
    if vector["valid"]:
        verify([secret], given, body, vector["now"], vector["tolerance_s"])
    else:
        with pytest.raises(SignatureError):
            verify([secret], given, body, vector["now"], vector["tolerance_s"])
