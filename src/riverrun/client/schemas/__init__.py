"""Faces: the modules under which users import the objects of runs and states."""
