"""What the clients do with blocks, variables, artifacts, limits, automations, events, and the server itself."""

from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import msgspec

from riverrun import __version__
from riverrun.base.errors import InputError, RiverrunError
from riverrun.client.call import NO_BODY, Call, Id, Raw
from riverrun.client.calls import admin, artifacts, blocks, concurrency, events, variables
from riverrun.client.calls import automations as automation_calls
from riverrun.client.orchestration.operation import operation
from riverrun.client.orchestration.runs import raw
from riverrun.client.talk import Talk, ask, look_for
from riverrun.wire.artifacts import Artifact, ArtifactCollection
from riverrun.wire.automations import Automation, AutomationCreate, AutomationUpdate
from riverrun.wire.blocks import BlockDocument, BlockDocumentCreate, BlockSchema
from riverrun.wire.concurrency import (
    ConcurrencyLeaseHolder,
    ConcurrencyLimitV2Create,
    ConcurrencyLimitV2Update,
    V2ConcurrencyLimitsDecrementBody,
    V2ConcurrencyLimitsIncrementBody,
    V2ConcurrencyLimitsIncrementWithLeaseBody,
)
from riverrun.wire.events import EventPage
from riverrun.wire.filters import (
    ArtifactCollectionFilter,
    ArtifactFilter,
    AutomationFilter,
    AutomationFilterName,
    BlockSchemaFilter,
    BlockSchemaFilterBlockTypeId,
    EventFilter,
    FlowRunFilter,
    TaskRunFilter,
)
from riverrun.wire.requests import (
    ArtifactsFilterBody,
    ArtifactsLatestFilterBody,
    AutomationsFilterBody,
    BlockDocumentsFilterBody,
    BlockSchemasFilterBody,
    EventsFilterBody,
    VariablesFilterBody,
)
from riverrun.wire.variables import Variable, VariableUpdate

if TYPE_CHECKING:
    import httpx

_EVENTS_PAGE = 50
Mode = Literal["concurrency", "rate_limit"]


# -- variables and artifacts ------------------------------------------------------------------------------------------------


def read_variables(limit: int | None = None) -> Call[list[Variable]]:
    return variables.read_variables(VariablesFilterBody(limit=limit))


def update_variable(variable: VariableUpdate) -> Call[None]:
    """Change the fields that are set of the variable that has this name."""
    if not isinstance(variable.name, str):
        raise InputError("The name says which variable is to be changed; it is missing")
    return variables.update_variable(variable.name, variable)


def read_artifacts(
    *,
    artifact_filter: ArtifactFilter | None = None,
    flow_run_filter: FlowRunFilter | None = None,
    task_run_filter: TaskRunFilter | None = None,
    sort: Any = None,
    limit: int | None = None,
    offset: int = 0,
) -> Call[list[Artifact]]:
    """The artifacts that pass all filters: all versions of each key."""
    return artifacts.read_artifacts(
        ArtifactsFilterBody(
            artifacts=artifact_filter,
            flow_runs=flow_run_filter,
            task_runs=task_run_filter,
            sort=sort or "ID_DESC",
            limit=limit,
            offset=offset,
        )
    )


def read_latest_artifacts(
    *,
    artifact_filter: ArtifactCollectionFilter | None = None,
    flow_run_filter: FlowRunFilter | None = None,
    task_run_filter: TaskRunFilter | None = None,
    sort: Any = None,
    limit: int | None = None,
    offset: int = 0,
) -> Call[list[ArtifactCollection]]:
    """The newest artifact of each key, of those that pass all filters."""
    return artifacts.read_latest_artifacts(
        ArtifactsLatestFilterBody(
            artifacts=artifact_filter,
            flow_runs=flow_run_filter,
            task_runs=task_run_filter,
            sort=sort or "ID_DESC",
            limit=limit,
            offset=offset,
        )
    )


# -- blocks ---------------------------------------------------------------------------------------------------------------


def create_block_document(
    block_document: BlockDocument | BlockDocumentCreate, include_secrets: bool = True
) -> Call[BlockDocument]:
    """Save a document. Its secrets are sent in any case: what is masked would be lost."""
    del include_secrets
    given = block_document
    return blocks.create_block_document(
        BlockDocumentCreate(
            name=given.name,
            data=given.data,
            block_schema_id=given.block_schema_id,
            block_type_id=given.block_type_id,
            is_anonymous=given.is_anonymous,
        )
    )


