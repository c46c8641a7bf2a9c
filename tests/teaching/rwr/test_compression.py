"""ReMamba against its definition, row by row and token by token. Legend: T tokens, C width."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Mamba2Config, Mamba2ForCausalLM

from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.tasks.key_facts import ANSWER, QUESTION, KeyFacts
from mnemic.teaching.rwr.completion import Decoding, complete
from mnemic.teaching.rwr.compression import ReMamba, ReMambaConfig, around_key_facts
from mnemic.teaching.rwr.forks import read
from mnemic.training.config import TrainConfig
from mnemic.training.loop import train
from mnemic.training.objective import AskedLoss, training_batch

VOCABULARY = 40
END, REPLY, ALSO = 1, 2, 3
OPTIONS = ReMambaConfig(rho=0.3, start=0.2, end=0.9, context_end=(END,), prompt_end=((REPLY,), (ALSO,)))
CLOSE = {"rtol": 0, "atol": 1e-5}


def host(seed: int = 0, **more: Any) -> MnemicForCausalLM:
    torch.manual_seed(seed)
    layers = [{"mixer": "mamba2", "head_width": 8, "state": 8, "dt_max": 1.0, **more}]
    config = MnemicConfig(VOCABULARY, 32, 2, layers=layers, init="normal", initializer_range=0.2)
    return MnemicForCausalLM(config).eval()


def remamba(options: ReMambaConfig = OPTIONS, **more: Any) -> ReMamba:
    """With offsets that are not zero, so that leaving them out shows."""
    made = ReMamba(host(**more), options).eval()
    for offset in made.model.offsets:
        torch.nn.init.normal_(offset)
    return made


def row(context: int, prompt: int, reply: int, seed: int = 0) -> list[int]:
    """A context, END, `prompt` tokens of which the last is REPLY or ALSO, and a reply; REPLY stands in all of them."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(5, VOCABULARY, (context + prompt + reply,), generator=generator).tolist()
    ids = [*words[:context], END, *words[context : context + prompt]]
    ids[-1] = REPLY if seed % 2 else ALSO
    ids[0] = REPLY  # of the context, where it ends nothing
    return [*ids, *words[context + prompt :][: reply - 1], *[REPLY] * (reply > 0)]


def by_hand(made: ReMamba, ids: list[int]) -> tuple[Tensor, list[int]]:
    """States [T, C] of stage 2 of one row, and the places in the row of what stage 2 reads."""
    options, body, parts = made.options, made.model.host, made.model
    context, last = ids.index(END), prompt_end(ids)
    low = math.floor(options.start * context + 1e-9)
    high = low + math.ceil((options.end - options.start) * context - 1e-9)
    states = body(torch.tensor([ids[: last + 1]])).last_hidden_state[0]
    asked = parts.query(states[last])
    scores = [float(F.cosine_similarity(parts.key(state), asked, dim=0)) for state in states]
    best = sorted(range(low, high), key=lambda t: -scores[t])[: math.ceil(options.rho * (high - low) - 1e-9)]
    places = [*range(low), *sorted(best), *range(high, len(ids))]
    x = torch.stack([parts.value(states[t]) if t in best else body.embed_tokens.weight[ids[t]] for t in places])
    for index, block in enumerate(body.layers):
        normed, mixer = block.mixer_norm(x), block.mixer
        heads = mixer.heads
        weight = mixer.proj.weight
        z, mixed = (normed @ weight[:-heads].T).split([mixer.inner, mixer.inner + 2 * mixer.shared], dim=-1)
        raw = normed @ weight[-heads:].T
        for place, t in enumerate(places):
            if t in best and options.adaptation:
                raw[place] = max(scores[t], 0.0) * raw[place] + parts.offsets[index]
        x = x + _layer(mixer, z, mixed, F.softplus(raw + mixer.dt_bias))
        x = x + block.feed_forward(block.feed_forward_norm(x))
    return body.norm(x), places


def _layer(mixer: Any, z: Tensor, mixed: Tensor, steps: Tensor) -> Tensor:
    """Mamba-2 token by token, after its projection; one group."""
    padded = F.pad(mixed, (0, 0, mixer.conv.kernel - 1, 0))
    windows = padded.unfold(0, mixer.conv.kernel, 1)
    u, b, c = F.silu((windows * mixer.conv.weight).sum(-1) + mixer.conv.bias).split([mixer.inner, 8, 8], dim=-1)
    u, state, outputs = u.unflatten(-1, (mixer.heads, -1)), torch.zeros(mixer.heads, 8, 8), []
    for t in range(len(u)):
        state = (-mixer.A_log.exp() * steps[t]).exp()[:, None, None] * state
        state = state + (steps[t][:, None] * u[t])[:, :, None] * b[t]
        outputs.append((state @ c[t] + mixer.D[:, None] * u[t]).flatten())
    return mixer.out(mixer.norm(torch.stack(outputs), z))


