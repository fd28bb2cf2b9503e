"""Steps of project files and deployments: what is done to build and publish code, and to get it where a run is executed.

A step is `{"package.module.function": {argument: value}}`; those of this package go by Prefect's names, too.
"""

from riverrun.deployments.steps.core import StepExecutionError, run_pull_steps, run_step, run_steps
from riverrun.deployments.steps.pull import (
    agit_clone,
    git_clone,
    pull_from_remote_storage,
    pull_with_block,
    push_to_remote_storage,
    set_working_directory,
)
from riverrun.deployments.steps.utility import pip_install_requirements, run_shell_script

__all__ = [
    "StepExecutionError",
    "agit_clone",
    "git_clone",
    "pip_install_requirements",
    "pull_from_remote_storage",
    "pull_with_block",
    "push_to_remote_storage",
    "run_pull_steps",
    "run_shell_script",
    "run_step",
    "run_steps",
    "set_working_directory",
]
