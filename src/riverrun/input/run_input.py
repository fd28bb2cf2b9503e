"""Typed input of flow runs: models that a run waits for, sends and receives.

    class Approval(RunInput):
        approved: bool

    answer = pause_flow_run(wait_for_input=Approval)

A type that is no model (`int`, `list[str]` ...) is put into one with the single field `value`.
"""

import time
from inspect import isclass
from typing import Any, ClassVar, Generic, Self, TypeVar
from uuid import UUID, uuid4

import msgspec
import pydantic

from riverrun.client.talk import Talk, nap
from riverrun.input.actions import create_from_model_talk, create_talk, ensure_flow_run_id, filter_talk, read_talk
from riverrun.states import State
from riverrun.utilities.talks import awaiting, talking
from riverrun.wire.flow_runs import FlowRunInput

R = TypeVar("R")
T = TypeVar("T")

#: under which keys a run keeps the description, the schema and the response of an input that it waits for
Keyset = dict[str, str]
_SENDER = "prefect.flow-run."
#: the shortest and longest time between two looks for an input
_FIRST_LOOK = 0.1
_LONGEST_LOOK = 1.0


def keyset_from_base_key(base_key: str) -> Keyset:
    """The keys of an input that is known by `base_key`."""
    return {part: f"{base_key}-{part}" for part in ("description", "response", "schema")}


def keyset_from_paused_state(state: State[Any]) -> Keyset:
    """The keys of the input that a paused state waits for; raises RuntimeError for other states."""
    if not state.is_paused():
        raise RuntimeError(f"A state of type {state.type.value!r} is unsupported: only PAUSED waits for input.")
    return keyset_from_base_key(f"{(state.name or '').lower()}-{state.state_details.pause_key}")


class RunInputMetadata(pydantic.BaseModel):
    """Where an input was found, and who sent it."""

    key: str
    sender: str | None = None
    receiver: UUID


class BaseRunInput(pydantic.BaseModel):
    """What `RunInput` and the inputs made of plain types have in common."""

    model_config: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(extra="forbid")

    _description: ClassVar[str | None] = None
    _metadata: RunInputMetadata = pydantic.PrivateAttr()

    @property
    def metadata(self) -> RunInputMetadata:
        return self._metadata

    @classmethod
    def keyset_from_type(cls) -> Keyset:
        return keyset_from_base_key(cls.__name__.lower())

    @classmethod
    def _save_talk(cls, keyset: Keyset, flow_run_id: UUID | None = None) -> Talk[None]:
        """Leave the schema of this input, and its description, with a flow run, for whoever resumes it."""
        yield from create_talk(keyset["schema"], cls.model_json_schema(by_alias=True), flow_run_id)
        if cls._description:
            yield from create_talk(keyset["description"], cls._description, flow_run_id)

    @classmethod
    def _load_talk(cls, keyset: Keyset, flow_run_id: UUID | None = None) -> Talk[Any]:
        """The input that was given under the keys."""
        receiver = ensure_flow_run_id(flow_run_id)
        value = yield from read_talk(keyset["response"], receiver)
        instance = cls(**(value or {}))
        instance._metadata = RunInputMetadata(key=keyset["response"], receiver=receiver)
        return instance

    @classmethod
    def load_from_flow_run_input(cls, flow_run_input: FlowRunInput) -> Self:
        """This input, from what a flow run was sent."""
        instance = cls(**msgspec.json.decode(flow_run_input.value))
        instance._metadata = RunInputMetadata(
            key=flow_run_input.key, sender=flow_run_input.sender, receiver=flow_run_input.flow_run_id
        )
        return instance

    @classmethod
    def with_initial_data(cls, description: str | None = None, **kwargs: Any) -> type[Self]:
        """This input with other defaults, and words for who is to fill it in."""
        known = cls.model_fields
        fields: dict[str, Any] = {
            name: (known[name].annotation if name in known else type(value), value) for name, value in kwargs.items()
        }
        made = pydantic.create_model(cls.__name__, **fields, __base__=cls)
        if description is not None:
            made._description = description
        return made

    def _respond_talk(self, run_input: Any, sender: str | None = None, key_prefix: str | None = None) -> Talk[None]:
        """Send an input to the flow run that this one came from."""
        origin = self.metadata.sender or ""
        if not origin.startswith(_SENDER):
            raise RuntimeError("Cannot respond to an input that was not sent by a flow run.")
        yield from send_talk(run_input, UUID(origin.removeprefix(_SENDER)), sender, key_prefix)

    def _send_talk(self, flow_run_id: UUID, sender: str | None = None, key_prefix: str | None = None) -> Talk[None]:
        """Send this input to a flow run."""
        yield from send_talk(self, flow_run_id, sender, key_prefix)

    save = classmethod(talking(_save_talk.__func__))  # type: ignore[attr-defined] # the function in the classmethod
    asave = classmethod(awaiting(_save_talk.__func__))  # type: ignore[attr-defined]
    respond, arespond = talking(_respond_talk), awaiting(_respond_talk)
    send_to, asend_to = talking(_send_talk), awaiting(_send_talk)

    @classmethod
    def load(cls, keyset: Keyset, flow_run_id: UUID | None = None) -> Any:
        """The input that was given under the keys; awaited in async code."""
        return _load(cls, keyset, flow_run_id)

    @classmethod
    async def aload(cls, keyset: Keyset, flow_run_id: UUID | None = None) -> Any:
        """As `load`, always awaited."""
        return await _aload(cls, keyset, flow_run_id)


