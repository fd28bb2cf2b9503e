"""Cache policies: what changes a key and what does not, sums, differences, configuration."""

import threading
from types import SimpleNamespace
from uuid import UUID

import pytest

from riverrun import cache_policies
from riverrun.base.errors import HashError
from riverrun.cache_policies import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    NONE,
    RUN_ID,
    TASK_SOURCE,
    CacheKeyFnPolicy,
    CachePolicy,
    CompoundCachePolicy,
    FlowParameters,
    Inputs,
    RunId,
    TaskSource,
)


def context(task=None, run=1, flow_run=None):
    flow_run_id = UUID(int=flow_run) if flow_run else None
    return SimpleNamespace(task=task, task_run=SimpleNamespace(id=UUID(int=run), flow_run_id=flow_run_id))


def key(policy, inputs=None, ctx=None, parameters=None):
    return policy.compute_key(task_ctx=ctx, inputs=inputs, flow_parameters=parameters)


def test_the_base_computes_nothing():
    with pytest.raises(NotImplementedError, match="compute_key"):
        key(CachePolicy())


@pytest.mark.parametrize("kind", [*CachePolicy.__subclasses__()])
def test_every_policy_can_be_made_bare_and_added_to_none(kind):
    assert NONE + kind() == kind()
    assert repr(kind()).startswith(kind.__name__)


def test_inputs():
    assert key(INPUTS, {"x": 42}) == key(Inputs(), {"x": 42})
    assert len({key(INPUTS, inputs) for inputs in ({}, {"x": 42}, {"y": 42}, {"x": "42"}, {"x": 42, "y": None})}) == 5
    assert key(INPUTS, {}) is None
    assert key(INPUTS, {"x": 1, "y": 2}) == key(INPUTS, {"y": 2, "x": 1})
    assert key(INPUTS, {"x": 42}) == key(INPUTS, {"x": 42}, context(), {"p": 1})


def test_inputs_may_be_left_out():
    policy = INPUTS - "y"
    assert policy != INPUTS
    assert policy.exclude == ["y"]
    assert key(policy, {"x": 1, "y": 2}) == key(policy, {"x": 1, "y": threading.Lock()}) == key(policy, {"x": 1})
    assert INPUTS.exclude == []
    with pytest.raises(TypeError, match="Can only subtract strings"):
        INPUTS - 1


def test_an_input_that_cannot_be_hashed_is_named_with_what_to_do():
    with pytest.raises(ValueError, match=r"input 'conn'.*\['l'\](.|\n)*- 'conn'(.|\n)*cache_key_fn(.|\n)*NO_CACHE"):
        key(INPUTS, {"x": 1, "conn": {"l": threading.Lock()}})
    with pytest.raises(HashError, match=r"\['p'\]"):
        key(FLOW_PARAMETERS, parameters={"p": threading.Lock()})


def test_transforms_of_types(monkeypatch):
    monkeypatch.setitem(cache_policies.STABLE_TRANSFORMS, dict, len)
    assert key(INPUTS, {"x": {"a": 1}}) == key(INPUTS, {"x": {"b": 2}})
    assert key(INPUTS, {"x": 1}) != key(INPUTS, {"x": 2})


def test_flow_parameters_and_run_id():
    assert key(FLOW_PARAMETERS, parameters={"p": 1}) != key(FLOW_PARAMETERS, parameters={"p": 2})
    assert key(FLOW_PARAMETERS, parameters={}) is None
    assert key(RUN_ID) is None
    assert (
        key(RUN_ID, ctx=context(run=1, flow_run=5)) == key(RUN_ID, ctx=context(run=2, flow_run=5)) == str(UUID(int=5))
    )
    assert key(RUN_ID, ctx=context(run=1)) == str(UUID(int=1))


def test_source():
    def one():
        return 1

    first = key(TASK_SOURCE, ctx=context(SimpleNamespace(fn=one)))
    assert first == key(TASK_SOURCE, ctx=context(one)) == key(TASK_SOURCE, ctx=context(one))

    def one(x):
        return x

    assert first != key(TASK_SOURCE, ctx=context(one))
    assert key(TASK_SOURCE) is None


def test_source_of_what_was_never_in_a_file():
    spaces = []
    for body in ("return 1", "return 2", "return 1"):
        space: dict = {}
        exec(f"def f():\n    {body}", space)
        spaces.append(key(TASK_SOURCE, ctx=context(space["f"])))
    assert None not in spaces
    assert spaces[0] == spaces[2] != spaces[1]


