"""Every error polyvox raises, in one tree.

PolyvoxError
├── Transient                 the same call may succeed later; callers retry with a Backoff
│   ├── InferenceUnavailable  Triton is away, slow, or answers with a server fault
│   │   └── ModelDied         the process that runs the model ended with this call, or before it
│   ├── StoreUnavailable      Redis is away, loading, full, or slow
│   ├── BrokerUnavailable     Kafka is away or refuses for now
│   └── NotDelivered          a webhook's receiver did not take an alert
└── Permanent                 repeating the call cannot help
    ├── BadRecord             one input record cannot be analysed; becomes a dead letter
    ├── InferenceRejected     the server refused this batch (shape, size, backend exception)
    ├── ModelInvalid          a model, bundle or answer is not what the configuration says
    ├── PositionLost          a stored position and the log disagree; continuing would lose or double
    ├── Stalled               records wait and none is settled; a restart may help, going on does not
    ├── StoppedLate           a stop did not come to its end; nothing is lost, the next worker reads on
    ├── TooManyDeadLetters    what is dead-lettered is not the records' fault; going on would dead-letter everything
    ├── ConfigInvalid         a setting or a server's configuration is unusable
    └── PlatformUnsupported   this machine lacks something the local stack needs

Every message says what happened, where, and what to do.
"""

from __future__ import annotations

from typing import Literal, get_args

Stage = Literal["decode", "validate", "tokenize", "infer", "encode"]
STAGES: tuple[str, ...] = get_args(Stage)


class PolyvoxError(Exception):
    """Root of the tree; the command line prints its message and exits non-zero."""


class Transient(PolyvoxError):
    """The same call may succeed later."""


class InferenceUnavailable(Transient):
    """The inference server cannot be reached, timed out or reported a fault of its own."""


class ModelDied(InferenceUnavailable):
    """The process that runs the model is dead; this call may have killed it."""


class StoreUnavailable(Transient):
    """The aggregate store cannot be reached, timed out or cannot take writes now."""


class BrokerUnavailable(Transient):
    """The Kafka cluster cannot be reached or did not take a record."""


class NotDelivered(Transient):
    """A webhook's receiver did not take an alert.

    Args:
        detail: one line for people; must not contain the URL.
        for_good: the receiver wants no more of them.
    """

    def __init__(self, detail: str, *, for_good: bool = False) -> None:
        super().__init__(f"webhook: {detail}")
        self.for_good = for_good


class Permanent(PolyvoxError):
    """Repeating the call cannot help."""


class BadRecord(Permanent):
    """One input record that cannot be analysed.

    Args:
        stage: where it failed; one of `STAGES`.
        reason: a short, bounded code such as `not_json`; a metric label, so never free text.
        detail: one line for people; must not contain the post's text.
    """

    def __init__(self, stage: Stage, reason: str, detail: str = "") -> None:
        super().__init__(f"{stage}: {reason}" + (f" ({detail})" if detail else ""))
        self.stage: Stage = stage
        self.reason = reason
        self.detail = detail


class InferenceRejected(Permanent):
    """The server refused this batch; a smaller batch or another record may pass."""


class ModelInvalid(Permanent):
    """A bundle, model or answer has other names, shapes or values than configured."""


class PositionLost(Permanent):
    """A stored position and the log disagree."""


class Stalled(Permanent):
    """Records wait, no server is known to be away, and no position has moved for too long."""


class StoppedLate(Permanent):
    """A worker that was told to stop did not, in the time that is promised."""


class TooManyDeadLetters(Permanent):
    """More records are dead-lettered than bad records explain."""


class ConfigInvalid(Permanent):
    """A setting, or the configuration of a server, cannot work."""


class PlatformUnsupported(Permanent):
    """The machine lacks something the local stack needs."""
