"""Every error that riverrun raises on purpose.

A class's docstring is its default message and `code` its stable name for machines (the server maps codes to HTTP in one
table). Names and bases follow the peer's public exceptions where its users catch them. Signals (`Abort`, `Pause`,
`TerminationSignal`) are BaseExceptions so that `except Exception` in user code lets them pass. This module imports nothing
of riverrun and must stay light.
"""

import signal as _signal
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Self


class RiverrunError(Exception):
    """Something went wrong in riverrun."""

    code: ClassVar[str] = "error"

    def __str__(self) -> str:
        text = super().__str__()
        if text or self.args:
            return text
        return (type(self).__doc__ or type(self).__name__).strip().split("\n", 1)[0]


# -- families ---------------------------------------------------------------------------------------------------------------


class InputError(RiverrunError):
    """What was given is not valid."""

    code = "input"


class NotFoundError(RiverrunError):
    """What was asked for does not exist."""

    code = "not_found"


class ConflictError(RiverrunError):
    """The request conflicts with what is already there."""

    code = "conflict"


class DeniedError(RiverrunError):
    """This is not allowed."""

    code = "denied"


class OrchestrationError(RiverrunError):
    """A run cannot go on this way."""

    code = "orchestration"


class UpstreamError(RiverrunError):
    """A run that was waited for did not end well."""

    code = "upstream"


class UnavailableError(RiverrunError):
    """Something that is needed cannot be reached or does not work now."""

    code = "unavailable"


# -- how runs end -----------------------------------------------------------------------------------------------------------


class CrashedRun(UpstreamError):
    """The run crashed."""

    code = "run_crashed"


class FailedRun(UpstreamError):
    """The run failed."""

    code = "run_failed"


class CancelledRun(UpstreamError):
    """The run was cancelled."""

    code = "run_cancelled"


class UpstreamTaskError(UpstreamError):
    """A task run that this one takes its input from did not complete."""

    code = "upstream_task"


class UnfinishedRun(OrchestrationError):
    """The run has not finished, its result is not available."""

    code = "run_unfinished"


class PausedRun(OrchestrationError):
    """The run is paused, its result is not available."""

    code = "run_paused"

    def __init__(self, *args: Any, state: Any = None) -> None:
        super().__init__(*args)
        self.state = state


class Rejected(OrchestrationError):
    """Orchestration refused the proposed state."""

    code = "rejected"


class NotPausedError(OrchestrationError):
    """The run is not paused."""

    code = "not_paused"


class FlowPauseTimeout(OrchestrationError):
    """A paused flow run was not resumed in time."""

    code = "pause_timeout"


class FlowRunWaitTimeout(OrchestrationError):
    """The flow run did not finish within the time given."""

    code = "wait_timeout"


class FlowRunWatchError(OrchestrationError):
    """The flow run could not be watched to its end."""

    code = "watch_failed"


class FlowRunTimeoutError(TimeoutError):
    """The flow run exceeded its timeout."""


class TaskRunTimeoutError(TimeoutError):
    """The task run exceeded its timeout."""


class MissingResult(NotFoundError):
    """The result of the run is not available."""

    code = "result_missing"


# -- flows, tasks and their arguments ---------------------------------------------------------------------------------------


class MissingFlowError(NotFoundError):
    """There is no such flow."""

    code = "flow_missing"


class UnspecifiedFlowError(InputError):
    """Several flows could be meant; say which one."""

    code = "flow_unspecified"


class ScriptError(InputError):
    """A user's script raised an exception while it was loaded. `user_exc` holds it."""

    code = "script"

    def __init__(self, user_exc: BaseException, path: str) -> None:
        super().__init__(f"Script at {str(path)!r} encountered an exception: {user_exc!r}")
        self.user_exc = user_exc
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.user_exc, self.path)


class ParameterTypeError(InputError):
    """The parameters of a run do not fit the types that its function declares."""

    code = "parameter_type"

    @classmethod
    def from_lines(cls, problems: Iterable[tuple[str, str]]) -> Self:
        """One line for each (parameter, what is wrong with it)."""
        lines = "".join(f"\n - {name}: {problem}" for name, problem in problems)
        return cls(f"Flow run received invalid parameters:{lines}")

    @classmethod
    def from_validation_error(cls, exc: Any) -> Self:
        """From a pydantic `ValidationError`."""
        return cls.from_lines((".".join(map(str, error["loc"])), error["msg"]) for error in exc.errors())


class ParameterBindError(TypeError, InputError):
    """The arguments of a call do not fit the signature of the function."""

    code = "parameter_bind"

    @classmethod
    def from_bind_failure(
        cls, fn: Callable[..., Any], exc: TypeError, call_args: Iterable[Any], call_kwargs: Mapping[str, Any]
    ) -> Self:
        import inspect

        name = getattr(fn, "__name__", repr(fn))
        signature = str(inspect.signature(fn)).strip("()")
        return cls(
            f"Error binding parameters for function '{name}': {exc}.\nFunction '{name}' has signature '{signature}' "
            f"but received args: {call_args} and kwargs: {list(call_kwargs)}."
        )


class SignatureMismatchError(InputError, TypeError):
    """The given parameters are not those of the function."""

    code = "signature_mismatch"

    @classmethod
    def from_bad_params(cls, expected_params: list[str], provided_params: list[str]) -> Self:
        return cls(f"Function expects parameters {expected_params} but was provided with parameters {provided_params}")


class ReservedArgumentError(InputError, TypeError):
    """The function has a parameter whose name riverrun needs for itself."""

    code = "reserved_argument"


class InvalidNameError(InputError, ValueError):
    """The name contains characters that are not allowed."""

    code = "invalid_name"


