"""What the keys and values of a memento tell about a block that is gone: the probe for MEMENTO's second stream.

A passcode stands in one block. A small network reads the keys and values of a memento's tokens and names the passcode's
digits. The memento of that block saw it (direct); later ones saw only what that memento carried on (masked); earlier
ones saw nothing (the control, which must stay at chance). What the memento's own text tells is measured too, as the
share that is no second stream. Source: Kontonis et al. 2026 (arXiv 2604.09852), its section on probing.

Legend: B rows, T time, L layers, M tokens of a memento, F features, P digits.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import DynamicCache

from mnemic.errors import UsageError
from mnemic.models.visibility import attention_masks, layer_kinds

__all__ = ["ProbeReport", "ProbeScore", "keys_and_values", "probe_kv", "probe_score"]

WIDE, NARROW = 256, 128
BATCH = 128
EPOCHS = 40
PATIENCE = 4  # epochs without a lower loss
TEST_SHARE = 0.25
LEAST_ROWS = 200

Features = NDArray[np.float32]


@dataclass(frozen=True)
class ProbeScore:
    """How often the probe named a digit.

    Attributes:
        accuracy: over test rows and digits.
        chance: of guessing the commonest digit of the training rows.
        standard_error: of the accuracy, rows taken as independent.
        rows: test rows.
    """

    accuracy: float
    chance: float
    standard_error: float
    rows: int

    def as_json(self) -> dict[str, float]:
        return {**vars(self)}


@dataclass(frozen=True)
class ProbeReport:
    """Scores of the memento of the passcode's block and of its neighbours.

    Attributes:
        by_distance: distance in blocks (0 direct, positive masked, negative the control) to the score over all layers.
        per_layer: distance to one score per probed layer.
        text: distance to the score of the memento's tokens alone.
        layers: which layers were read.
    """

    by_distance: Mapping[int, ProbeScore]
    per_layer: Mapping[int, tuple[ProbeScore, ...]]
    text: Mapping[int, ProbeScore]
    layers: tuple[int, ...]

    @property
    def direct(self) -> ProbeScore:
        return self.by_distance[0]

    @property
    def masked(self) -> ProbeScore | None:
        """One block later."""
        return self.by_distance.get(1)

    @property
    def control(self) -> ProbeScore | None:
        """One block earlier."""
        return self.by_distance.get(-1)

    def as_json(self) -> dict[str, Any]:
        return {
            "layers": list(self.layers),
            "by_distance": {str(d): score.as_json() for d, score in self.by_distance.items()},
            "per_layer": {str(d): [score.as_json() for score in scores] for d, scores in self.per_layer.items()},
            "text": {str(d): score.as_json() for d, score in self.text.items()},
        }


@torch.no_grad()
def keys_and_values(
    model: Any, input_ids: Tensor, visible_until: Tensor, places: Tensor, layers: Sequence[int]
) -> Features:
    """[B, L, F]: keys and values of the tokens at `places` in each layer, as the cache holds them.

    Args:
        model: a transformers decoder or the host.
        input_ids, visible_until: [B, T].
        places: [B, M], indices of the memento's tokens.
        layers: which layers of full attention to read.

    Raises:
        UsageError: a layer that is no layer of full attention.
    """
    kinds = layer_kinds(model.config)
    for layer in layers:
        if not 0 <= layer < len(kinds) or kinds[layer] != "full_attention":
            full = [index for index, kind in enumerate(kinds) if kind == "full_attention"]
            raise UsageError(f"layer {layer} keeps no key of every token; layers that do: {full}")
    mask = attention_masks(model.config, visible_until)
    memory = model.new_memory(len(input_ids)) if hasattr(model, "new_memory") else DynamicCache(config=model.config)
    positions = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
    model(input_ids=input_ids, attention_mask=mask, position_ids=positions, past_key_values=memory, use_cache=True)
    found = [
        torch.stack([_at(held, places) for held in (memory.layers[layer].keys, memory.layers[layer].values)], 1)
        for layer in layers
    ]
    return torch.stack(found, dim=1).flatten(2).float().cpu().numpy()


def probe_score(features: Features, digits: NDArray[np.int64], seed: int = 0) -> ProbeScore:
    """Train a network of two hidden layers to name all digits; test it on passcodes that it never saw.

    Args:
        features: [B, F].
        digits: [B, P], the passcode.

    Raises:
        UsageError: too few rows or passcodes to train and test on.
    """
    test = _held_out(digits, seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(features).float()
    x = (x - x[~test].mean(0)) / (x[~test].std(0) + 1e-6)
    y = torch.from_numpy(digits)
    network = _trained(x[~test], y[~test], generator)
    with torch.no_grad():
        named = network(x[test]).unflatten(1, (-1, 10)).argmax(-1)
    per_row = (named == y[test]).double().mean(1).numpy()
    commonest = [np.bincount(column, minlength=10).argmax() for column in digits[~test].T]
    error = float(per_row.std(ddof=1) / len(per_row) ** 0.5)
    return ProbeScore(float(per_row.mean()), float((digits[test] == commonest).mean()), error, int(test.sum()))


def _trained(x: Tensor, y: Tensor, generator: torch.Generator) -> nn.Sequential:
    """The network at its best on a quarter of these rows, the others being trained on.

    Args:
        x: [B, F].
        y: [B, P].
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1 << 31, (), generator=generator)))
        hidden = [nn.Linear(x.shape[1], WIDE), nn.ReLU(), nn.Linear(WIDE, NARROW), nn.ReLU()]
        network = nn.Sequential(*hidden, nn.Linear(NARROW, 10 * y.shape[1]))
    order = torch.randperm(len(x), generator=generator)
    valid, train = order[: len(x) // 4], order[len(x) // 4 :]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.1)
    best, kept, stale = torch.inf, deepcopy(network.state_dict()), 0
    for _ in range(EPOCHS):
        for part in train[torch.randperm(len(train), generator=generator)].split(BATCH):
            optimizer.zero_grad()
            _loss(network, x[part], y[part]).backward()
            optimizer.step()
        with torch.no_grad():
            loss = float(_loss(network, x[valid], y[valid]))
        stale += 1
        if loss < best:
            best, kept, stale = loss, deepcopy(network.state_dict()), 0
        if stale == PATIENCE:
            break
    network.load_state_dict(kept)
    return network


def _loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(network(x).unflatten(1, (-1, 10)).flatten(0, 1), y.flatten())


def probe_kv(
    model: Any,
    input_ids: Tensor,
    visible_until: Tensor,
    places: Mapping[int, Tensor],
    digits: NDArray[np.int64],
    *,
    layers: Sequence[int] | None = None,
    seed: int = 0,
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
) -> ProbeReport:
    """Probe the mementos around a passcode.

    Args:
        input_ids, visible_until: [B, T], traces with a passcode in one block, read under the memento mask.
        places: distance in blocks to [B, M]: where the tokens of that memento stand. 0 is the memento of the
            passcode's block, 1 the next one, -1 the one before.
        digits: [B, P].
        layers: None for every layer of full attention.
        on_progress: told (steps done, steps in all).

    Raises:
        UsageError: no memento at distance 0, too few rows, or layers that keep no keys.
    """
    if 0 not in places:
        raise UsageError(f"places has distances {sorted(places)}; 0, the memento of the passcode's block, is needed")
    if layers is None:
        layers = [index for index, kind in enumerate(layer_kinds(model.config)) if kind == "full_attention"]
    _held_out(digits, seed)  # refuses too few rows before the model runs
    batches = range(0, len(input_ids), batch_size)
    scores = 2 if len(layers) == 1 else 2 + len(layers)
    steps, done = len(places) * (len(batches) + scores), 0
    by_distance: dict[int, ProbeScore] = {}
    per_layer: dict[int, tuple[ProbeScore, ...]] = {}
    text: dict[int, ProbeScore] = {}

    def step() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, steps)

    def scored(features: Features) -> ProbeScore:
        step()
        return probe_score(features, digits, seed)

    for distance, where in places.items():
        parts = []
        for start in batches:
            rows = slice(start, start + batch_size)
            parts.append(keys_and_values(model, input_ids[rows], visible_until[rows], where[rows], layers))
            step()
        features = np.concatenate(parts)
        by_distance[distance] = scored(features.reshape(len(features), -1))
        single = len(layers) == 1
        per_layer[distance] = tuple(
            by_distance[distance] if single else scored(features[:, index]) for index in range(len(layers))
        )
        text[distance] = scored(_one_hot(input_ids.gather(1, where).cpu().numpy()))
    return ProbeReport(by_distance, per_layer, text, tuple(layers))


def _at(held: Tensor, places: Tensor) -> Tensor:
    """[B, G, T, D] -> [B, G, M, D]."""
    return held.gather(2, places[:, None, :, None].expand(-1, held.shape[1], -1, held.shape[3]))


def _one_hot(tokens: NDArray[np.int64]) -> Features:
    """[B, M] ids -> [B, M * different ids]."""
    known, index = np.unique(tokens, return_inverse=True)
    return np.eye(len(known), dtype=np.float32)[index.reshape(tokens.shape)].reshape(len(tokens), -1)


def _held_out(digits: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """[B]: the test rows; no passcode stands in both parts."""
    codes, of_row = np.unique(digits, axis=0, return_inverse=True)
    of_row = of_row.reshape(-1)
    if len(digits) < LEAST_ROWS or len(codes) < 20:
        raise UsageError(
            f"{len(digits)} rows with {len(codes)} different passcodes are too few to train and test a probe; "
            f"give at least {LEAST_ROWS} rows and 20 passcodes"
        )
    order = np.random.default_rng(seed).permutation(len(codes))
    chosen = np.zeros(len(codes), bool)
    chosen[order[: round(TEST_SHARE * len(codes))]] = True
    return np.asarray(chosen[of_row])