def read_block_documents(
    block_schema_type: str | None = None,
    offset: int | None = None,
    limit: int | None = None,
    include_secrets: bool = True,
) -> Call[list[BlockDocument]]:
    """Saved documents by name; `block_schema_type` is understood and chooses nothing, as in the peer."""
    del block_schema_type
    body = BlockDocumentsFilterBody(offset=offset or 0, limit=limit, include_secrets=include_secrets)
    return blocks.read_block_documents(body)


def read_block_documents_by_type(
    block_type_slug: str, offset: int | None = None, limit: int | None = None, include_secrets: bool = True
) -> Talk[list[BlockDocument]]:
    """The saved documents of a type."""
    found = yield from ask(blocks.read_block_documents_by_type(block_type_slug, include_secrets))
    start = offset or 0
    return found[start:] if limit is None else found[start : start + limit]


def get_most_recent_block_schema_for_block_type(block_type_id: UUID) -> Talk[BlockSchema | None]:
    """The newest schema of a type, or None."""
    wanted = BlockSchemaFilter(block_type_id=BlockSchemaFilterBlockTypeId(any_=[block_type_id]))
    found = yield from ask(blocks.read_block_schemas(BlockSchemasFilterBody(block_schemas=wanted, limit=1)))
    return found[0] if found else None


# -- limits ---------------------------------------------------------------------------------------------------------------


def create_concurrency_limit(tag: str, concurrency_limit: int) -> Talk[UUID]:
    """Limit how many tasks with a tag run at once, or change the limit; its id."""
    return (yield from ask(concurrency.create_tag_limit(tag, concurrency_limit))).id


def create_global_concurrency_limit(concurrency_limit: ConcurrencyLimitV2Create) -> Talk[UUID]:
    """Make a limit; its id."""
    return (yield from ask(concurrency.create_limit(concurrency_limit))).id


def update_global_concurrency_limit(name: str, concurrency_limit: ConcurrencyLimitV2Update) -> "Call[httpx.Response]":
    return raw(concurrency.update_limit(name, concurrency_limit))


def upsert_global_concurrency_limit_by_name(
    name: str, limit: int, slot_decay_per_second: float | None = None
) -> Talk[None]:
    """Make the limit, or change it if it differs."""
    found = yield from look_for(concurrency.read_limit(name))
    if found is None:
        decay = slot_decay_per_second or 0.0
        yield from ask(
            concurrency.create_limit(ConcurrencyLimitV2Create(name=name, limit=limit, slot_decay_per_second=decay))
        )
        return
    decays = found.slot_decay_per_second if slot_decay_per_second is None else slot_decay_per_second
    if (found.limit, found.slot_decay_per_second) != (limit, decays):
        change = ConcurrencyLimitV2Update(limit=limit, slot_decay_per_second=decays)
        yield from ask(concurrency.update_limit(name, change))


def increment_concurrency_slots(names: list[str], slots: int, mode: Mode) -> "Call[httpx.Response]":
    """Take slots of all these limits or of none: RequestConflict if there are too few."""
    return raw(concurrency.take_slots(V2ConcurrencyLimitsIncrementBody(names=names, slots=slots, mode=mode)))


def increment_concurrency_slots_with_lease(
    names: list[str], slots: int, mode: Mode, lease_duration: float, holder: ConcurrencyLeaseHolder | None = None
) -> "Call[httpx.Response]":
    """As `increment_concurrency_slots`; the slots come back when the lease is not renewed."""
    body = V2ConcurrencyLimitsIncrementWithLeaseBody(
        names=names, slots=slots, mode=mode, lease_duration=lease_duration, holder=holder
    )
    return raw(concurrency.take_slots_with_lease(body))


def renew_concurrency_lease(lease_id: UUID, lease_duration: float) -> "Call[httpx.Response]":
    return raw(concurrency.renew_lease(lease_id, lease_duration))


def release_concurrency_slots(names: list[str], slots: int, occupancy_seconds: float) -> "Call[httpx.Response]":
    body = V2ConcurrencyLimitsDecrementBody(names=names, slots=slots, occupancy_seconds=occupancy_seconds or None)
    return raw(concurrency.release_slots(body))


def release_concurrency_slots_with_lease(lease_id: UUID) -> "Call[httpx.Response]":
    return raw(concurrency.release_lease(lease_id))


