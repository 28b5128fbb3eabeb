"""The topic label set and the one table that maps each source's labels onto sets of ours."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from worker.analysis.bundle import Licence

TABLE = Path(__file__).parent / "recipes" / "topics.toml"


class TopicTableError(ValueError):
    """The table names a label that does not exist."""


@dataclass(frozen=True)
class Topic:
    """One output of the topic head: an IPTC Media Topics id, or a MultiFin class under the economy."""

    id: str
    name: str
    parent: str | None


@dataclass(frozen=True)
class TopicTable:
    """The outputs in column order, and source -> its label -> the columns it may mean.

    A label that means none is neither trained nor scored.
    """

    topics: tuple[Topic, ...]
    sources: dict[str, dict[str, frozenset[int]]]
    parents: tuple[Topic, ...]

    def columns(self, source: str, label: str) -> frozenset[int]:
        """The columns that `label` of `source` may mean; empty when it is not mapped."""
        return self.sources.get(source, {}).get(label, frozenset())

    def expressible(self, source: str) -> frozenset[int]:
        """Every column that some label of `source` can mean."""
        return frozenset().union(*self.sources.get(source, {}).values())

    def merged(self) -> "TopicTable":
        """The table with each parent in the place of its children."""
        column = self.merged_columns()
        kept = dict(zip(column, self.topics, strict=True))  # of each column, the last topic that falls on it
        above = {parent.id: parent for parent in self.parents}
        topics = tuple(above[topic.parent] if topic.parent else topic for topic in kept.values())
        sources = {
            source: {label: frozenset(column[each] for each in columns) for label, columns in labels.items()}
            for source, labels in self.sources.items()
        }
        return TopicTable(topics, sources, ())

    def merged_columns(self) -> tuple[int, ...]:
        """The column of `merged()` that each of our columns falls on."""
        order = list(dict.fromkeys(topic.parent or topic.id for topic in self.topics))
        return tuple(order.index(topic.parent or topic.id) for topic in self.topics)


def topics_of(licence: Licence) -> TopicTable:
    """The shipped table for a model of that licence: no source that allows commercial use splits the economy."""
    return read_table().merged() if licence == "commercial" else read_table()


def read_table(path: Path = TABLE) -> TopicTable:
    """Read topics.toml; TopicTableError names an unknown label."""
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    topics, parents = (
        tuple(Topic(entry["id"], entry["name"], entry.get("parent")) for entry in raw.get(kind, ()))
        for kind in ("topic", "parent")
    )
    column = {topic.id: index for index, topic in enumerate(topics)}
    groups: dict[str, list[str]] = raw["group"]
    if orphan := next((topic for topic in topics if topic.parent not in {None, *(each.id for each in parents)}), None):
        raise TopicTableError(f"{path}: {orphan.id} names the parent {orphan.parent}, which has no [[parent]] entry")

    def resolve(where: str, names: list[str]) -> frozenset[int]:
        ids = [ident for name in names for ident in groups.get(name, [name])]
        unknown = [ident for ident in ids if ident not in column]
        if unknown:
            raise TopicTableError(f"{path}: {where} names {unknown[0]}, which is neither a topic nor a group")
        return frozenset(column[ident] for ident in ids)

    sources = {
        source: {label: resolve(f"{source}.{label}", names) for label, names in labels.items()}
        for source, labels in raw["source"].items()
    }
    return TopicTable(topics, sources, parents)


def set_loss(logits: Tensor, allowed: Tensor) -> Tensor:
    """-log of the summed probability of each row's allowed columns.

    logits: float [N, K]; allowed: bool [N, K] with at least one true per row. Returns [N]. A broad source label
    (World, Business) teaches "one of these" without choosing among them.
    """
    inside = logits.masked_fill(~allowed, float("-inf"))
    return torch.logsumexp(logits, 1) - torch.logsumexp(inside, 1)
