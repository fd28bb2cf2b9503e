"""Calls about flows."""

from riverrun.client.call import Call, Id, at, delete, get, post
from riverrun.wire.flow_runs import FlowCreate
from riverrun.wire.requests import FlowsFilterBody
from riverrun.wire.runs import Flow


def create_flow(flow: FlowCreate) -> Call[Flow]:
    """Make the flow, or get the one that has its name."""
    return post(at("flows", ""), flow, Flow)


def read_flow(flow_id: Id) -> Call[Flow]:
    return get(at("flows", flow_id), Flow, noun=f"Flow {flow_id}:")


def read_flow_by_name(flow_name: str) -> Call[Flow]:
    return get(at("flows", "name", flow_name), Flow, noun=f"Flow {flow_name!r}:")


def read_flows(body: FlowsFilterBody | None = None) -> Call[list[Flow]]:
    return post(at("flows", "filter"), body or FlowsFilterBody(), list[Flow])


def delete_flow(flow_id: Id) -> Call[None]:
    return delete(at("flows", flow_id), noun=f"Flow {flow_id}:")