def test_source_that_the_task_brings_along():
    brought = [SimpleNamespace(source_code=text, fn=len) for text in ("def a(): ...", "def b(): ...")]
    assert key(TASK_SOURCE, ctx=context(brought[0])) != key(TASK_SOURCE, ctx=context(brought[1]))
    assert key(TASK_SOURCE, ctx=context(SimpleNamespace(source_code=None, fn=len))) is None


def test_key_functions():
    policy = CachePolicy.from_cache_key_fn(lambda ctx, inputs: f"{ctx}-{inputs['x']}")
    assert isinstance(policy, CacheKeyFnPolicy)
    assert key(policy, {"x": 1}, ctx=7) == "7-1"
    assert key(CachePolicy.from_cache_key_fn(lambda ctx, inputs: None)) is None


def test_sums():
    total = INPUTS + TASK_SOURCE
    assert isinstance(total, CompoundCachePolicy)
    assert len((total + RUN_ID).policies) == 3
    assert len((total + (RUN_ID + FLOW_PARAMETERS)).policies) == 4
    assert INPUTS + NO_CACHE == INPUTS
    assert NO_CACHE + INPUTS == INPUTS
    assert total + NO_CACHE == total
    assert NO_CACHE + NONE == NO_CACHE
    assert key(total, {"x": 1}) != key(total, {"x": 2})
    assert key(CompoundCachePolicy(policies=[NONE, NO_CACHE]), {"x": 1}) is None
    fixed = CachePolicy.from_cache_key_fn(lambda ctx, inputs: "fixed")
    assert key(INPUTS + fixed, {"x": 1}) not in (key(INPUTS, {"x": 1}), "fixed")
    with pytest.raises(TypeError, match="Only a cache policy can be added"):
        INPUTS + "x"


def test_inputs_in_a_sum_are_one_policy():
    policy = CompoundCachePolicy(policies=[Inputs(), TaskSource(), Inputs(exclude=["x"]), Inputs(exclude=["y", "x"])])
    assert len(policy.policies) == 2
    less = policy - "z"
    assert [part.exclude for part in less.policies if isinstance(part, Inputs)] == [["x", "y", "z"]]
    assert key(DEFAULT - "y", {"x": 1, "y": 2}) == key(RunId() + Inputs(exclude=["y"]), {"x": 1})


@pytest.mark.parametrize("policy", [RunId(), RunId() + TaskSource(), FlowParameters(), NO_CACHE])
def test_a_policy_without_inputs_has_nothing_to_leave_out(policy):
    assert policy - "foo" is policy


def test_default_depends_on_inputs_source_and_run():
    def one():
        return 1

    def two():
        return 2

    keys = [
        key(DEFAULT, inputs, context(task, flow_run=run))
        for inputs, task, run in (({"x": 1}, one, 1), ({"x": 2}, one, 1), ({"x": 1}, two, 1), ({"x": 1}, one, 2))
    ]
    assert len(set(keys)) == 4
    assert key(DEFAULT, {"x": 1}, context(one, run=9, flow_run=1)) == keys[0]


def test_configuration():
    policy = INPUTS.configure(key_storage="/keys", lock_manager="locks", isolation_level="SERIALIZABLE")
    assert (policy.key_storage, policy.lock_manager, policy.isolation_level) == ("/keys", "locks", "SERIALIZABLE")
    assert policy is not INPUTS
    assert INPUTS == Inputs()
    assert INPUTS.configure() == INPUTS
    for total in (
        TASK_SOURCE + policy,
        policy + TASK_SOURCE,
        (RUN_ID + TASK_SOURCE) + policy,
        policy - "x",
        NONE + policy,
    ):
        assert (total.key_storage, total.lock_manager, total.isolation_level) == ("/keys", "locks", "SERIALIZABLE")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("lock_manager", "different lock implementations"),
        ("key_storage", "different storage locations"),
        ("isolation_level", "different isolation levels"),
    ],
)
def test_contradictions_are_refused(option, message):
    for one in (INPUTS, INPUTS + TASK_SOURCE):
        with pytest.raises(ValueError, match=f"Cannot add CachePolicies with {message}"):
            one.configure(**{option: "one"}) + RUN_ID.configure(**{option: "other"})


def test_a_users_policy():
    class Weekday(CachePolicy):
        def compute_key(self, task_ctx, inputs, flow_parameters, **kwargs):
            return "monday"

    assert key(Weekday()) == "monday"
    assert key(Weekday() + INPUTS, {"x": 1}) != key(INPUTS, {"x": 1})
    assert Weekday().configure(isolation_level="SERIALIZABLE").isolation_level == "SERIALIZABLE"
