"""Handing runs out to workers and runners: claims, their attempts, and the slots that pass from run to run."""
