"""A stream that scores events of twelve fields by a logistic of six of them."""

from __future__ import annotations

import polars as pl

import headrace as hr

FIELDS = {
    "id": str, "at": hr.Datetime if hasattr(hr, "Datetime") else str, "sent_us": int,
}
