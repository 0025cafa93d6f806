"""When a model is trained again, and which version serves: metrics, evaluation, the gate, the retrain controller.

Not here: a model's definition (`graph`), drift of its inputs (`drift`), storing and loading its file (`storage`).
May import: `base`, `data`, `drift`, `errors`, numpy; polars inside functions.
"""
