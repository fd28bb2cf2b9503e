"""Errors: bases that users rely on, messages, pickling."""

import pickle

import cloudpickle
import pydantic
import pytest

from riverrun import exceptions as exc
from riverrun.base import errors

INSTANCES = [
    exc.ScriptError(ValueError("q"), "/p"),
    exc.ParameterBindError.from_bind_failure(lambda a: a, TypeError("t"), (1,), {"b": 2}),
    exc.SignatureMismatchError.from_bad_params(["a"], ["b"]),
    exc.ParameterTypeError.from_lines([("x", "wrong")]),
    exc.ObjectNotFound(ValueError("http"), help_message="No such run."),
    exc.ObjectNotFound("No such run."),
    exc.EventTooLarge(5, 3),
    exc.TerminationSignal(15),
    exc.PausedRun("m"),
    exc.Pause("m"),
    exc.Abort("m"),
    exc.MissingResult("m"),
]


@pytest.mark.parametrize("error", INSTANCES, ids=lambda error: type(error).__name__)
def test_pickle(error):
    for library in (pickle, cloudpickle):
        back = library.loads(library.dumps(error))
        assert (type(back), str(back)) == (type(error), str(error))


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("ParameterBindError", TypeError),
        ("SignatureMismatchError", TypeError),
        ("ReservedArgumentError", TypeError),
        ("InvalidNameError", ValueError),
        ("MissingContextError", RuntimeError),
        ("MissingProfileError", ValueError),
        ("PrefectImportError", ImportError),
        ("FlowRunTimeoutError", TimeoutError),
        ("FailedRun", exc.PrefectException),
        ("MissingResult", exc.PrefectException),
    ],
)
def test_bases(name, base):
    assert issubclass(getattr(exc, name), base)


def test_signals_pass_except_exception():
    for signal in (exc.Abort, exc.Pause, exc.TerminationSignal, exc.ExternalSignal):
        assert not issubclass(signal, Exception)


def test_codes_are_set_and_families_distinct():
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.RiverrunError)
    ]
    public = [kind for kind in kinds if not kind.__name__.startswith("_")]
    codes = [kind.code for kind in public]
    assert len(set(codes)) == len(codes)
    assert all(kind.__doc__ for kind in public)


def test_default_message_is_the_docstring():
    assert str(exc.FailedRun()) == "The run failed."
    assert str(exc.FailedRun("why")) == "why"
    assert str(exc.ObjectNotFound()) == "The object was not found."


def test_parameter_type_error_from_pydantic():
    class Model(pydantic.BaseModel):
        num: int
        inner: list[int]

    with pytest.raises(pydantic.ValidationError) as caught:
        Model(num="x", inner=[1, "y"])
    error = exc.ParameterTypeError.from_validation_error(caught.value)
    assert str(error).startswith("Flow run received invalid parameters:\n - num: Input should be")
    assert "\n - inner.1: " in str(error)


def test_bind_error_text():
    def fn(a: int, b: str): ...

    text = str(exc.ParameterBindError.from_bind_failure(fn, TypeError("no"), (), {"c": 3}))
    assert text == (
        "Error binding parameters for function 'fn': no.\n"
        "Function 'fn' has signature 'a: int, b: str' but received args: () and kwargs: ['c']."
    )
