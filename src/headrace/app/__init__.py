"""The composition root: the only room that knows both the ports and their adapters, and puts them together.

A module for each who needs it: whoever opens a project's store, the processes that run user code, a serving engine, a run
in this process. Not here: anything that decides.
"""
