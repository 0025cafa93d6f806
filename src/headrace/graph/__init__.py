"""Authoring: tasks, pipelines, streams and monitors, recorded into frozen graphs; the project's loader and its check.

Not here: when a pipeline starts (`triggers`) and how a run proceeds (`runs`, `streams`).
May import `base`, `data` and `errors`.
"""
