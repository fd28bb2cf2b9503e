"""Fixed vocabularies of the REST interface: statuses and orders of lists."""

from typing import Literal

ArtifactCollectionSort = Literal["CREATED_DESC", "UPDATED_DESC", "ID_DESC", "KEY_DESC", "KEY_ASC"]


ArtifactSort = Literal["CREATED_DESC", "UPDATED_DESC", "ID_DESC", "KEY_DESC", "KEY_ASC"]


AutomationSort = Literal["CREATED_DESC", "UPDATED_DESC", "NAME_ASC", "NAME_DESC"]


BlockDocumentSort = Literal["NAME_DESC", "NAME_ASC", "BLOCK_TYPE_AND_NAME_ASC"]


ConcurrencyLimitStrategy = Literal["ENQUEUE", "CANCEL_NEW"]


Countable = Literal["day", "time", "event", "resource"]


DeploymentSort = Literal["CREATED_DESC", "UPDATED_DESC", "NAME_ASC", "NAME_DESC"]


DeploymentStatus = Literal["READY", "NOT_READY"]


EventOrder = Literal["ASC", "DESC"]


FlowRunSort = Literal[
    "ID_DESC",
    "START_TIME_ASC",
    "START_TIME_DESC",
    "EXPECTED_START_TIME_ASC",
    "EXPECTED_START_TIME_DESC",
    "NAME_ASC",
    "NAME_DESC",
    "NEXT_SCHEDULED_START_TIME_ASC",
    "END_TIME_DESC",
]


FlowSort = Literal["CREATED_DESC", "UPDATED_DESC", "NAME_ASC", "NAME_DESC"]


LogSort = Literal["TIMESTAMP_ASC", "TIMESTAMP_DESC"]


Operator = Literal["and_", "or_"]


SetStateStatus = Literal["ACCEPT", "REJECT", "ABORT", "WAIT"]


TaskRunSort = Literal[
    "ID_DESC",
    "EXPECTED_START_TIME_ASC",
    "EXPECTED_START_TIME_DESC",
    "NAME_ASC",
    "NAME_DESC",
    "NEXT_SCHEDULED_START_TIME_ASC",
    "END_TIME_DESC",
]


TimeUnit = Literal["week", "day", "hour", "minute", "second"]


VariableSort = Literal["CREATED_DESC", "UPDATED_DESC", "NAME_DESC", "NAME_ASC"]


WorkPoolStatus = Literal["READY", "NOT_READY", "PAUSED"]


WorkQueueStatus = Literal["READY", "NOT_READY", "PAUSED"]


WorkerStatus = Literal["ONLINE", "OFFLINE"]
