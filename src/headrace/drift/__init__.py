"""Whether data or predictions have moved: mergeable histograms, statistics, the judgement of a window, streaks.

Not here: metrics of a model (`models`), how a monitor is written (`graph`), when a window is due (`triggers`).
May import: `base`, `errors`, numpy.
"""
