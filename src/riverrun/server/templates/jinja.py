"""Jinja templates of users: what they may contain, and how they are rendered (only in `child`, which can be killed)."""

from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2 import nodes, sandbox

MAX_TEMPLATE = 64 * 1024
MAX_OUTPUT = 256 * 1024
#: loops of one template
MAX_LOOPS, MAX_LOOP_DEPTH = 10, 2
_ALLOWED: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.NSRef, nodes.Getattr, nodes.Getitem, nodes.Const,
    nodes.Filter, nodes.Test, nodes.If, nodes.For, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not,
    nodes.Neg, nodes.Pos, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Concat, nodes.List,
    nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.Call, nodes.Slice, nodes.Assign,
)  # fmt: skip
_FILTERS_REFUSED = frozenset({"attr", "format"})


class TemplateError(ValueError):
    """A template that cannot be used; says why, and in which line (0: nowhere in particular)."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(f"{message} (line {line})" if line else message)
        self.message = message
        self.line = line


def _environment() -> sandbox.ImmutableSandboxedEnvironment:
    environment = sandbox.ImmutableSandboxedEnvironment(optimized=False, undefined=jinja2.ChainableUndefined)
    for name in ("lipsum", "cycler", "joiner"):
        environment.globals.pop(name, None)
    return environment


def check(text: str) -> None:
    """Raises TemplateError for a template that is malformed, too long, or uses what templates may not use."""
    if len(text) > MAX_TEMPLATE:
        raise TemplateError(f"The template has {len(text):,} characters; at most {MAX_TEMPLATE:,} are taken.")
    try:
        tree = _environment().parse(text)
        loops, depth = sum(1 for _ in tree.find_all(nodes.For)), _loop_depth(tree)
        for node in _all(tree):
            _check_node(node)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(error.message or "It is malformed.", error.lineno) from None
    except RecursionError:
        raise TemplateError("The template is nested too deeply.") from None
    if loops > MAX_LOOPS:
        raise TemplateError(f"The template has {loops} loops; at most {MAX_LOOPS} are allowed.")
    if depth > MAX_LOOP_DEPTH:
        raise TemplateError(f"Loops are nested {depth} deep; at most {MAX_LOOP_DEPTH} levels are allowed.")


def _all(tree: nodes.Node) -> list[nodes.Node]:
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting.extend(node.iter_child_nodes())
    return found


def _loop_depth(node: nodes.Node) -> int:
    inner = max((_loop_depth(child) for child in node.iter_child_nodes()), default=0)
    return inner + isinstance(node, nodes.For)


def _check_node(node: nodes.Node) -> None:
    if not isinstance(node, _ALLOWED):
        raise TemplateError(f"{type(node).__name__} is not allowed in templates.", node.lineno)
    name = node.attr if isinstance(node, nodes.Getattr) else None
    if isinstance(node, nodes.Name):
        name = node.name
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        name = node.value if node.value.startswith("__") else None
    if name is not None and name.startswith("_"):
        raise TemplateError(f"{name!r} is not allowed in templates: it starts with an underscore.", node.lineno)
    if isinstance(node, nodes.Filter) and node.name in _FILTERS_REFUSED:
        raise TemplateError(f"The filter {node.name!r} is not allowed in templates.", node.lineno)


def render(text: str, context: Mapping[str, Any]) -> str:
    """The rendered template; raises TemplateError. It may take any time and memory: call it where that is bounded."""
    check(text)
    parts: list[str] = []
    size = 0
    try:
        for part in _environment().from_string(text).generate(context):
            size += len(part)
            if size > MAX_OUTPUT:
                raise TemplateError(f"The rendered template is longer than {MAX_OUTPUT:,} characters.")
            parts.append(part)
    except TemplateError:
        raise
    except Exception as error:  # noqa: BLE001 - an expression of the user's may raise anything
        raise TemplateError(f"{type(error).__name__}: {error}") from None
    return "".join(parts)
