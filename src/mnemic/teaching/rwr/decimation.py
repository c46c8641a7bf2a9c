"""DeciMamba: while a prompt is read, deep layers of a Mamba go on with the tokens that weigh most, and drop the rest.

The s-th decimating layer keeps P_s = max(keep · beta^s, least) tokens, in order: those with the largest mean step Δ
over heads (Mamba-2) or channels (Mamba-1). A token is dropped inside the layer, after the short convolution and before
the scan: kept tokens still see dropped neighbours through that convolution, whose memory is of the prompt's real last
tokens, while state, output, residual stream and all later layers know kept tokens alone. Nothing is dropped while a
model writes. Source: Ben-Kish et al. 2025 (arXiv 2406.14528), and its code where the paper leaves something open.

Unlike the release, the last token is always among those that are kept, for the answer follows from it; and the scan of
a decimating layer walks over dropped tokens with steps of zero, which changes no number. The release pools by the
Euclidean norm, `pooling="norm"`.

Legend: B rows, T tokens of a call, P tokens kept.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mnemic.errors import UsageError
from mnemic.teaching.rwr.dropped_tokens import DroppedTokens
from mnemic.teaching.rwr.steps import has_steps, layers_of, shortest_step

__all__ = ["Decimation", "decimated"]


class Decimation(BaseModel):
    """Defaults are the release's; `keep` is tuned to task and model there, between 2,000 and 6,000."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: int | None = Field(None, ge=0, description="first that drops tokens; None: the middle one, as 12 of 24")
    layers: int = Field(1, ge=1, description="how many layers drop tokens, at most, from the first on")
    keep: int = Field(2000, ge=1, description="tokens that the first of them keeps")
    beta: float = Field(0.5, gt=0, le=1, description="what each further one keeps of that")
    least: int = Field(20, ge=1, description="tokens that are always kept")
    pooling: Literal["mean", "norm"] = Field("mean", description="of a token's steps: the paper's, or the release's")

    def kept(self, order: int, tokens: int) -> int:
        """P_s of `tokens` that reach the layer, where s is `order`."""
        return min(tokens, max(int(self.keep * self.beta**order), self.least))

    def layers_in(self, model: Any) -> list[int]:
        """Indices of the layers that drop tokens.

        Raises:
            UsageError: a model without layers of Mamba, a `layer` that is none, steps that cannot be zero.
        """
        layers = layers_of(model)
        able = [index for index, layer in enumerate(layers) if has_steps(layer)]
        if self.layer is not None and self.layer not in able:
            raise UsageError(f"layer is {self.layer}; the layers of Mamba in this model are {_spans(able)}")
        first = min(len(layers) // 2, able[-1]) if self.layer is None else self.layer
        chosen = [index for index in able if index >= first][: self.layers]
        for index in chosen:
            if shortest := shortest_step(layers[index]):
                raise UsageError(f"the steps of layer {index} are at least {shortest:g}; only steps of 0 drop a token")
        return chosen


@contextmanager
def decimated(model: Any, options: Decimation) -> Iterator[None]:
    """Inside, whatever reads more than one token at once with `model` drops tokens on the way.

    Every prompt is read whole and from nothing by `read`, `complete`, `answer_questions` and `segmented_answers`, each
    segment for itself, since what is kept depends on all of it; a common start is not shared. Outputs are those of the
    kept tokens. Positions stay those of the prompt: where a host has attention beside Mamba-2, go on inside, too.

    Raises:
        UsageError: a model without layers of Mamba, a wrong `layer`, steps that cannot be zero, a model that is
            decimated already; and inside, padding.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if getattr(base, "reads_whole", False):
        raise UsageError(f"{type(base).__name__} drops tokens already; leave that before other options are tried")
    with ExitStack() as stack:
        keep_at = {index: partial(options.kept, order) for order, index in enumerate(options.layers_in(model))}
        DroppedTokens(keep_at, options.pooling).attach(base, layers_of(model), stack)
        base.reads_whole = True
        stack.callback(delattr, base, "reads_whole")
        yield


def _spans(indices: list[int]) -> str:
    """[0, 1, 2, 5] as "0-2, 5"."""
    starts = [index for index in indices if index - 1 not in indices]
    ends = [index for index in indices if index + 1 not in indices]
    pairs = zip(starts, ends, strict=True)
    return ", ".join(str(start) if start == end else f"{start}-{end}" for start, end in pairs)