ROWS = [row(20, 4, 5, 1), row(31, 3, 2, 2), row(9, 6, 0, 3), row(1, 2, 1, 4)]
NO_CONTEXT = [7, 8, 9, 10, REPLY, 5]


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    time = max(map(len, rows))
    ids = torch.tensor([[*one, *[0] * (time - len(one))] for one in rows])
    return ids, torch.arange(time) < torch.tensor([len(one) for one in rows])[:, None]


def prompt_end(ids: list[int]) -> int:
    return next(t for t in range(ids.index(END), len(ids)) if ids[t] in (REPLY, ALSO))


@torch.no_grad()
@pytest.mark.parametrize("adaptation", [True, False])
def test_rows_of_any_lengths_are_each_that_by_hand(adaptation: bool) -> None:
    made = remamba(OPTIONS.model_copy(update={"adaptation": adaptation}))
    ids, real = padded(ROWS)
    states = made.model(ids, attention_mask=real).last_hidden_state
    for number, one in enumerate(ROWS):
        expected, places = by_hand(made, one)
        torch.testing.assert_close(states[number, places], expected, **CLOSE)
        dropped = [t for t in range(ids.shape[1]) if t not in places]
        assert dropped
        assert not states[number, dropped].any()
        alone = made.model(torch.tensor([one])).last_hidden_state[0]
        torch.testing.assert_close(states[number, : len(one)], alone, **CLOSE)


@torch.no_grad()
def test_padding_on_the_left_changes_nothing() -> None:
    made = remamba()
    one = ROWS[0]
    ids = torch.tensor([[*[0] * 7, *one]])
    mask = torch.arange(ids.shape[1])[None] >= 7
    states = made.model(ids, attention_mask=mask).last_hidden_state[0, 7:]
    torch.testing.assert_close(states, made.model(torch.tensor([one])).last_hidden_state[0], **CLOSE)


@torch.no_grad()
def test_without_a_context_it_is_the_host() -> None:
    made = remamba()
    ids = torch.tensor([NO_CONTEXT])
    torch.testing.assert_close(made(ids).logits, host()(ids).logits, **CLOSE)


@torch.no_grad()
def test_where_all_is_kept_as_it_is_the_host_reads_its_own_states() -> None:
    made = remamba(OPTIONS.model_copy(update={"rho": 1.0, "start": 0.0, "end": 1.0, "adaptation": False}))
    made.model.value = torch.nn.Identity()
    ids = torch.tensor([ROWS[0]])
    context, body = ROWS[0].index(END), made.model.host
    x = torch.cat([body(ids).last_hidden_state[:, :context], body.embed_tokens(ids[:, context:])], dim=1)
    torch.testing.assert_close(made.model(ids).last_hidden_state, body(inputs_embeds=x).last_hidden_state, **CLOSE)


@torch.no_grad()
def test_a_prompt_that_is_read_and_gone_on_from_is_the_row_in_one() -> None:
    """Also for rows whose contexts end at different places, which leave different numbers of tokens behind."""
    made = remamba()
    rows = [row(20, 4, 5, 1), row(17, 7, 5, 3)]
    ids = torch.tensor(rows)
    whole = made(ids).logits
    context = read(made, ids[:, :25])
    torch.testing.assert_close(context.logits, whole[:, 24], **CLOSE)
    torch.testing.assert_close(context.go_on(ids[:, 25:]), whole[:, 25:], **CLOSE)
    assert context.bytes == 2 * made.memory_bytes(30)


@torch.no_grad()
def test_greedy_writing_is_reading_what_was_written() -> None:
    made = remamba()
    prompts = [one[: prompt_end(one) + 1] for one in ROWS]
    for prompt, written in zip(prompts, complete(made, prompts, Decoding(max_new_tokens=5), []), strict=True):
        logits = made(torch.tensor([[*prompt, *written]])).logits[0]
        assert logits[len(prompt) - 1 : -1].argmax(-1).tolist() == written


def test_gradients_reach_everything() -> None:
    made = remamba().train()
    ids, real = padded(ROWS)
    made.model(ids, attention_mask=real).last_hidden_state.square().sum().backward()
    missing = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_the_choice_learns_through_the_steps_alone() -> None:
    """Without adaptation nothing tells query and key how to choose: said in the docs, and seen here."""
    made = remamba(OPTIONS.model_copy(update={"adaptation": False})).train()
    ids, real = padded(ROWS)
    made.model(ids, attention_mask=real).last_hidden_state.square().sum().backward()
    assert all(p.grad is None for part in (made.model.query, made.model.key) for p in part.parameters())


