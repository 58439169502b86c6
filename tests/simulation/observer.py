"""The observer inside the database: it writes down every change of a delivery, with the true time and order."""

from typing import NamedTuple

from tellwire.model.delivery import EXPIRED

from .virtual import EPOCH_MS

OBSERVER = """
    CREATE TABLE observed (
        at_order INTEGER, at_ms INTEGER, writer TEXT, delivery BLOB, state_before INTEGER, state INTEGER,
        made_before INTEGER, made INTEGER, step INTEGER, token_before INTEGER, token INTEGER,
        until_before INTEGER, until INTEGER, due_before INTEGER, due_ms INTEGER, trigger TEXT, status INTEGER,
        doubt_ms REAL, error TEXT
    );
    CREATE TRIGGER observed_birth AFTER INSERT ON deliveries BEGIN
        INSERT INTO observed VALUES (simulated_order(), simulated_now_ms(), simulated_writer(), new.id, NULL, new.state,
            NULL, new.attempt_count, new.schedule_step, NULL, new.lease_token, NULL, new.lease_until_ms, NULL,
            new.due_ms, new.trigger, NULL, simulated_doubt_before_ms(), NULL);
    END;
    CREATE TRIGGER observed_change AFTER UPDATE ON deliveries BEGIN
        INSERT INTO observed VALUES (simulated_order(), simulated_now_ms(), simulated_writer(), new.id, old.state,
            new.state, old.attempt_count, new.attempt_count, new.schedule_step, old.lease_token, new.lease_token,
            old.lease_until_ms, new.lease_until_ms, old.due_ms, new.due_ms, new.trigger, new.last_status_code,
            simulated_doubt_ms(), new.last_error);
    END;
    CREATE TABLE switches (at_order INTEGER, at_ms INTEGER, writer TEXT, url TEXT, state TEXT);
    CREATE TRIGGER observed_endpoint AFTER INSERT ON endpoints BEGIN
        INSERT INTO switches VALUES (simulated_order(), simulated_now_ms(), simulated_writer(), new.url, new.state);
    END;
    CREATE TRIGGER observed_switch AFTER UPDATE ON endpoints
        WHEN old.state != new.state OR old.deleted_ms IS NOT new.deleted_ms BEGIN
        INSERT INTO switches VALUES (simulated_order(), simulated_now_ms(), simulated_writer(), new.url,
            CASE WHEN new.deleted_ms IS NULL THEN new.state ELSE 'deleted' END);
    END;
    CREATE TABLE lane_changes (
        at_order INTEGER, at_ms INTEGER, writer TEXT, endpoint BLOB, owner_before INTEGER, owner INTEGER,
        until_before INTEGER, until INTEGER, waiting_for TEXT, circuit TEXT, doubt_ms REAL
    );
    CREATE TRIGGER observed_lane AFTER INSERT ON lanes BEGIN
        INSERT INTO lane_changes VALUES (simulated_order(), simulated_now_ms(), simulated_writer(), new.endpoint_id,
            NULL, new.owner, NULL, new.until_ms, new.waiting_for, new.circuit, simulated_doubt_ms());
    END;
    CREATE TRIGGER observed_lane_change AFTER UPDATE ON lanes BEGIN
        INSERT INTO lane_changes VALUES (simulated_order(), simulated_now_ms(), simulated_writer(), new.endpoint_id,
            old.owner, new.owner, old.until_ms, new.until_ms, new.waiting_for, new.circuit, simulated_doubt_ms());
    END;
    CREATE TABLE marks (at_order INTEGER, endpoint BLOB);
    CREATE TRIGGER observed_mark AFTER INSERT ON rearrangements WHEN new.holds = 1 BEGIN
        INSERT INTO marks VALUES (simulated_order(), new.endpoint_id);
    END;
    CREATE TABLE hasty (at_order INTEGER, at_ms INTEGER, writer TEXT, delivery BLOB, looked INTEGER, marked INTEGER);
    CREATE TRIGGER observed_haste AFTER UPDATE ON deliveries
        WHEN new.lease_token IS NOT NULL AND new.lease_token IS NOT old.lease_token AND EXISTS
            (SELECT 1 FROM rearrangements WHERE endpoint_id = new.endpoint_id AND holds = 1) BEGIN
        INSERT INTO hasty VALUES (simulated_order(), simulated_now_ms(), simulated_writer(), new.id, simulated_look(),
            (SELECT max(at_order) FROM marks WHERE endpoint = new.endpoint_id));
    END;
    CREATE TRIGGER told_hold AFTER INSERT ON holds BEGIN SELECT simulated_news(); END;
    CREATE TRIGGER told_longer_hold AFTER UPDATE ON holds BEGIN SELECT simulated_news(); END;
    CREATE TABLE replay_moves (at_order INTEGER, writer TEXT, replay BLOB);
    CREATE TRIGGER observed_replay AFTER UPDATE ON replays WHEN new.state = 'running' OR old.up_to != new.up_to BEGIN
        INSERT INTO replay_moves VALUES (simulated_order(), simulated_writer(), new.id);
    END;
"""
"""The observer inside the database."""


class Change(NamedTuple):
    """One change of a delivery, as the observer saw it."""

    order: int
    at_ms: int
    writer: str
    delivery: bytes
    state_before: int | None
    state: int
    made_before: int | None
    made: int
    step: int
    token_before: int | None
    token: int | None
    until_before: int | None
    until: int | None
    due_before: int | None
    due_ms: int | None
    trigger: str
    status: int | None
    doubt_ms: float
    """How far off the writer's clock might be."""
    error: str | None

    @property
    def expires(self) -> bool:
        """Whether it ended the delivery, without an attempt, because its event had expired."""
        return not self.records and self.state != self.state_before and self.error == EXPIRED

    @property
    def grants(self) -> bool:
        """Whether somebody got a lease by it."""
        return self.token is not None and self.token != self.token_before

    @property
    def records(self) -> bool:
        """Whether it wrote a result."""
        return self.made_before is not None and self.made > self.made_before

    @property
    def by_hand(self) -> bool:
        """Whether somebody retried it, cancelled it or deleted its endpoint."""
        return self.token is None and not self.records and not self.expires and self.due_ms != self.due_before


class Switch(NamedTuple):
    """An endpoint was made, switched or deleted, as the observer saw it."""

    order: int
    at_ms: int
    writer: str
    url: str
    state: str


class LaneChange(NamedTuple):
    """A lane was taken, renewed, given up, or told why it waits, as the observer saw it."""

    order: int
    at_ms: int
    writer: str
    endpoint: bytes
    owner_before: int | None
    owner: int
    until_before: int | None
    until: int
    waiting_for: str | None
    circuit: str | None
    doubt_ms: float


class Hasty(NamedTuple):
    """A delivery was claimed while its endpoint had a mark: that its order is being changed, page after page."""

    order: int
    at_ms: int
    writer: str
    delivery: bytes
    looked: int
    """When the transaction that claimed it looked at the control plane."""
    marked: int


def seconds(at_ms: int) -> float:
    """An instant as seconds since the simulation began."""
    return (at_ms - EPOCH_MS) / 1000
