"""What clients send. Unknown fields are refused, so that a mistyped filter deletes nothing, and none names a tenant."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mnemic.storage.records import Event, NewFact

__all__ = [
    "AddBody",
    "AnnotateBody",
    "ChosenEvents",
    "FactChosen",
    "FactBody",
    "GraphQuery",
    "HistoryQuery",
    "JobsQuery",
    "RetractBody",
    "RunBody",
    "SearchBody",
    "SupersedeBody",
    "TimelineQuery",
]

MOST_EVENTS = 1_000
MOST_HITS = 1_000
_DEEPEST = 50

Method = Literal[
    "auto", "best-turn", "bm25", "dense", "hipporag", "hipporag2", "hybrid", "memgas", "rule-graph"
]  # a test holds it equal to `recall.METHODS`
Moment = Annotated[
    str, Field(max_length=64, description="ISO 8601; without a zone it is UTC", examples=["2026-01-05T10:00:00Z"])
]


def _shallow(value: dict[str, Any]) -> dict[str, Any]:
    """JSON that is nested without end cannot be written again."""
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return value
    raise ValueError(f"is nested more than {_DEEPEST} levels deep")


Metadata = Annotated[
    dict[str, Any], AfterValidator(_shallow), Field(description="anything that JSON holds", examples=[{"page": 3}])
]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FactBody(Strict):
    """A fact that the caller states."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"subject": "Anna", "predicate": "lives in", "object": "Oslo"}]}
    )

    subject: str = Field(description="the name of an entity")
    predicate: str
    object: str = Field(description="the name of an entity, or plain text where `literal`")
    literal: bool = False
    valid_from: Moment | None = Field(None, description="it holds from then; none: always has")
    valid_to: Moment | None = Field(None, description="it holds until then; none: it still does")
    confidence: float | None = Field(None, ge=0, le=1)

    def new_fact(self) -> NewFact:
        return NewFact(
            self.subject,
            self.predicate,
            self.object,
            self.literal,
            self.valid_from,
            self.valid_to,
            self.confidence,
        )


class EventBody(Strict):
    """Something said, read or learnt."""

    text: str = Field(description="kept exactly as it is")
    source: str = Field("", description="where it comes from, such as a file's name")
    session: str = Field("", description="the conversation that it is a turn of")
    actor: str = Field("", description="who said it")
    title: str = ""
    time: Moment | None = Field(None, description="when it was said")
    level: Literal["", "turn", "chunk", "session", "summary", "keyword"] = Field(
        "", description="what it is; turn in a session and chunk elsewhere, unless given"
    )
    metadata: Metadata = {}
    entities: list[str] | None = Field(None, description="the caller's own extraction; no other is made then")
    facts: list[FactBody] | None = Field(None, description="the caller's own extraction; no other is made then")

    def event(self) -> Event:
        facts = None if self.facts is None else [fact.new_fact() for fact in self.facts]
        return Event(
            self.text,
            self.source,
            self.session,
            self.actor,
            self.title,
            self.time,
            self.level,
            self.metadata,
            self.entities,
            facts,
        )


class AddBody(Strict):
    """Events to keep."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "events": [
                        {
                            "text": "My cat is called Nimbus.",
                            "session": "monday",
                            "actor": "Anna",
                            "time": "2026-01-05T10:00:00Z",
                        },
                        {
                            "text": "Anna moved to Oslo.",
                            "facts": [{"subject": "Anna", "predicate": "lives in", "object": "Oslo"}],
                        },
                    ]
                }
            ]
        }
    )

    events: list[EventBody] = Field(min_length=1, max_length=MOST_EVENTS)
    extract: Literal["auto", "rules", "llm", "none"] = Field(
        "auto", description="who looks for names and facts: rules at once, llm by a job, none; auto is rules"
    )


class Filters(Strict):
    """What a passage must have."""

    session: str | None = None
    source: str | None = None
    actor: str | None = None
    level: str | None = None
    title: str | None = None

    def given(self) -> dict[str, str]:
        return {name: value for name, value in self.model_dump().items() if value is not None}


class SearchBody(Strict):
    """A question."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "What is the name of the cat?", "k": 3, "explain": True}]}
    )

    query: str = Field(max_length=20_000)
    k: int = Field(10, ge=1, le=MOST_HITS, description="how many passages, at most")
    method: Method = Field("auto", description="how to recall; auto chooses by what the store holds")
    explain: bool = Field(False, description="also tell how each passage was reached")
    at: Moment | None = Field(None, description="only what was said up to then")
    known_at: Moment | None = Field(None, description="only what had been added by then")
    filters: Filters = Filters()


class AnnotateBody(Strict):
    """Other metadata for an event."""

    metadata: Metadata
    expected_version: int | None = Field(None, description="the version that was read; 409 if it is another by now")


class SupersedeBody(Strict):
    """What holds instead of a fact."""

    fact: FactBody
    expected_version: int | None = Field(None, description="the version that was read; 409 if it is another by now")


class RetractBody(Strict):
    """Take a fact back."""

    expected_version: int | None = Field(None, description="the version that was read; 409 if it is another by now")


class RunBody(Strict):
    """How much of the work that waits is done."""

    max_seconds: float = Field(30, gt=0, le=300, description="no job is begun after that")
    max_jobs: int | None = Field(None, ge=1)


class ChosenEvents(Strict):
    """Events that all of what is given fits."""

    session: str | None = None
    source: str | None = None
    actor: str | None = None
    title: str | None = None
    everything: bool = Field(False, description="all that the tenant remembers; only with erase")
    erase: bool = Field(False, description="delete them for good, with what was derived from them alone")

    def filter(self) -> dict[str, str]:
        fields = {"session": self.session, "source": self.source, "actor": self.actor, "title": self.title}
        return {name: value for name, value in fields.items() if value is not None}


class TimelineQuery(Strict):
    """Facts about something."""

    subject: str | None = Field(None, description="the name of an entity")
    predicate: str | None = None
    limit: int = Field(100, ge=1, le=1_000)


class FactChosen(TimelineQuery):
    """Facts that hold at a time, as the store knew them at another."""

    at: Moment | None = Field(None, description="facts that hold then")
    known_at: Moment | None = Field(None, description="as the store knew then")


class HistoryQuery(Strict):
    """What was done."""

    id: str | None = Field(None, description="of an event or a fact; none: of all")
    limit: int = Field(100, ge=1, le=1_000)


class JobsQuery(Strict):
    """Jobs, the latest first."""

    state: Literal["queued", "running", "done", "failed", "dead"] | None = None
    limit: int = Field(100, ge=1, le=1_000)


class GraphQuery(Strict):
    """An entity, and how much of what is around it."""

    entity: str = Field(max_length=1_000)
    limit: int = Field(50, ge=1, le=500)