def _load_any(kind: type[BaseRunInput], keyset: Keyset, flow_run_id: UUID | None) -> Talk[Any]:
    return (yield from kind._load_talk(keyset, flow_run_id))


_load, _aload = talking(_load_any), awaiting(_load_any)


class RunInput(BaseRunInput):
    """Base of your own inputs."""

    @classmethod
    def receive(
        cls,
        timeout: float | None = 3600,
        poll_interval: float = 10,
        raise_timeout_error: bool = False,
        exclude_keys: set[str] | None = None,
        key_prefix: str | None = None,
        flow_run_id: UUID | None = None,
    ) -> "GetInputHandler[Self]":
        """The inputs of this type that a flow run (default: the current one) is sent, one by one; `for` and `async for`."""
        prefix = key_prefix or f"{cls.__name__.lower()}-auto"
        return GetInputHandler(cls, prefix, timeout, poll_interval, raise_timeout_error, exclude_keys, flow_run_id)

    @classmethod
    def subclass_from_base_model_type(cls, model_cls: type[pydantic.BaseModel]) -> type["RunInput"]:
        """An input with the fields of a pydantic model."""
        return type(f"{model_cls.__name__}RunInput", (RunInput, model_cls), {})


class AutomaticRunInput(BaseRunInput, Generic[T]):
    """An input that is one value of any type."""

    value: T

    @classmethod
    def _load_talk(cls, keyset: Keyset, flow_run_id: UUID | None = None) -> Talk[Any]:
        instance = yield from super()._load_talk(keyset, flow_run_id)
        return instance.value

    @classmethod
    def subclass_from_type(cls, _type: Any) -> type["AutomaticRunInput[Any]"]:
        """An input for values of a type, known by the type's name."""
        name = getattr(_type, "__name__", getattr(_type, "_name", None)) or ""
        fields: dict[str, Any] = {"value": (_type, ...)}
        return pydantic.create_model(f"{name.lower()}AutomaticRunInput", **fields, __base__=AutomaticRunInput)

    @classmethod
    def receive(
        cls,
        timeout: float | None = 3600,
        poll_interval: float = 10,
        raise_timeout_error: bool = False,
        exclude_keys: set[str] | None = None,
        key_prefix: str | None = None,
        flow_run_id: UUID | None = None,
        with_metadata: bool = False,
    ) -> "GetAutomaticInputHandler[Any]":
        """As `RunInput.receive`; gives the values, or with `with_metadata` the inputs they came in."""
        prefix = key_prefix or f"{cls.__name__.lower()}-auto"
        return GetAutomaticInputHandler(
            cls, prefix, timeout, poll_interval, raise_timeout_error, exclude_keys, flow_run_id, with_metadata
        )


def run_input_subclass_from_type(_type: Any) -> type[BaseRunInput]:
    """The class of inputs for a type: itself, a model made an input, or one around any other type."""
    if isclass(_type):
        if issubclass(_type, BaseRunInput):
            return _type
        if issubclass(_type, pydantic.BaseModel):
            return RunInput.subclass_from_base_model_type(_type)
    return AutomaticRunInput.subclass_from_type(_type)