def increment_v1_concurrency_slots(names: list[str], task_run_id: UUID) -> "Call[httpx.Response]":
    """Take a slot of the limit of each of these tags."""
    return raw(concurrency.take_tag_slots(names, task_run_id))


def decrement_v1_concurrency_slots(
    names: list[str], task_run_id: UUID, occupancy_seconds: float = 0
) -> "Call[httpx.Response]":
    """Give the slots of these tags back."""
    del occupancy_seconds  # limits of tags keep no such account
    return raw(concurrency.release_tag_slots(names, task_run_id))


# -- automations and events -------------------------------------------------------------------------------------------------


def create_automation(automation: Any) -> Talk[UUID]:
    """Make an automation; its id."""
    return (yield from ask(automation_calls.create_automation(_as(automation, AutomationCreate)))).id


def update_automation(automation_id: Id, automation: Any) -> Call[None]:
    """Put this automation in the place of what is there."""
    return automation_calls.update_automation(automation_id, _as(automation, AutomationUpdate))


def _as(given: Any, kind: Any) -> Any:
    """The fields of `kind` that an automation in any of its shapes has."""
    fields = given if isinstance(given, dict) else given.model_dump(mode="json")
    names = {field.name for field in msgspec.structs.fields(kind)}
    try:
        return msgspec.convert({name: fields[name] for name in names if name in fields}, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InputError(f"This is no automation: {error}") from error


def read_automations(
    *, automations: AutomationFilter | None = None, sort: Any = None, limit: int | None = None, offset: int = 0
) -> Call[list[Automation]]:
    body = AutomationsFilterBody(automations=automations, sort=sort or "NAME_ASC", limit=limit, offset=offset)
    return automation_calls.read_automations(body)


def read_automations_by_name(name: str) -> Call[list[Automation]]:
    """The automations of exactly this name."""
    wanted = AutomationFilter(name=AutomationFilterName(any_=[name]))
    return automation_calls.read_automations(AutomationsFilterBody(automations=wanted))


def find_automation(id_or_name: Id) -> Talk[Automation | None]:
    """The automation of this id, else of this name, else of this name in other case; else None."""
    text = str(id_or_name)
    try:
        found = yield from ask(automation_calls.read_automation(UUID(text)))
    except ValueError:
        found = None
    if found is not None:
        return found
    there = yield from ask(automation_calls.read_automations())
    exact = [each for each in there if each.name == text]
    near = [each for each in there if each.name.lower() == text.lower()]
    return next(iter(exact + near), None)


def pause_automation(automation_id: Id) -> Call[None]:
    return automation_calls.enable_automation(automation_id, False)


def resume_automation(automation_id: Id) -> Call[None]:
    return automation_calls.enable_automation(automation_id, True)


def read_events(filter: EventFilter | None = None, limit: int = _EVENTS_PAGE) -> Call[EventPage]:
    """A page of events, at most 50; `next_page` of it leads to the next."""
    return events.read_events(EventsFilterBody(filter=filter or EventFilter(), limit=min(limit, _EVENTS_PAGE)))


def read_events_page(next_page_url: str) -> Call[EventPage]:
    """The page that `next_page` of another page names."""
    token = parse_qs(urlsplit(next_page_url).query).get("page-token")
    if not token:
        raise InputError(f"{next_page_url!r} is not the address of a page of events: it has no page-token")
    return events.read_next_events(token[0])


# -- the server -----------------------------------------------------------------------------------------------------------


def hello() -> "Call[httpx.Response]":
    return raw(admin.hello())


def api_healthcheck() -> Talk[Exception | None]:
    """Whether the API can be reached: None, or what is wrong."""
    try:
        yield from ask(admin.read_health())
    except RiverrunError as error:
        return error
    return None


def raise_for_api_version_mismatch() -> Talk[None]:
    """RuntimeError if the server speaks another protocol than this client."""
    version = yield from ask(admin.read_version())
    if version.split(".")[0] != "3":
        raise RuntimeError(f"riverrun {__version__} speaks version 3 of the protocol, the server version {version}")


def request(
    method: str,
    path: str,
    params: dict[str, Any] | None = None,
    path_params: dict[str, Any] | None = None,
    *,
    json: Any = NO_BODY,
    content: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> "Call[httpx.Response]":
    """Any request; `path` may hold `{names}` of `path_params`. Error answers are raised."""
    from riverrun.client.call import at

    quoted = {name: at(value)[1:] for name, value in (path_params or {}).items()}
    body = json if content is None else content
    filled = path.format(**quoted) if quoted else path
    return Call(method.upper(), "/" + filled.lstrip("/"), Raw, body, query=params, headers=headers)


class StoredOperations:
    """The clients' methods about everything that is neither a run nor work."""

    create_variable = operation(variables.create_variable)
    read_variable_by_name = operation(variables.read_variable)
    read_variables = operation(read_variables)
    update_variable = operation(update_variable)
    delete_variable_by_name = operation(variables.delete_variable)

    create_artifact = operation(artifacts.create_artifact)
    read_artifacts = operation(read_artifacts)
    read_latest_artifacts = operation(read_latest_artifacts)
    update_artifact = operation(artifacts.update_artifact)
    delete_artifact = operation(artifacts.delete_artifact)

    create_block_type = operation(blocks.create_block_type)
    read_block_type_by_slug = operation(blocks.read_block_type_by_slug)
    read_block_types = operation(blocks.read_block_types)
    update_block_type = operation(blocks.update_block_type)
    delete_block_type = operation(blocks.delete_block_type)
    create_block_schema = operation(blocks.create_block_schema)
    read_block_schema_by_checksum = operation(blocks.read_block_schema_by_checksum)
    read_block_schemas = operation(blocks.read_block_schemas)
    get_most_recent_block_schema_for_block_type = operation(get_most_recent_block_schema_for_block_type)
    create_block_document = operation(create_block_document)
    read_block_document = operation(blocks.read_block_document)
    read_block_document_by_name = operation(blocks.read_block_document_by_name)
    read_block_documents = operation(read_block_documents)
    read_block_documents_by_type = operation(read_block_documents_by_type)
    update_block_document = operation(blocks.update_block_document)
    delete_block_document = operation(blocks.delete_block_document)

    create_concurrency_limit = operation(create_concurrency_limit)
    read_concurrency_limit_by_tag = operation(concurrency.read_tag_limit)
    read_concurrency_limits = operation(concurrency.read_tag_limits)
    reset_concurrency_limit_by_tag = operation(concurrency.reset_tag_limit)
    delete_concurrency_limit_by_tag = operation(concurrency.delete_tag_limit)
    create_global_concurrency_limit = operation(create_global_concurrency_limit)
    read_global_concurrency_limit_by_name = operation(concurrency.read_limit)
    read_global_concurrency_limits = operation(concurrency.read_limits)
    update_global_concurrency_limit = operation(update_global_concurrency_limit)
    upsert_global_concurrency_limit_by_name = operation(upsert_global_concurrency_limit_by_name)
    delete_global_concurrency_limit_by_name = operation(concurrency.delete_limit)
    increment_concurrency_slots = operation(increment_concurrency_slots)
    increment_concurrency_slots_with_lease = operation(increment_concurrency_slots_with_lease)
    renew_concurrency_lease = operation(renew_concurrency_lease)
    release_concurrency_slots = operation(release_concurrency_slots)
    release_concurrency_slots_with_lease = operation(release_concurrency_slots_with_lease)
    increment_v1_concurrency_slots = operation(increment_v1_concurrency_slots)
    decrement_v1_concurrency_slots = operation(decrement_v1_concurrency_slots)

    create_automation = operation(create_automation)
    read_automation = operation(automation_calls.read_automation)
    read_automations = operation(read_automations)
    read_automations_by_name = operation(read_automations_by_name)
    find_automation = operation(find_automation)
    update_automation = operation(update_automation)
    pause_automation = operation(pause_automation)
    resume_automation = operation(resume_automation)
    delete_automation = operation(automation_calls.delete_automation)
    read_resource_related_automations = operation(automation_calls.read_resource_related_automations)
    delete_resource_owned_automations = operation(automation_calls.delete_resource_owned_automations)
    read_events = operation(read_events)
    read_events_page = operation(read_events_page)

    hello = operation(hello)
    api_healthcheck = operation(api_healthcheck)
    api_version = operation(admin.read_version)
    raise_for_api_version_mismatch = operation(raise_for_api_version_mismatch)
    read_server_default_result_storage = operation(admin.read_server_default_result_storage)
    update_server_default_result_storage = operation(admin.update_server_default_result_storage)
    clear_server_default_result_storage = operation(admin.clear_server_default_result_storage)
    request = operation(request)
