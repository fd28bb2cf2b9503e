"""Calls about variables."""

from riverrun.client.call import Call, at, delete, get, patch, post
from riverrun.wire.requests import VariablesFilterBody
from riverrun.wire.variables import Variable, VariableCreate, VariableUpdate


def create_variable(variable: VariableCreate) -> Call[Variable]:
    return post(at("variables", ""), variable, Variable)


def read_variable(name: str) -> Call[Variable | None]:
    return get(at("variables", "name", name), Variable, absent_is_none=True)


def read_variables(body: VariablesFilterBody | None = None) -> Call[list[Variable]]:
    return post(at("variables", "filter"), body or VariablesFilterBody(), list[Variable])


def update_variable(name: str, variable: VariableUpdate) -> Call[None]:
    return patch(at("variables", "name", name), variable, noun=f"Variable {name!r}:")


def delete_variable(name: str) -> Call[None]:
    return delete(at("variables", "name", name), noun=f"Variable {name!r}:")
