"""The table of contents of the house: every system, task and study by name, as strings, imported only when asked for.

Third parties add theirs by entry point: `mnemic.systems` and `mnemic.tasks`, name = "module:Class".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, TypeVar

from mnemic.errors import MissingExtra, UsageError, nearest

T = TypeVar("T")

__all__ = [
    "CORPORA",
    "EXTRA_OF",
    "RECIPES",
    "STUDIES",
    "SYSTEMS",
    "TASKS",
    "Recipe",
    "Study",
    "System",
    "Task",
    "find_study",
    "find_system",
    "find_task",
    "parse_spec",
    "resolve",
    "systems",
    "tasks",
]


@dataclass(frozen=True)
class System:
    """One memory system.

    Attributes:
        memory: what one layer holds per sequence of T tokens, or a store per passage, as a formula for people.
        page: of the documentation, where it is not that of its own name.
    """

    name: str
    place: str
    target: str
    title: str
    paper: str
    arxiv: str
    memory: str
    summary: str
    study: str | None = None
    page: str = ""

    @property
    def docs(self) -> str:
        return f"docs/systems/{self.page or self.name}.md"


@dataclass(frozen=True)
class Recipe:
    """A way to teach a model that is there already to use a memory; `rules` holds the options that it lives by, and
    `mnemic teach VERB` does it."""

    name: str
    verb: str
    place: str
    target: str
    rules: str
    title: str
    paper: str
    arxiv: str
    summary: str
    study: str | None = None


@dataclass(frozen=True)
class Task:
    """One recall problem, for models or (in `CORPORA`) for recall methods, with a spec that shows how it is called."""

    name: str
    target: str
    title: str
    source: str
    example: str


@dataclass(frozen=True)
class Study:
    """One paper's claims, testable with `mnemic reproduce NAME`.

    Attributes:
        data: what --data must name, "" where the study makes its own.
        needs_data: whether it is nothing without them; a study that makes its own can test more on the user's.
    """

    name: str
    target: str
    title: str
    paper: str
    arxiv: str
    data: str = ""
    needs_data: bool = True


# fmt: off
_SYSTEMS = (
    System(
        name="attention", place="context", target="mnemic.context.attention:Attention",
        title="Softmax attention", paper="Vaswani et al. 2017", arxiv="1706.03762", study="zoology",
        summary="Keeps the keys and values of every token; rotary positions, grouped queries.",
        memory="2·T·H_kv·D values",
    ),
    System(
        name="sliding-window", place="context", target="mnemic.context.sliding_window:SlidingWindow",
        title="Sliding-window attention", paper="Beltagy et al. 2020", arxiv="2004.05150", study="zoology",
        summary="Keeps the last W tokens, and a learned prefix that is always visible.",
        memory="2·min(T, W)·H_kv·D values",
    ),
    System(
        name="mamba2", place="state", target="mnemic.state.mamba2:Mamba2",
        title="Mamba-2", paper="Dao & Gu 2024", arxiv="2405.21060", study="zoology",
        summary="A decaying state per head with input-dependent steps; one outer product a token.",
        memory="H·P·N float32 values + convolution",
    ),
    System(
        name="gated-deltanet", place="state", target="mnemic.state.gated_deltanet:GatedDeltaNet",
        title="Gated DeltaNet", paper="Yang et al. 2024", arxiv="2412.06464", study="zoology",
        summary="A decaying state that erases what a key held before it writes the new value.",
        memory="H·K·V float32 values + convolution",
    ),
    System(
        name="delta-net", place="state", target="mnemic.state.delta_net:DeltaNet",
        title="DeltaNet", paper="Schlag et al. 2021", arxiv="2102.11174", study="zoology",
        summary="A state that erases what a key held before it writes the new value; nothing else fades.",
        memory="H·K·V float32 values + convolution",
    ),
    System(
        name="gla", place="state", target="mnemic.state.gla:GLA",
        title="Gated linear attention", paper="Yang et al. 2023", arxiv="2312.06635", study="zoology",
        summary="A state whose key channels fade one by one, by gates that the input sets.",
        memory="H·K·V float32 values",
    ),
    System(
        name="retention", place="state", target="mnemic.state.retention:Retention",
        title="Retention (RetNet)", paper="Sun et al. 2023", arxiv="2307.08621", study="zoology",
        summary="A state that fades at a fixed pace per head; rotary positions.",
        memory="H·K·V float32 values",
    ),
    System(
        name="linear-attention", place="state", target="mnemic.state.linear_attention:LinearAttention",
        title="Linear attention", paper="Katharopoulos et al. 2020", arxiv="2006.16236", study="zoology",
        summary="A sum of keys times values that never fades, divided by the sum of the weights.",
        memory="H·K·(V+1) float32 values + convolution",
    ),
    System(
        name="titans-lmm", place="state", target="mnemic.state.titans_lmm:TitansLMM",
        title="Titans: long-term memory", paper="Behrouz et al. 2025", arxiv="2501.00663", study="zoology",
        summary="The weights of a small network, trained on every key and value with momentum and forgetting.",
        memory="4·H·E·D² float32 values + a chunk's tokens + convolution",
    ),
    System(
        name="miras", place="state", target="mnemic.state.miras:Miras",
        title="Miras", paper="Behrouz et al. 2025", arxiv="2504.13173", study="zoology", page="miras",
        summary="A network trained while it reads: loss, retention, optimiser and its own shape are options.",
        memory="2·H·E·D² float32 values + a chunk's tokens + convolution",
    ),
    System(
        name="moneta", place="state", target="mnemic.state.miras:Moneta",
        title="Moneta", paper="Behrouz et al. 2025", arxiv="2504.13173", study="zoology", page="miras",
        summary="Miras with a cubic loss and weights of a bounded 4-norm.",
        memory="2·H·E·D² float32 values + a chunk's tokens + convolution",
    ),
    System(
        name="yaad", place="state", target="mnemic.state.miras:Yaad",
        title="Yaad", paper="Behrouz et al. 2025", arxiv="2504.13173", study="zoology", page="miras",
        summary="Miras with a Huber loss: outliers pull no harder than a threshold.",
        memory="2·H·E·D² float32 values + a chunk's tokens + convolution",
    ),
    System(
        name="memora", place="state", target="mnemic.state.miras:Memora",
        title="Memora", paper="Behrouz et al. 2025", arxiv="2504.13173", study="zoology", page="miras",
        summary="Miras with weights on a simplex, moved by exponentiated gradients.",
        memory="2·H·E·D² float32 values + a chunk's tokens + convolution",
    ),
    System(
        name="base-conv", place="state", target="mnemic.state.base_conv:BaseConv",
        title="BaseConv", paper="Arora et al. 2023", arxiv="2312.04927", study="zoology",
        summary="A gate times a convolution, with a short kernel or a filter over the whole context.",
        memory="(J-1)·d values; long filter: min(T, L-1)·d values",
    ),
    System(
        name="hyena", place="state", target="mnemic.state.hyena:Hyena",
        title="Hyena", paper="Poli et al. 2023", arxiv="2302.10866", study="zoology",
        summary="Two gates around a convolution with a filter over the whole context.",
        memory="min(T, L-1)·d values + convolution",
    ),
    System(
        name="h3", place="state", target="mnemic.state.h3:H3",
        title="H3", paper="Fu et al. 2022", arxiv="2212.14052", study="zoology",
        summary="A shift, and products of keys and values kept by modes that fade and turn.",
        memory="d·P·N float32 values + convolution",
    ),
    System(
        name="based", place="context", target="mnemic.context.based:Based",
        title="Based", paper="Arora et al. 2024", arxiv="2402.18668", study="zoology",
        summary="A Taylor expansion of softmax that a state can sum, beside exact attention to the last W tokens.",
        memory="H·(1+F+F·(F+1)/2)·(V+1) float32 values + 2·min(T, W)·d values",
    ),
    System(
        name="repeated-token-attention", place="context",
        target="mnemic.context.repeated_token_attention:RepeatedTokenAttention",
        title="Repeated-token attention", paper="Arora et al. 2023", arxiv="2312.04927", study="zoology",
        summary="Attends only from positions whose token stood in the row before; zero elsewhere.",
        memory="2·T·H_kv·D values + T ids",
    ),
    System(
        name="auto", place="storage", target="mnemic.storage.recall.auto:Auto", page="recall-methods",
        title="Automatic choice", paper="unpublished", arxiv="",
        summary="hybrid for conversations, rule-graph for titled texts, by what the store holds.",
        memory="as what it chooses",
    ),
    System(
        name="bm25", place="storage", target="mnemic.storage.recall.bm25:BM25", page="recall-methods",
        title="BM25", paper="Robertson & Zaragoza 2009", arxiv="",
        summary="The words of the question, rare ones first; no vectors.",
        memory="text + its words",
    ),
    System(
        name="dense", place="storage", target="mnemic.storage.recall.dense:Dense", page="recall-methods",
        title="Dense retrieval", paper="Karpukhin et al. 2020", arxiv="2004.04906",
        summary="The cosine of question and passage.",
        memory="text + 4·D bytes",
    ),
    System(
        name="hybrid", place="storage", target="mnemic.storage.recall.hybrid:Hybrid", page="recall-methods",
        title="Hybrid recall", paper="unpublished", arxiv="",
        summary="Words and vectors of a turn, and the words of its session; for conversations.",
        memory="text + its words + 4·D bytes",
    ),
    System(
        name="best-turn", place="storage", target="mnemic.storage.recall.best_turn:BestTurn", page="recall-methods",
        title="Best turn", paper="unpublished", arxiv="",
        summary="A session is as near as its nearest turn, and its summary helps where there is one.",
        memory="text + 4·D bytes",
    ),
    System(
        name="rule-graph", place="storage", target="mnemic.storage.recall.rule_graph:RuleGraph",
        page="recall-methods", title="Rule graph", paper="after Gutiérrez et al. 2025", arxiv="2502.14802",
        summary="A walk over names that rules find, from the names of the question; no language model.",
        memory="text + 4·D bytes + its names and which share a sentence",
    ),
    System(
        name="hipporag", place="storage", target="mnemic.storage.recall.hipporag:HippoRAG", study="hipporag",
        title="HippoRAG", paper="Gutiérrez et al. 2024", arxiv="2405.14831",
        summary="The names of the question are linked to phrases; a walk over facts and synonyms ranks passages.",
        memory="text + 4·D bytes + its facts, and 4·D bytes a phrase",
    ),
    System(
        name="hipporag2", place="storage", target="mnemic.storage.recall.hipporag2:HippoRAG2", study="hipporag2",
        title="HippoRAG 2", paper="Gutiérrez et al. 2025", arxiv="2502.14802",
        summary="The question is matched against facts, a filter keeps those that bear on it, a walk starts there.",
        memory="text + 4·D bytes + its facts, and 4·D bytes a phrase and a fact",
    ),
    System(
        name="memgas", place="storage", target="mnemic.storage.recall.memgas:MemGAS", study="memgas",
        title="MemGAS", paper="Xu et al. 2025", arxiv="2505.19549",
        summary="Sessions at four granularities, trusted by how peaked their similarities are, and a walk over them.",
        memory="text + 4·D bytes, and 16·D bytes a session",
    ),
)

_TASKS = (
    Task(
        name="mqar", target="mnemic.tasks.mqar:MQAR", title="Multi-query associative recall",
        source="Arora et al. 2024 (2312.04927)", example="mqar:pairs=8,length=64,vocab=256",
    ),
    Task(
        name="associative-recall", target="mnemic.tasks.associative_recall:AssociativeRecall",
        title="Associative recall, one query at the end", source="Fu et al. 2023; Ba et al. 2016",
        example="associative-recall:pairs=16",
    ),
    Task(
        name="induction", target="mnemic.tasks.induction:Induction", title="Induction: what followed the marker",
        source="Gu & Dao 2023 (2312.00752)", example="induction:length=64",
    ),
    Task(
        name="in-context-recall", target="mnemic.tasks.in_context_recall:InContextRecall",
        title="In-context recall: keys return and keep their value (MAD)", source="Poli et al. 2024 (2403.17844)",
        example="in-context-recall:length=64",
    ),
    Task(
        name="noisy-recall", target="mnemic.tasks.in_context_recall:NoisyRecall",
        title="In-context recall with noise between the pairs (MAD)", source="Poli et al. 2024 (2403.17844)",
        example="noisy-recall:length=64",
    ),
    Task(
        name="fuzzy-recall", target="mnemic.tasks.fuzzy_recall:FuzzyRecall",
        title="Recall of keys and values of several tokens (MAD)", source="Poli et al. 2024 (2403.17844)",
        example="fuzzy-recall:length=64",
    ),
    Task(
        name="selective-copy", target="mnemic.tasks.selective_copy:SelectiveCopy",
        title="Selective copying: what counts, in its order",
        source="Gu & Dao 2023 (2312.00752); Poli et al. 2024 (2403.17844)", example="selective-copy:length=64,data=8",
    ),
    Task(
        name="memorization", target="mnemic.tasks.memorization:Memorization",
        title="Memorisation: facts that only the weights can hold (MAD)", source="Poli et al. 2024 (2403.17844)",
        example="memorization:length=32,vocab=256",
    ),
    Task(
        name="compression", target="mnemic.tasks.compression:Compression",
        title="Compression: a row through the state of one marker (MAD)", source="Poli et al. 2024 (2403.17844)",
        example="compression:length=16",
    ),
    Task(
        name="copy", target="mnemic.tasks.copying:Copy",
        title="Copying a string", source="Jelassi et al. 2024 (2402.01032)",
        example="copy:length=16",
    ),
    Task(
        name="prefix-lookup", target="mnemic.tasks.copying:PrefixLookup",
        title="What follows an n-gram that is told before the string", source="Jelassi et al. 2024 (2402.01032)",
        example="prefix-lookup:length=32",
    ),
    Task(
        name="suffix-lookup", target="mnemic.tasks.copying:SuffixLookup",
        title="What followed an n-gram that is told after the string", source="Jelassi et al. 2024 (2402.01032)",
        example="suffix-lookup:length=32",
    ),
    Task(
        name="state-tracking", target="mnemic.tasks.state_tracking:StateTracking",
        title="State tracking: the running product in a group", source="Merrill et al. 2024 (2404.08819)",
        example="state-tracking:group=S3,length=16",
    ),
    Task(
        name="in-context-regression", target="mnemic.tasks.regression:InContextRegression",
        title="Regression from points in the context, beside closed forms", source="Garg et al. 2022 (2208.01066)",
        example="in-context-regression:dims=2,points=12",
    ),
    Task(
        name="joint-recall", target="mnemic.tasks.joint_recall:JointRecall",
        title="Joint recall: the value depends on context and key", source="Zhan et al. 2025 (2507.00449)",
        example="joint-recall:contexts=4,keys=4",
    ),
    Task(
        name="rounds", target="mnemic.tasks.rounds:Rounds",
        title="A state machine in rounds, summed up by mementos", source="after Kontonis et al. 2026 (2604.09852)",
        example="rounds:rounds=2,memento=lossy",
    ),
    Task(
        name="running-sum", target="mnemic.tasks.running_sum:RunningSum",
        title="Blocks of random digits, summed up by their running sum",
        source="Kontonis et al. 2026 (2604.09852)", example="running-sum:blocks=3,digits=2",
    ),
    Task(
        name="key-facts", target="mnemic.tasks.key_facts:KeyFacts",
        title="Key facts in noise, answered directly or after a note", source="after Ma et al. 2025 (2505.03320)",
        example="key-facts:length=16-32,form=note",
    ),
    Task(
        name="variable-tracking", target="mnemic.tasks.variable_tracking:VariableTracking",
        title="Variable tracking: values that pass from name to name", source="Hsieh et al. 2024, RULER (2404.06654)",
        example="variable-tracking:form=tokens,chains=2,hops=2",
    ),
    Task(
        name="needle", target="mnemic.tasks.needle:Needle",
        title="Needles in a haystack, in RULER's eight settings", source="Hsieh et al. 2024, RULER (2404.06654)",
        example="needle:form=tokens,preset=multikey_1,length=64",
    ),
    Task(
        name="frequent-words", target="mnemic.tasks.frequent_words:FrequentWords",
        title="Which words come most often", source="Hsieh et al. 2024, RULER (2404.06654)",
        example="frequent-words:form=tokens,length=128,top=2",
    ),
    Task(
        name="question-answering", target="mnemic.tasks.question_answering:QuestionAnswering",
        title="Questions about paragraphs of yours among others", source="Hsieh et al. 2024, RULER (2404.06654)",
        example="question-answering:path/to/questions.jsonl",
    ),
    Task(
        name="phonebook", target="mnemic.tasks.phonebook:Phonebook",
        title="A phonebook, and the number of one of its names", source="Jelassi et al. 2024 (2402.01032)",
        example="phonebook:form=tokens,entries=8",
    ),
    Task(
        name="text", target="mnemic.tasks.text:TextTask",
        title="Language modelling on your own text, recall hits apart",
        source="Arora et al. 2024 (2312.04927)", example="text:path/to/files,length=256",
    ),
)

_CORPORA = (
    Task(
        name="corpus", target="mnemic.storage.corpora.sources:CorpusFolder",
        title="Questions about passages, with the passages that answer them", source="your own; MuSiQue; HotpotQA",
        example="corpus:path/to/folder",
    ),
    Task(
        name="conversation", target="mnemic.storage.corpora.sources:ConversationFile",
        title="Questions about conversations, with the turns that answer them", source="your own; LoCoMo; LongMemEval",
        example="conversation:path/to/chat.jsonl",
    ),
)

_RECIPES = (
    Recipe(
        name="recall-with-reasoning", verb="rwr", place="state",
        target="mnemic.teaching.rwr.segmented:segmented_answer", rules="mnemic.teaching.rwr.options:MixtureRules",
        title="Recall with Reasoning (RwR)", paper="Ma et al. 2025", arxiv="2505.03320",
        summary="A recurrent model notes what it recalls before it answers, by segments where the context is long.",
        study="recall-with-reasoning",
    ),
    Recipe(
        name="memento", verb="memento", place="context", target="mnemic.teaching.memento.generation:memento_generate",
        rules="mnemic.teaching.memento.rules:MementoRules",
        title="MEMENTO", paper="Kontonis et al. 2026", arxiv="2604.09852",
        summary="A reasoning model sums up each block of its thoughts, and the block's keys leave the cache.",
        study="memento",
    ),
)

_MUSIQUE = (
    "a folder with MuSiQue's questions.json, corpus.json and openie*.json (gzipped or not), or one that holds it as "
    "musique/"
)
_LOCOMO = (
    "a file of conversations in LoCoMo's format, or a folder that holds conversations.json or locomo10.json (gzipped "
    "or not), itself or in locomo/"
)
_STUDIES = (
    Study(
        name="zoology", target="mnemic.studies.zoology:study", title="Zoology: recall explains the gap to attention",
        paper="Arora et al. 2024", arxiv="2312.04927", data="a text, as a file or a folder", needs_data=False,
    ),
    Study(
        name="memento", target="mnemic.studies.memento:study", title="MEMENTO: a model that manages its own context",
        paper="Kontonis et al. 2026", arxiv="2604.09852",
    ),
    Study(
        name="recall-with-reasoning", target="mnemic.studies.recall_with_reasoning:study",
        title="Recall with Reasoning: note first, then answer", paper="Ma et al. 2025", arxiv="2505.03320",
    ),
    Study(
        name="hipporag", target="mnemic.studies.hipporag:study", title="HippoRAG: a walk over what passages share",
        paper="Gutiérrez et al. 2024", arxiv="2405.14831", data=_MUSIQUE,
    ),
    Study(
        name="hipporag2", target="mnemic.studies.hipporag2:study", title="HippoRAG 2: facts, a filter, a walk",
        paper="Gutiérrez et al. 2025", arxiv="2502.14802", data=_MUSIQUE,
    ),
    Study(
        name="memgas", target="mnemic.studies.memgas:study", title="MemGAS: conversations at four granularities",
        paper="Xu et al. 2025", arxiv="2505.19549", data=_LOCOMO,
    ),
)
# fmt: on

# Which extra brings a package that the core goes without.
EXTRA_OF: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(
        ("torch", "transformers", "accelerate", "safetensors", "tokenizers", "matplotlib", "psutil"), "models"
    )
    | dict.fromkeys(("datasets", "pyarrow"), "data")
    | dict.fromkeys(("tensorboard", "trackio", "wandb"), "trackers")
    | dict.fromkeys(("fastapi", "uvicorn"), "serving")
    | dict.fromkeys(("mcp", "prometheus_client"), "store-server")
    | {"httpx2": "llm", "inspect_ai": "inspect", "langchain_core": "langchain", "llama_index": "llama-index"}
    | {"fla": "fla", "lm_eval": "lm-eval", "peft": "teaching", "ray": "ray", "submitit": "slurm", "trl": "trl"}
)

SYSTEMS: Mapping[str, System] = MappingProxyType({s.name: s for s in _SYSTEMS})
TASKS: Mapping[str, Task] = MappingProxyType({t.name: t for t in _TASKS})
CORPORA: Mapping[str, Task] = MappingProxyType({t.name: t for t in _CORPORA})
RECIPES: Mapping[str, Recipe] = MappingProxyType({r.name: r for r in _RECIPES})
STUDIES: Mapping[str, Study] = MappingProxyType({s.name: s for s in _STUDIES})


@cache
def systems() -> Mapping[str, System]:
    """The house's systems and those that installed packages add; the house's win a clash of names."""
    added = {
        e.name: System(e.name, "other", e.value, e.name, "", "", "", f"from {e.dist.name if e.dist else e.module}")
        for e in entry_points(group="mnemic.systems")
    }
    return MappingProxyType({**added, **SYSTEMS})


@cache
def tasks() -> Mapping[str, Task]:
    """As :func:`systems`, for tasks."""
    added = {e.name: Task(e.name, e.value, e.name, "", e.name) for e in entry_points(group="mnemic.tasks")}
    return MappingProxyType({**added, **TASKS})


def find_system(name: str) -> System:
    return _find("memory", name, systems())


def find_task(name: str) -> Task:
    return _find("task", name, tasks(), CORPORA)


def find_study(name: str) -> Study:
    return _find("study", name, STUDIES)


def resolve(target: str) -> Any:
    """Import what "module:Name" names.

    Raises:
        MissingExtra: a package of an extra is not installed.
    """
    module, _, name = target.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as missing:
        if extra := EXTRA_OF.get((missing.name or "").partition(".")[0]):
            raise MissingExtra(target, extra) from missing
        raise


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    """Split "name:key=value,key=value" into the name and its options.

    A first segment without "=" is positional and stands under the empty key: "text:folder,length=256".

    Raises:
        UsageError: an empty name, a segment without "=" after the first, or a key given twice.
    """
    name, _, rest = text.partition(":")
    if not name:
        raise UsageError(f"'{text}' names nothing; write NAME or NAME:option=value,option=value")
    options: dict[str, str] = {}
    for index, segment in enumerate(rest.split(",") if rest else []):
        key, equals, value = segment.partition("=")
        if not equals:
            if index:
                raise UsageError(f"'{segment}' in '{text}' is not option=value")
            key, value = "", segment
        if key in options:
            raise UsageError(f"option '{key}' is given twice in '{text}'")
        options[key.strip().replace("-", "_")] = value.strip()
    return name, options


def _find(kind: str, name: str, table: Mapping[str, T], also_known: Iterable[str] = ()) -> T:
    """The entry of a name; `also_known` are names that could have been meant too."""
    if name not in table:
        raise UsageError(f"unknown {kind} '{name}'{nearest(name, [*table, *also_known])}")
    return table[name]
