"""Pictures of flows without running their tasks; the work is done by `riverrun.utilities.visualization`."""

from riverrun.utilities.visualization import (
    FlowVisualizationError,
    Graph,
    GraphvizExecutableNotFoundError,
    GraphvizImportError,
    TaskVizTracker,
    VisualizationUnsupportedError,
    VizTask,
    aflow_picture,
    flow_picture,
    get_task_viz_tracker,
    render,
    show,
    submitted_viz_value,
    track_viz_task,
    visualize_flow,
)

__all__ = [
    "FlowVisualizationError",
    "Graph",
    "GraphvizExecutableNotFoundError",
    "GraphvizImportError",
    "TaskVizTracker",
    "VisualizationUnsupportedError",
    "VizTask",
    "aflow_picture",
    "flow_picture",
    "get_task_viz_tracker",
    "render",
    "show",
    "submitted_viz_value",
    "track_viz_task",
    "visualize_flow",
]
