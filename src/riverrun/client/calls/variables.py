"""Calls about variables."""

from riverrun.client.call import Call, at
from riverrun.wire.requests import VariablesFilterBody
from riverrun.wire.variables import Variable, VariableCreate, VariableUpdate


def create_variable(variable: VariableCreate) -> Call[Variable]:
    """Make a variable; ObjectAlreadyExists if there is one of this name."""
    return Call("POST", "/variables/", Variable, body=variable)


def read_variable_by_name(name: str) -> Call[Variable | None]:
    """The variable of this name, or None."""
    return Call("GET", at("variables", "name", name), Variable, absent_is_none=True)


def read_variables(limit: int | None = None) -> Call[list[Variable]]:
    """Variables by name."""
    return Call("POST", "/variables/filter", list[Variable], body=VariablesFilterBody(limit=limit, sort="NAME_ASC"))


def update_variable(name: str, variable: VariableUpdate) -> Call[None]:
    """Change the variable of this name."""
    return Call("PATCH", at("variables", "name", name), body=variable, noun=f"Variable {name!r}:")


def delete_variable_by_name(name: str) -> Call[None]:
    """Delete the variable of this name; ObjectNotFound if there is none."""
    return Call("DELETE", at("variables", "name", name), noun=f"Variable {name!r}:")