class GetInputHandler(Generic[R]):
    """The inputs that a flow run is sent, as they come: an iterator for both colours of code."""

    def __init__(
        self,
        run_input_cls: type[Any],
        key_prefix: str,
        timeout: float | None = 3600,
        poll_interval: float = 10,
        raise_timeout_error: bool = False,
        exclude_keys: set[str] | None = None,
        flow_run_id: UUID | None = None,
    ) -> None:
        self.run_input_cls = run_input_cls
        self.key_prefix = key_prefix
        self.timeout = timeout
        self.poll_interval = poll_interval
        self.raise_timeout_error = raise_timeout_error
        self.exclude_keys = set(exclude_keys or ())
        self.flow_run_id = ensure_flow_run_id(flow_run_id)

    def to_instance(self, flow_run_input: FlowRunInput) -> Any:
        return self.run_input_cls.load_from_flow_run_input(flow_run_input)

    def _next_talk(self) -> Talk[Any]:
        """The next input. Raises TimeoutError."""
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        look = min(_FIRST_LOOK, self.poll_interval)
        while True:
            found = yield from filter_talk(self.key_prefix, 1, self.exclude_keys, self.flow_run_id)
            if found:
                self.exclude_keys.add(found[0].key)
                return self.to_instance(found[0])
            left = look if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"No input came for flow run {self.flow_run_id} within {self.timeout:g} seconds")
            yield from nap(min(look, left))
            look = min(look * 1.5, self.poll_interval, _LONGEST_LOOK)

    next = talking(_next_talk)
    anext = awaiting(_next_talk)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> R:
        try:
            return self.next.sync(self)  # type: ignore[attr-defined,no-any-return] # by_colour adds it
        except TimeoutError:
            if self.raise_timeout_error:
                raise
            raise StopIteration from None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> R:
        try:
            return await self.anext()  # type: ignore[no-any-return]
        except TimeoutError:
            if self.raise_timeout_error:
                raise
            raise StopAsyncIteration from None


class GetAutomaticInputHandler(GetInputHandler[R]):
    """The same for plain values."""

    def __init__(self, *args: Any, with_metadata: bool = False, **kwargs: Any) -> None:
        if len(args) == 8:
            *args, with_metadata = args  # type: ignore[assignment]
        super().__init__(*args, **kwargs)
        self.with_metadata = with_metadata

    def to_instance(self, flow_run_input: FlowRunInput) -> Any:
        instance = super().to_instance(flow_run_input)
        return instance if self.with_metadata else instance.value


def send_talk(
    run_input: Any, flow_run_id: UUID, sender: str | None = None, key_prefix: str | None = None
) -> Talk[None]:
    """Send an input, or any value, to a flow run. `sender` is who sends it: by default the current flow run."""
    if not isinstance(run_input, BaseRunInput):
        run_input = (
            run_input_subclass_from_type(type(run_input))(**run_input.model_dump())
            if isinstance(run_input, pydantic.BaseModel)
            else AutomaticRunInput.subclass_from_type(type(run_input))(value=run_input)
        )
    prefix = key_prefix or f"{type(run_input).__name__.lower()}-auto"
    yield from create_from_model_talk(f"{prefix}-{uuid4()}", run_input, flow_run_id, sender)


send_input, asend_input = talking(send_talk), awaiting(send_talk)


def receive_input(
    input_type: Any,
    timeout: float | None = 3600,
    poll_interval: float = 10,
    raise_timeout_error: bool = False,
    exclude_keys: set[str] | None = None,
    key_prefix: str | None = None,
    flow_run_id: UUID | None = None,
    with_metadata: bool = False,
) -> GetInputHandler[Any]:
    """The inputs of a type that a flow run is sent, one by one, in `for` or `async for`."""
    kind: Any = run_input_subclass_from_type(input_type)
    options: dict[str, Any] = {"with_metadata": with_metadata} if issubclass(kind, AutomaticRunInput) else {}
    handler: GetInputHandler[Any] = kind.receive(
        timeout=timeout,
        poll_interval=poll_interval,
        raise_timeout_error=raise_timeout_error,
        exclude_keys=exclude_keys,
        key_prefix=key_prefix,
        flow_run_id=flow_run_id,
        **options,
    )
    return handler
