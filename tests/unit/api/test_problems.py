"""Errors as problem documents: which kind each is, and what it tells."""

from typing import Any

import msgspec
import pytest

from tellwire.api.problems import problem_of
from tellwire.errors import (
    ClosedError,
    ConflictError,
    FieldError,
    ForbiddenError,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
    StoreUnavailableError,
    UnauthorizedError,
)

OVER = LimitExceededError([FieldError((), "too much")], limit="body_bytes", maximum=5)
OVER_IN_BATCH = LimitExceededError([FieldError(("events", 3), "too much")], limit="payload_bytes", maximum=5)
OVER_IN_NUMBER = LimitExceededError([FieldError(("events",), "too many")], limit="batch_events", maximum=5)


@pytest.mark.parametrize(
    ("error", "status", "more"),
    [
        (InvalidInputError.at("a", 1, msg="bad"), 422, {"errors": [{"loc": ["a", 1], "msg": "bad"}]}),
        (OVER, 413, {"limit": "body_bytes", "maximum": 5}),
        (OVER_IN_BATCH, 422, {"limit": "payload_bytes"}),
        (OVER_IN_NUMBER, 422, {"limit": "batch_events"}),
        (UnauthorizedError("who?"), 401, {"detail": "who?"}),
        (ForbiddenError("read"), 403, {"scope": "read"}),
        (NotFoundError("event", "evt_x"), 404, {"detail": "there is no event 'evt_x'"}),
        (ConflictError("twice", index=2), 409, {"index": 2}),
        (StoreUnavailableError("/secret/path"), 503, {}),
        (ClosedError("closed"), 503, {}),
        (RuntimeError("/secret/path"), 500, {}),
    ],
)
def test_problem_of_each_error(error: Exception, status: int, more: dict[str, Any]) -> None:
    """An error has one status, which its document repeats, and tells nothing of our insides."""
    problem = problem_of(error, "req_1")
    document = msgspec.json.decode(problem.body)
    assert (problem.status, document["status"], document["request_id"]) == (status, status, "req_1")
    assert document | more == document
    assert "/secret" not in problem.body.decode()
    assert ("www-authenticate" in problem.headers) == (status in {401, 403})
    assert ("retry-after" in problem.headers) == (status == 503)
