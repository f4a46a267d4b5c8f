"""Lecture 09: memory by part, its two explorers, the sentiment task, intervals."""
from types import SimpleNamespace

import pytest
import torch

from utils import sentiment
from utils.corpora import Snippet
from utils.explorers.lora import (COLUMNS, SPECTRA, MemoryPlanner, RankDial, trained_error,
                                  with_spectrum)
from utils.intervals import bootstrap, whiskers, wilson
from utils.lora import add_lora
from utils.memory import (GPUS, METHODS, MODELS, PRECISIONS, Shape, activation_numbers, planned,
                          smallest_gpu)
from utils.transformer import Config, Transformer


@pytest.mark.parametrize("name, count", [("SmolLM2 135M", 134_515_008),
                                         ("LLaMA 7B", 6_738_415_616),
                                         ("LLaMA 13B", 13_015_864_320),
                                         ("LLaMA 65B", 65_285_660_672)])
def test_a_shape_has_as_many_numbers_as_the_published_model(name, count):
    assert MODELS[name].parameters == count


def small(d=24, d_ff=40, heads=4, kv_heads=2, layers=3):
    torch.manual_seed(0)
    model = Transformer(Config(19, d, layers, heads, kv_heads, d_ff, 32, position="rotary",
                               norm="rms", activation="swiglu", bias=False))
    return model, Shape(19, d, layers, d_ff, d // heads * kv_heads, True)


def test_a_shape_and_its_adapter_count_as_the_course_model_does():
    model, shape = small()
    assert shape.parameters == model.n_parameters()
    add_lora(model, ("q", "v"), r=3)
    assert shape.adapter(3) == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_activations_are_what_autograd_keeps():
    """Between a model of five blocks and one of three: two blocks' tensors, each storage once."""
    def kept(layers):
        model, shape = small(64, 160, 4, 2, layers)
        weights, seen = {p.untyped_storage().data_ptr() for p in model.parameters()}, {}

        def keep(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights and tensor.is_floating_point():
                seen[storage.data_ptr()] = (tensor.numel(), tensor)
            return tensor
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(torch.zeros(2, 32, dtype=torch.long))
        return sum(n for n, _ in seen.values()) / 64, shape         # numbers a token
    (more, shape), (fewer, _) = kept(5), kept(3)
    assert (more - fewer) / 2 == pytest.approx(activation_numbers(shape), rel=0.25)


def test_the_arithmetic_of_llama_7b():
    seven = MODELS["LLaMA 7B"]

    def total(*how, **more):
        parts = planned(seven, *how, **more)
        return sum(gb for name, gb in parts.items()
                   if name not in ("activations", "logits", "keys and values"))
    assert total("inference", "float32") == pytest.approx(26.95, abs=0.01)
    assert total("inference", "mixed") == pytest.approx(13.48, abs=0.01)
    assert total("full", "float32") == total("full", "mixed") == pytest.approx(107.8, abs=0.05)
    assert total("full", "float32", "SGD") == pytest.approx(53.9, abs=0.05)
    assert total("full", "bfloat16") == pytest.approx(53.9, abs=0.05)
    assert 13.5 < total("LoRA", "mixed") < 13.6 and 3.9 < total("QLoRA", "mixed") < 4.1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_more_text_takes_more_memory_and_checkpointing_less(method, precision):
    def total(**how):
        return sum(planned(MODELS["LLaMA 7B"], method, precision, **how).values())
    assert total(context=512) < total(context=1024) == pytest.approx(total(context=512, batch=2))
    if method != "inference":
        assert total(checkpointing=True) < total()
        assert total(optimiser="SGD") <= total(optimiser="SGD with momentum") <= total()


def test_what_is_no_plan_is_refused():
    for how in ({"method": "DoRA"}, {"precision": "int3"}, {"optimiser": "Lion"}, {"batch": 0}):
        with pytest.raises(ValueError):
            planned(MODELS["LLaMA 7B"], **how)
    assert smallest_gpu(8) == "laptop GPU" and smallest_gpu(8.1) == "T4"
    assert smallest_gpu(max(GPUS.values()) + 1) is None


def test_the_rank_dial_falls_off_the_cliff_at_the_planted_rank():
    assert RankDial().selftest() >= 10
    name = next(iter(SPECTRA))
    dial = RankDial(update=name)
    three, four = (dial.compute(name, r, 300) for r in (3, 4))
    assert three["error"] > 9.7 and four["error"] < 0.75
    assert "4 of 12" in dial.show()[0].layout["title"]["text"]


@pytest.mark.parametrize("name", SPECTRA)
def test_training_reaches_the_floor_of_eckart_and_young(name):
    values = torch.tensor(SPECTRA[name])
    torch.testing.assert_close(torch.linalg.svdvals(with_spectrum(SPECTRA[name])), values,
                               atol=1e-4, rtol=1e-4)
    for r in (1, 4, COLUMNS):
        floor = float((values[r:] ** 2).sum())
        assert floor - 1e-3 <= trained_error(name, r, 300) <= 1.01 * floor + 0.01
    rng = torch.Generator().manual_seed(3)
    for _ in range(50):                                 # no other matrix of rank 4 is nearer
        other = torch.randn(16, 4, generator=rng) @ torch.randn(4, 12, generator=rng)
        assert (with_spectrum(SPECTRA[name]) - other).square().sum() > (values[4:] ** 2).sum()


def test_the_memory_planner_says_what_fits():
    assert MemoryPlanner().selftest() >= 20
    _, sentence = MemoryPlanner(method="QLoRA", context=256).show()
    assert "fits a laptop GPU" in sentence and "6.74 billion" in sentence
    figure, sentence = MemoryPlanner(model="LLaMA 65B").show()
    assert "H100s" in sentence and figure.layout["height"] <= 230


@pytest.fixture
def pretrained():
    """A tiny model and a tokenizer of letters, in SmolLM2's place."""
    model, _ = small(layers=4)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    words = {sentiment.FOR: [17], sentiment.AGAINST: [18]}
    return SimpleNamespace(model=model.eval(), encode=lambda text: words.get(
        text, [1 + ord(c) % 16 for c in text]))


def film(n):
    return [Snippet("abcdefgh"[:2 + k % 5], bool(k % 2), f"film {k % n}") for k in range(60)]


def test_reviews_share_no_film_and_are_short(pretrained, monkeypatch):
    monkeypatch.setattr(sentiment, "load_snippets", lambda: film(12))
    train, test = sentiment.reviews(pretrained.encode, 20, 8, most=5)
    assert (len(train), len(test)) == (20, 8)
    assert not {s.film for s in train} & {s.film for s in test}
    assert max(len(s.text) for s in train + test) <= 5
    with pytest.raises(ValueError, match="are there"):
        sentiment.reviews(pretrained.encode, 200, 8)


@torch.no_grad()
def test_lower_and_upper_blocks_say_what_the_whole_model_says(pretrained):
    snippets = film(12)[:9]
    found = sentiment.read(pretrained, snippets, 2, batch=4)
    logits = sentiment.Upper(pretrained, 2)(found.hidden, found.last)
    for snippet, logit in zip(snippets, logits):
        ids = torch.tensor([pretrained.encode(snippet.text + sentiment.SUFFIX)])
        want = pretrained.model(ids)[0, -1]
        torch.testing.assert_close(logit, want[17] - want[18], atol=1e-4, rtol=1e-4)
    assert found.fresh.tolist() == [float(s.fresh) for s in snippets]


def test_teaching_moves_a_copy_and_counts_what_moved(pretrained):
    before = {n: p.clone() for n, p in pretrained.model.named_parameters()}
    found = sentiment.read(pretrained, film(12)[:32], 2)
    state = torch.get_rng_state()
    pretrained.model.requires_grad_(False)              # as LoRA elsewhere leaves it
    upper = sentiment.Upper(pretrained, 2)
    assert all(p.requires_grad for p in upper.parameters())
    add_lora(upper, ("q", "v"), r=2)
    cost = sentiment.teach(upper, found, 1e-2, batch=8, epochs=6)
    assert torch.equal(torch.get_rng_state(), state)
    assert cost["trainable"] == 2 * 2 * (24 + 24 + 24 + 12) and cost["seconds"] > 0
    assert all(torch.equal(p, before[n]) for n, p in pretrained.model.named_parameters())
    with torch.no_grad():
        told = upper(found.hidden, found.last)
        assert not torch.allclose(told, sentiment.Upper(pretrained, 2)(found.hidden, found.last))
        assert torch.equal(sentiment.right(upper, found, 5), (told > 0) == (found.fresh > 0))


def test_a_new_head_learns_what_the_states_tell(pretrained):
    found = sentiment.read(pretrained, film(12)[:40], 2)
    upper = sentiment.Upper(pretrained, 2)
    x = sentiment.states(upper, found)
    middle = (x[:, 3].min() + x[:, 3].max()) / 2        # not the median: five texts, and rounding
    found.fresh = (x[:, 3] > middle).float()            # would split those at the median itself
    w, b, spent = sentiment.head_only(upper, found)
    assert spent["trainable"] == len(w) + 1 and spent["seconds"] > 0
    assert ((x @ w + b > 0) == (found.fresh > 0)).all()


def test_wilson_and_the_bootstrap():
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    with pytest.raises(ValueError):
        wilson(11, 10)
    sample = torch.randn(400, generator=torch.Generator().manual_seed(0))
    mean, low, high = bootstrap(sample)
    assert mean == pytest.approx(float(sample.mean()), abs=1e-6)
    assert high - low == pytest.approx(2 * 1.96 * float(sample.std()) / 20, rel=0.1)
    assert bootstrap(sample) == (mean, low, high)


def test_whiskers_reach_from_low_to_high():
    bars = whiskers([0.5, 0.8], [(0.4, 0.7), (0.75, 0.9)])["error_y"]
    assert bars["array"] == [0.2, 0.1] and bars["arrayminus"] == [0.1, 0.05]
