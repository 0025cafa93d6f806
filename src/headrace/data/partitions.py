"""The number of partitions of a topic is fixed with its first rows: the place of a key, and so its order, hangs on it."""

from __future__ import annotations

from headrace.definitions.project import TopicDef
from headrace.errors import SchemaError


def resized(topic: TopicDef, found: int) -> SchemaError:
    """The topic declares another number of partitions than its rows were spread over."""
    return SchemaError(
        f"the topic {topic.name} has rows in {found} partitions and declares {topic.partitions}: the rows of a key would "
        "lie in two of them, and their order would be lost",
        cure=f"write  partitions={found},  or use a new topic",
        code="HR1247",
    )
