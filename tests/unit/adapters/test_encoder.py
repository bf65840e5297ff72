"""An encoder in the one learner: what it answers, what is saved of it, and how its head grows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tenuto import Batch, Learner, OnlineExample, OnlineLearnerConfig, Session, trees
from tenuto.errors import ConfigError, ExampleError
from tenuto.models.encoder import Encoder
from tenuto.models.language import PAD
from tenuto.models.reading import Reading
from tests import encoder
from tests.contract import checks
from tests.contract.walks import Make, go

CONFIG = OnlineLearnerConfig(
    optimizer="adamw", learning_rate=0.01, memory_size=12, batch_size=3, guard="finite+divergence+norm_budget"
)
TEXTS = ("how are you", "please move one hundred dollars from my savings to my checking account", "hi")


def maker(method: str) -> Make:
    def make(seed: int) -> Learner:
        return Learner(encoder.model(seed=seed), replace(CONFIG, seed=seed), method=method)

    return make


def test_outputs_are_the_librarys_sentence_embeddings_times_the_head() -> None:
    base = encoder.minilm()
    reading = Reading(base, length=32)
    model = Encoder(base.model, outputs=3, reading=reading)
    assert model.reading is reading
    with torch.no_grad():
        found = model(torch.from_numpy(reading.rows(TEXTS)))
        tokens = base.tokenizer(list(TEXTS), padding=True, return_tensors="pt")
        states, mask = base.model(**tokens).last_hidden_state, tokens["attention_mask"][..., None]
        vectors = F.normalize((states * mask).sum(1) / mask.sum(1), dim=1) * 384**0.5
        torch.testing.assert_close(found, model.head(vectors), atol=1e-4, rtol=1e-4)


def test_the_last_blocks_stand_side_by_side() -> None:
    base, rows = encoder.base(), encoder.rows("abcd", 3).inputs
    one, two = Encoder(base), Encoder(base, blocks=2)
    assert two.head.in_features == 2 * encoder.WIDTH
    with torch.no_grad():
        whole = two.embed(rows)
        assert torch.equal(whole[:, encoder.WIDTH :], one.embed(rows))
        base.encoder.layer = base.encoder.layer[:2]
        assert torch.equal(whole[:, : encoder.WIDTH], one.embed(rows))
    with pytest.raises(ConfigError, match="blocks is 4; this base has 1 to 3"):
        Encoder(encoder.base(), blocks=4)


def test_what_lies_beside_a_row_and_behind_it_changes_nothing() -> None:
    model = encoder.model(outputs=4)
    batch = encoder.rows("abcdabcd", 7).inputs
    behind = torch.cat([batch, torch.full((len(batch), 9), PAD, dtype=batch.dtype)], 1)
    with torch.no_grad():
        whole = model(batch)
        for number in range(len(batch)):
            torch.testing.assert_close(model(batch[number : number + 1])[0], whole[number])
        assert torch.equal(model(behind), whole)
        torch.testing.assert_close(model(batch.flip(0)), whole.flip(0))
    assert len({int((row != PAD).sum()) // 8 for row in batch}) > 1


def test_the_base_draws_nothing_while_the_rest_learns() -> None:
    model, rows = encoder.model(outputs=2).train(), encoder.rows("ab", 1).inputs
    assert model.training
    assert not any(part.training for part in model.base.modules())
    assert torch.equal(model(rows), model(rows))


@pytest.mark.parametrize("bad", [encoder.VOCABULARY, -1])
def test_a_number_that_is_no_token_is_refused_and_changes_nothing(bad: int) -> None:
    learner = Learner(encoder.model(), CONFIG)
    go(learner, encoder.WALK)
    before, batch = learner.digest(), encoder.rows("aze", 9)
    batch.inputs[1, 0] = bad
    with pytest.raises(ExampleError, match=f"row 1 of the batch holds {bad}"):
        learner.learn_batch(batch)
    batch.inputs[1] = PAD
    with pytest.raises(ExampleError, match="row 1 of the batch holds no token"):
        learner.learn_batch(batch)
    assert learner.digest() == before


def test_only_the_adapter_and_the_head_learn_and_are_saved() -> None:
    learner = Learner(encoder.model(), CONFIG)
    before = {name: one.clone() for name, one in learner.model.named_parameters() if not one.requires_grad}
    go(learner, encoder.WALK)
    saved = learner.save_state()["model"]
    assert set(saved) == set(learner.body.params)
    assert {name for name in saved if "lora_" not in name} == {"head.weight", "head.bias"}
    after = dict(learner.model.named_parameters())
    assert all(torch.equal(one, after[name]) for name, one in before.items())
    blocks = {name.split("layer.")[1][0] for name in saved if "lora_" in name}
    assert blocks == {"1", "2"}


def test_the_head_grows_with_each_class_and_is_the_last_layer() -> None:
    learner = Learner(encoder.model(), CONFIG)
    assert learner.body.output == "head"
    assert learner.body.width == 0
    go(learner, encoder.WALK)
    assert learner.predict(encoder.rows("abcd", 9).inputs).classes == ("a", "b", "c", "d")
    assert learner.body.width == 4
    fixed = replace(CONFIG, head="fixed", classes=("a", "b"))
    with pytest.raises(ExampleError, match="head is fixed at 2"):
        go(Learner(encoder.model(outputs=2), fixed), encoder.WALK)


def test_classes_are_learned_from_their_tokens() -> None:
    learner = Learner(encoder.model(), CONFIG)
    for seed in range(40):
        learner.learn_batch(encoder.rows("abc", seed))
    asked = encoder.rows("abc" * 20, 100)
    said = np.array(learner.predict(asked.inputs).labels)
    assert (said == np.array(asked.targets)).mean() > 0.8


@pytest.mark.parametrize("method", ["er", "hybrid", "derpp", "slda"])
def test_a_saved_state_goes_on_bit_for_bit(method: str) -> None:
    checks.resumes_at_every_step(maker(method), encoder.WALK)


@pytest.mark.parametrize("check", [checks.goes_back_in_time, checks.state_is_plain])
def test_it_keeps_the_contract(check: checks.Check) -> None:
    check(maker("er"), encoder.WALK)


def test_memory_does_not_depend_on_how_rows_were_split() -> None:
    checks.memory_is_split_blind(maker("er"), encoder.WALK)


def test_the_seed_and_the_base_decide_the_digest() -> None:
    digests = []
    for seed in (0, 0, 1):
        learner = maker("er")(seed)
        go(learner, encoder.WALK)
        digests.append(learner.digest())
    assert digests[0] == digests[1] != digests[2]


def test_a_session_comes_back_with_adapter_and_head(tmp_path: Path) -> None:
    batch = encoder.rows("abcab", 3)
    told = (batch.inputs.numpy(), batch.targets)
    examples = [OnlineExample(input=row, target=label) for row, label in zip(*told, strict=True)]
    with Session(tmp_path, encoder.model(), CONFIG) as session:
        session.ingest(examples)
        session.flush()
        digest = session.learner.digest()
    with Session(tmp_path, encoder.model(), CONFIG) as session:
        assert session.learner.digest() == digest
        assert trees.digest(session.learner.save_state()) == digest


def test_texts_become_rows_and_what_cannot_be_one_is_told() -> None:
    base = encoder.minilm()
    reading = Reading(base, length=8)
    row = reading.row("how are you")
    assert row.dtype == np.int32
    assert [int(token) for token in row if token != PAD] == base.tokenizer("how are you")["input_ids"]
    with pytest.raises(ExampleError, match=r"has 14 tokens; the longest allowed has 8"):
        reading.rows(["how are you", TEXTS[1]])
    with pytest.raises(ExampleError, match="text is empty"):
        reading.row(" \n")
    for length in (0, 513):
        with pytest.raises(ConfigError, match="this model reads 1 to 512"):
            Reading(base, length=length)


def test_a_batch_of_texts_is_learned_and_answered_in_bfloat16() -> None:
    from tenuto.adapters.lora import adapt

    base = encoder.minilm("bfloat16")
    reading = Reading(base, length=32)
    learner = Learner(Encoder(adapt(base.model, layers=(5,)), reading=reading), CONFIG)
    inputs = torch.from_numpy(reading.rows(TEXTS))
    for _ in range(3):
        assert learner.learn_batch(Batch(inputs, ["talk", "bank", "talk"])).verdict.keeps
    assert learner.predict(inputs).labels == ["talk", "bank", "talk"]
    assert {one.dtype for one in learner.body.params.values()} == {torch.float32}
