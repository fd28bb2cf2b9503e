"""What user code may ask about the run it is in: `riverrun.runtime.flow_run.id`, `.task_run.name`, `.deployment.id` ...

Outside of runs the answers are None or empty. Environment variables such as `RIVERRUN__RUNTIME__FLOW_RUN__NAME` replace
answers, for tests.
"""

from riverrun.runtime import deployment, flow_run, task_run

__all__ = ["deployment", "flow_run", "task_run"]
