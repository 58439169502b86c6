"""Bodies in every envelope, for whatever is published."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tellwire.deliver.shaping import shaped
from tellwire.model import event as events
from tellwire.model.claim import Claim
from tellwire.model.subscription import Envelope, Subscription
from tellwire.policy.shaping import compile_shapes

_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    data=st.dictionaries(st.text(), _VALUES, max_size=5),
    spaced=st.booleans(),
    ascii=st.booleans(),
    envelope=st.sampled_from(Envelope),
)
def test_the_bytes_of_the_data_stand_in_every_envelope(
    data: dict[str, Any], spaced: bool, ascii: bool, envelope: Envelope
) -> None:
    """Nothing is written anew: not the spaces, not the escapes, not the digits; and the whole is JSON."""
    separators = (" , ", " : ") if spaced else (",", ":")
    text = json.dumps(data, separators=separators, ensure_ascii=ascii).encode("utf-8", "replace")
    body = events.envelope("order.paid", "2026-01-31T09:30:00.123Z", text)
    shapes = compile_shapes([Subscription(("*",), None, envelope), Subscription(("*",), None, Envelope.RAW)])
    assert shapes is not None
    made = shaped(Claim(b"d", b"e", b"p", "evt_1", "order.paid", body, 1, 0), "acme", shapes)
    alone = envelope in (Envelope.RAW, Envelope.CLOUDEVENTS_BINARY)
    assert made.body == text if alone else made.body.endswith(b'"data":' + text + b"}")
    json.loads(made.body)
    assert all(value.isascii() and value.isprintable() for value in made.headers.values())
