"""What a rule answers to a proposed state, and what is to be done when the answer is written down. Pure data."""

from enum import StrEnum
from typing import Any, Final

from msgspec import Struct, field

from riverrun.wire.states import BaseState, StateType


class Answer(StrEnum):
    """What the proposer learns."""

    ACCEPT = "ACCEPT"  # the proposed state holds now
    REJECT = "REJECT"  # another state holds: that of the decision, or the present one
    WAIT = "WAIT"  # nothing changed; propose again after the delay
    ABORT = "ABORT"  # nothing changed; stop the run


class Effect(StrEnum):
    """What a decision asks its executor to do in the transaction that writes the state. The rules themselves do nothing."""

    TAKE_SLOT = "take_slot"  # take a slot of the deployment, as a lease named in the state
    RENEW_LEASE = "renew_lease"
    RELEASE_SLOT = "release_slot"
    INSERT_CACHE_KEY = "insert_cache_key"
    ANNOUNCE = "announce"  # tell the event of the state change
    COPY_TO_PARENT = "copy_to_parent"  # the parent's task run mirrors a subflow's state


class Decision(Struct, kw_only=True):
    """The answer to one proposal.

    `state` is what to write: the proposed state (possibly completed by the rules), another one, or None: nothing is
    written. `reason` is a sentence for people; `policy` the changes to the run's retry policy; `delay` seconds to wait.
    """

    answer: Answer
    state: BaseState | None = None
    reason: str | None = None
    delay: float = 0.0
    policy: dict[str, Any] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)

    @property
    def writes(self) -> bool:
        """Whether a new state is written."""
        return self.state is not None


def accept(state: BaseState) -> Decision:
    return Decision(answer=Answer.ACCEPT, state=state)


def reject(reason: str, state: BaseState | None = None) -> Decision:
    """With a state that one is written instead; without one the present state stays."""
    return Decision(answer=Answer.REJECT, state=state, reason=reason)


def wait(delay: float, reason: str) -> Decision:
    return Decision(answer=Answer.WAIT, delay=delay, reason=reason)


def abort(reason: str) -> Decision:
    return Decision(answer=Answer.ABORT, reason=reason)


def is_persisted(state: BaseState | None) -> bool:
    """Whether the state carries the metadata of a stored result: an object whose `type` is not "unpersisted"."""
    data = None if state is None else state.data
    if data is None:
        return False
    if isinstance(data, dict):
        return data.get("type") != "unpersisted"
    # In the engine's process: a record of a result, not a bare value of the user's.
    return hasattr(data, "storage_key") or (hasattr(data, "metadata") and hasattr(data, "result"))


ACTIVE: Final = frozenset({StateType.PENDING, StateType.RUNNING, StateType.CANCELLING})