def test_no_hook_stays_even_after_an_error() -> None:
    made = remamba()
    made.model.host.layers[1].register_forward_hook(lambda _, args, out: 1 / 0 if out.shape[1] < 30 else None)
    with pytest.raises(ZeroDivisionError):
        made(torch.tensor([ROWS[1]]))
    assert not any(layer.mixer.proj._forward_hooks for layer in made.model.host.layers)


def test_it_learns_in_the_training_loop() -> None:
    torch.manual_seed(0)
    layers = [{"mixer": "mamba2", "head_width": 32, "state": 16}]
    task = KeyFacts(length=(16, 32))
    made = around_key_facts(MnemicForCausalLM(MnemicConfig(task.vocab_size, 32, 2, layers=layers, feed_forward=0)))
    rows = task.sample("train", 64)
    batch = training_batch(rows)
    with torch.no_grad():
        before = float(AskedLoss(made)(batch))
    config = TrainConfig(steps=20, batch_size=32, lr=5e-3, warmup=2, eval_every=20, eval_rows=32)
    train(made, task, config)
    with torch.no_grad():
        after = float(AskedLoss(made)(batch))
    assert after < 0.75 * before
    assert all(offset.any() for offset in made.model.offsets)
    length = rows.input_ids[0].tolist().index(QUESTION)
    assert rows.input_ids[0, length + 3] == ANSWER
    states = made.model(torch.from_numpy(rows.input_ids[:1])).last_hidden_state[0, :length]
    assert int(states.any(-1).sum()) == math.ceil(length / 4)


def test_saved_it_is_the_same_and_another_file_is_none(tmp_path: Path) -> None:
    made = remamba()
    made.save_pretrained(tmp_path / "kept")
    again = ReMamba.from_pretrained(tmp_path / "kept")
    ids = torch.tensor([ROWS[0]])
    torch.testing.assert_close(again(ids).logits, made(ids).logits, rtol=0, atol=0)
    assert again.options == made.options
    assert again.lm_head.weight is again.model.host.embed_tokens.weight
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["model.safetensors"]
    host().save_pretrained(tmp_path / "host")
    with pytest.raises(UsageError, match="another model's"):
        ReMamba.from_pretrained(tmp_path / "host")
    with pytest.raises(UsageError, match="no ReMamba"):
        ReMamba.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "kept/model.safetensors").write_bytes(b"cut")
    with pytest.raises(UsageError, match="no ReMamba"):
        ReMamba.from_pretrained(tmp_path / "kept")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = remamba()
    made.save_pretrained(tmp_path)
    kept = (tmp_path / "model.safetensors").read_bytes()

    def full(model: Any, path: str, metadata: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("mnemic.teaching.rwr.compression_file.save_model", full)
    with pytest.raises(Exception, match="no space left"):
        made.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert (tmp_path / "model.safetensors").read_bytes() == kept


def test_shares_of_the_prompt_and_ends_of_several_tokens() -> None:
    """As the release has it: no context is named, the range is a share of the whole prompt, whose end stays."""
    made = remamba(ReMambaConfig(rho=0.5, end=1.0))
    states = made.model(torch.tensor([ROWS[0][:20]])).last_hidden_state[0]
    assert int(states.any(-1).sum()) == math.ceil(19 / 2) + 1
    assert states[-1].any()
    several = remamba(ReMambaConfig(rho=0.5, context_end=(END, 6), prompt_end=((7, REPLY),)))
    ids = [9, END, 10, 11, END, 6, 12, REPLY, 7, REPLY, 13]
    states = several.model(torch.tensor([ids])).last_hidden_state[0]
    assert states.any(-1).tolist()[4:] == [True] * 7
    assert int(states[:4].any(-1).sum()) == 2


def test_what_it_cannot_do_is_refused() -> None:
    hybrid = [{"mixer": "mamba2", "head_width": 8, "state": 8}, {"mixer": "attention"}]
    small = {"num_heads": 4, "head_dim": 16, "n_groups": 1, "hidden_size": 32, "num_hidden_layers": 1}
    foreign = Mamba2ForCausalLM(Mamba2Config(vocab_size=8, state_size=8, **small))
    for other in (MnemicForCausalLM(MnemicConfig(VOCABULARY, 32, 2, layers=hybrid)), foreign):
        with pytest.raises(UsageError, match="all of whose layers are mamba2"):
            ReMamba(other)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="prompt_end"):
        remamba(ReMambaConfig(context_end=(END,))).train()(torch.tensor([ROWS[0]]))
    with pytest.raises(UsageError, match="attention_mask"):
        remamba()(torch.tensor([ROWS[0]]), attention_mask=torch.ones(1, 1, 4, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="before"):
        ReMambaConfig(start=0.5, end=0.5)