class MappingLengthMismatch(InputError):
    """The collections that a task is mapped over differ in length."""

    code = "mapping_length"


class MappingMissingIterable(InputError):
    """`map` was called without anything to map over."""

    code = "mapping_missing_iterable"


class MissingContextError(OrchestrationError, RuntimeError):
    """This needs a flow run or task run around it, and there is none."""

    code = "context_missing"


# -- values and settings ----------------------------------------------------------------------------------------------------


class SerializationError(InputError):
    """A value could not be serialised."""

    code = "serialization"


class HashError(InputError):
    """A value could not be hashed."""

    code = "hash"


class ConfigurationError(InputError):
    """What is configured cannot work."""

    code = "configuration"


class MissingProfileError(NotFoundError, ValueError):
    """There is no such profile."""

    code = "profile_missing"


class ProfileSettingsValidationError(InputError):
    """A profile holds settings that are not valid. `errors` has pairs of setting and error."""

    code = "profile_invalid"

    def __init__(self, errors: list[tuple[Any, Any]]) -> None:
        super().__init__(errors)
        self.errors = errors


class EventTooLarge(InputError):
    """The event is too large to be emitted. `size` and `maximum` are in bytes."""

    code = "event_too_large"

    def __init__(self, size: int, maximum: int) -> None:
        super().__init__(size, maximum)
        self.size = size
        self.maximum = maximum

    def __str__(self) -> str:
        return f"Event is too large to emit ({self.size} > {self.maximum} bytes)"


class RiverrunImportError(ImportError):
    """Something cannot be imported from where it was looked for."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


# -- objects, servers and infrastructure ------------------------------------------------------------------------------------


class _ObjectError(RiverrunError):
    """Errors about a stored object; they may be made from a sentence or from the HTTP error they came from."""

    def __init__(self, http_exc: Exception | str | None = None, help_message: str | None = None, *args: Any) -> None:
        super().__init__(http_exc, help_message, *args)
        self.http_exc = http_exc if isinstance(http_exc, Exception) else None
        self.help_message = help_message or (http_exc if isinstance(http_exc, str) else None)

    def __str__(self) -> str:
        if self.help_message:
            return self.help_message
        if self.http_exc is not None and str(self.http_exc):
            return str(self.http_exc)
        return (type(self).__doc__ or "").strip()


class ObjectNotFound(_ObjectError, NotFoundError):
    """The object was not found."""

    code = "object_not_found"


class ObjectAlreadyExists(_ObjectError, ConflictError):
    """The object exists already."""

    code = "object_exists"


class ObjectLimitReached(_ObjectError, ConflictError):
    """No more objects of this kind are allowed."""

    code = "object_limit"


class ObjectUnsupported(_ObjectError, InputError):
    """Objects of this kind are not supported here."""

    code = "object_unsupported"


class HTTPStatusError(RiverrunError):
    """A server answered with an error status. `response` is its answer."""

    code = "http_status"

    def __init__(self, message: str = "", *, request: Any = None, response: Any = None) -> None:
        Exception.__init__(self, message)  # not the next class: the client adds one of httpx
        self.request = request
        self.response = response


class RequestRefused(HTTPStatusError, InputError):
    """The server does not accept what was sent."""

    code = "request_refused"


class AccessDenied(HTTPStatusError, DeniedError):
    """The server does not allow this."""

    code = "access_denied"


class RequestConflict(HTTPStatusError, ConflictError):
    """The server cannot do this as things are now."""

    code = "request_conflict"


class ObjectGone(HTTPStatusError, NotFoundError):
    """The object is not there any more."""

    code = "object_gone"


class ServerFailure(HTTPStatusError, UnavailableError):
    """The server failed."""

    code = "server_failure"


class BlockMissingCapabilities(InputError):
    """The block cannot do what is asked of it."""

    code = "block_capabilities"


class ProtectedBlockError(DeniedError):
    """The block is protected and cannot be changed."""

    code = "block_protected"


class InvalidRepositoryURLError(InputError):
    """The address of the repository is not valid."""

    code = "repository_url"


class InfrastructureError(UnavailableError):
    """The infrastructure of a run does not work."""

    code = "infrastructure"


class InfrastructureNotFound(NotFoundError):
    """The infrastructure of a run cannot be found."""

    code = "infrastructure_not_found"


class InfrastructureNotAvailable(UnavailableError):
    """The infrastructure of a run exists but cannot be reached from here."""

    code = "infrastructure_not_available"


# -- signals ----------------------------------------------------------------------------------------------------------------


class RiverrunSignal(BaseException):
    """Root of the signals that end or suspend a run from inside; user code should let them pass."""


class Abort(RiverrunSignal):
    """Raised when orchestration says that this run must not go on."""


class Pause(RiverrunSignal):
    """Raised when a run pauses and leaves its process. `state` is the state it paused in."""

    def __init__(self, *args: Any, state: Any = None) -> None:
        super().__init__(*args)
        self.state = state


class ExternalSignal(BaseException):
    """Root of the signals that come from outside the process."""


class TerminationSignal(ExternalSignal):
    """Raised when the process is told to end. `signal` is the signal's number."""

    def __init__(self, signal: int = _signal.SIGTERM) -> None:
        super().__init__(signal)
        self.signal = signal


class CancellationSignal(TerminationSignal):
    """Raised in the user's code when its flow run is cancelled. The process goes on: this ends the run alone."""

    def __init__(self, flow_run_id: Any = None) -> None:
        super().__init__()
        self.flow_run_id = flow_run_id


def exception_traceback(exc: BaseException) -> str:
    """The exception with its traceback as text."""
    import traceback

    return "".join(traceback.TracebackException.from_exception(exc).format())
