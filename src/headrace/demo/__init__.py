"""The demo: a real year of flights played through topics, a model retrained on evidence, and a report at the end."""
