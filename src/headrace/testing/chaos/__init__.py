"""The campaign against real processes: `python -m headrace.testing.chaos` kills and pauses them, then compares what they
left with what witnesses outside the store have seen."""
