import numpy as np
import torch
import torch.nn.functional as F
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

from mnemic.tasks import parse_task
from mnemic.training import objective as module
from mnemic.training.objective import AskedLoss, scored_batch, training_batch


class HeadOfItsOwn(torch.nn.Module):
    """A model that offers no body and head to be called apart, as other libraries' models do not."""

    def __init__(self, model):
        super().__init__()
        self.inner = model

    def forward(self, **arguments):
        return self.inner(**arguments)


def test_loss_is_the_cross_entropy_of_all_logits_where_asked(make_model, task):
    model, examples = make_model(), task.sample("train", 8)
    logits = model(input_ids=torch.from_numpy(examples.input_ids)).logits
    wanted = F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(examples.labels).flatten(), reduction="sum")
    batch = training_batch(examples)
    for objective in (AskedLoss(model), AskedLoss(HeadOfItsOwn(model))):
        torch.testing.assert_close(objective(batch), wanted)


def test_gradients_are_those_of_all_logits(make_model, task):
    one, other, examples = make_model(), make_model(), task.sample("train", 8)
    batch = training_batch(examples)
    AskedLoss(one)(batch).backward()
    logits = other(input_ids=torch.from_numpy(examples.input_ids)).logits
    F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(examples.labels).flatten(), reduction="sum").backward()
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


def test_training_on_everything_asks_for_the_next_token_and_scoring_does_not():
    everything = parse_task("mqar:pairs=2,length=16,vocab=32,train_on=all").sample("train", 5)
    trained, scored = training_batch(everything), scored_batch(everything)
    assert len(scored.asked) == int((everything.labels != -100).sum()) < len(trained.asked)
    for index, target in zip(trained.asked.tolist(), trained.targets.tolist(), strict=True):
        row, t = divmod(index, 16)
        label = everything.labels[row, t]
        assert target == (label if label != -100 else everything.input_ids[row, t + 1])


def test_bf16_runs_the_body_in_bf16_and_the_loss_in_float32(make_model, task):
    model = make_model()
    seen = []
    model.model.layers[0].register_forward_hook(lambda module, args, out: seen.append(args[0].dtype))
    model.model.layers[0].feed_forward.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    batch = training_batch(task.sample("train", 4))
    loss = AskedLoss(model, "bf16")(batch)
    exact = AskedLoss(model)(batch)
    assert torch.bfloat16 in seen
    assert loss.dtype == torch.float32
    np.testing.assert_allclose(loss.item(), exact.item(), rtol=0.05)


def test_a_head_in_pieces_gives_the_same_loss_and_gradients(make_model, monkeypatch):
    everything = parse_task("mqar:pairs=2,length=16,vocab=32,train_on=all").sample("train", 5)
    batch, whole, pieces = training_batch(everything), make_model(), make_model()
    loss = AskedLoss(whole)(batch)
    loss.backward()
    monkeypatch.setattr(module, "_LOGITS_AT_ONCE", 32 * 7)
    seen = []
    pieces.lm_head.register_forward_hook(lambda _, args, out: seen.append(len(out)))
    again = AskedLoss(pieces)(batch)
    assert max(seen) == 7 < len(batch.targets) == sum(seen)
    torch.testing.assert_close(again, loss)
    again.backward()
    with torch.no_grad():
        logits, (logprobs, right) = AskedLoss(whole).logits(batch), AskedLoss(pieces).scores(batch)
    wanted = logits.log_softmax(-1).gather(-1, batch.targets[:, None])[:, 0]
    torch.testing.assert_close(logprobs, wanted)
    torch.testing.assert_close(AskedLoss(pieces).logprobs(batch), wanted)
    assert torch.equal(right, logits.argmax(-1) == batch.targets)
    for p, q in zip(whole.parameters(), pieces.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


def test_only_what_is_asked_becomes_logits_whatever_a_model_calls_its_body(task):
    sizes = {"vocab_size": task.vocab_size, "hidden_size": 16, "num_hidden_layers": 1, "use_cache": False}
    model = MambaForCausalLM(MambaConfig(**sizes, state_size=4)).eval()
    examples = task.sample("train", 4)
    logits = model(input_ids=torch.from_numpy(examples.input_ids)).logits
    wanted = F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(examples.labels).flatten(), reduction="sum")
    seen = []
    model.lm_head.register_forward_hook(lambda module, args, out: seen.append(len(args[0])))
    batch = training_batch(examples)
    torch.testing.assert_close(AskedLoss(model)(batch), wanted)
    assert seen == [len(batch.asked)]


def test_what_a_model_does_to_its_logits_is_in_the_loss(task):
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    rest = {"vocab_size": 32, "num_key_value_heads": 1, "initializer_range": 0.5, "pad_token_id": 0, **shape}
    batch = training_batch(task.sample("train", 4))
    for config_class, model_class, options in (
        (GraniteConfig, GraniteForCausalLM, {"logits_scaling": 4.0}),
        (Gemma2Config, Gemma2ForCausalLM, {"final_logit_softcapping": 0.5, "head_dim": 8}),
    ):
        model = model_class(config_class(**rest, **options)).eval()
        with torch.no_grad():
            logits = model(input_ids=batch.input_ids).logits.flatten(0, 1)[batch.asked]
            wanted = F.cross_entropy(logits, batch.targets, reduction="sum")
            torch.testing.assert_close(AskedLoss(model)(batch), wanted)
            assert not torch.allclose(model.lm_head(model.model(batch.input_ids)[0]).flatten(0, 1)[batch.asked], logits)
