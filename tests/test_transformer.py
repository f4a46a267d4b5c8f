"""The course's Transformer against Hugging Face's with the same weights, and against itself."""
import math

import pytest
import torch
import torch.nn.functional as F

from utils.explorers.transformer import (AFTER, BEFORE, NONE, NORMS, BlockDissection,
                                         gradient_by_depth)
from utils.generate import draw, generate, sharpened
from utils.gpt2 import from_gpt2
from utils.transformer import Cache, Config, Transformer, rotate, sinusoidal, turns


def random_model(seed=0, **shape):
    torch.manual_seed(seed)
    shape = {"vocab_size": 17, "d_model": 24, "n_layers": 3, "n_heads": 4, "max_len": 20} | shape
    model = Transformer(Config(**shape))
    for parameter in model.parameters():                # far from the start, so that errors show
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def copy(pairs):
    """Fill parameters from (ours, theirs) pairs; a bias that theirs lacks becomes 0."""
    with torch.no_grad():
        for ours, theirs in pairs:
            assert ours.shape == theirs.shape
            ours.copy_(theirs)


def test_logits_equal_gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel
    torch.manual_seed(1)
    theirs = GPT2LMHeadModel(GPT2Config(vocab_size=19, n_positions=16, n_embd=24, n_layer=2,
                                        n_head=3, initializer_range=0.3)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():           # biases and norms too, so that errors show
            parameter.normal_(std=0.3)
    ours = from_gpt2(theirs)
    ids = torch.randint(19, (3, 13), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-5, rtol=0)
    prompt = ids[0, :4].tolist()
    text = theirs.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, 4).long(),
                           max_new_tokens=9, do_sample=False, pad_token_id=0)[0, 4:].tolist()
    assert generate(ours, [prompt], 9, temperature=0)[0] == text


def test_hidden_states_equal_bert():
    from transformers import BertConfig, BertModel
    torch.manual_seed(3)
    theirs = BertModel(BertConfig(vocab_size=19, hidden_size=24, num_hidden_layers=2,
                                  num_attention_heads=3, intermediate_size=40,
                                  max_position_embeddings=16, initializer_range=0.3),
                       add_pooling_layer=False).eval()
    ours = random_model(vocab_size=19, n_layers=2, n_heads=3, d_ff=40, max_len=16, kind="encoder",
                        norm_first=False, norm_embedding=True, eps=1e-12)
    e = theirs.embeddings
    pairs = [(ours.embedding.weight, e.word_embeddings.weight),
             (ours.position.weight,
              e.position_embeddings.weight + e.token_type_embeddings.weight[0]),
             (ours.norm_embedding.weight, e.LayerNorm.weight),
             (ours.norm_embedding.bias, e.LayerNorm.bias)]
    for block, h in zip(ours.encoder.blocks, theirs.encoder.layer):
        a, s, o = block.attention, h.attention.self, h.attention.output
        for part, linear in ((a.q, s.query), (a.k, s.key), (a.v, s.value), (a.out, o.dense),
                             (block.feed_forward.up, h.intermediate.dense),
                             (block.feed_forward.down, h.output.dense),
                             (block.norm_attention, o.LayerNorm),
                             (block.norm_feed_forward, h.output.LayerNorm)):
            pairs += [(part.weight, linear.weight), (part.bias, linear.bias)]
    copy(pairs)
    ids = torch.randint(19, (3, 13), generator=torch.Generator().manual_seed(4))
    length = torch.tensor([13, 5, 9])
    absent = torch.arange(13) >= length[:, None]                                # (B, T)
    out = ours.hidden(ids, blocked=absent[:, None, None])
    want = theirs(ids, attention_mask=(~absent).long()).last_hidden_state
    torch.testing.assert_close(out[~absent], want[~absent], atol=1e-5, rtol=0)


def test_logits_equal_llama_with_grouped_keys():
    from transformers import LlamaConfig, LlamaForCausalLM
    torch.manual_seed(5)
    theirs = LlamaForCausalLM(LlamaConfig(
        vocab_size=19, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=16,
        initializer_range=0.3, tie_word_embeddings=True, rms_norm_eps=1e-5)).eval()
    ours = random_model(vocab_size=19, n_layers=2, n_heads=6, n_kv_heads=2, d_ff=40, max_len=16,
                        position="rotary", norm="rms", activation="swiglu", bias=False)
    pairs = [(ours.embedding.weight, theirs.model.embed_tokens.weight),
             (ours.decoder.norm.weight, theirs.model.norm.weight)]
    for block, h in zip(ours.decoder.blocks, theirs.model.layers):
        a, f = block.attention, block.feed_forward
        for part, linear in ((a.q, h.self_attn.q_proj), (a.k, h.self_attn.k_proj),
                             (a.v, h.self_attn.v_proj), (a.out, h.self_attn.o_proj),
                             (f.gate, h.mlp.gate_proj), (f.up, h.mlp.up_proj),
                             (f.down, h.mlp.down_proj),
                             (block.norm_attention, h.input_layernorm),
                             (block.norm_feed_forward, h.post_attention_layernorm)):
            pairs.append((part.weight, linear.weight))
    copy(pairs)
    ids = torch.randint(19, (3, 13), generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-5, rtol=0)


def test_encoder_decoder_equals_torch():
    """nn.Transformer is the model of 2017: post-norm, ReLU, cross-attention."""
    torch.manual_seed(7)
    theirs = torch.nn.Transformer(24, 3, 2, 2, 40, dropout=0.0, batch_first=True).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ours = random_model(n_layers=2, n_heads=3, d_ff=40, kind="encoder-decoder", norm_first=False,
                        activation="relu", position="sinusoidal", scale_embedding=True)
    theirs.encoder.norm = theirs.decoder.norm = None        # torch adds one that the paper lacks
    pairs = []
    for stack, layers in ((ours.encoder, theirs.encoder.layers),
                          (ours.decoder, theirs.decoder.layers)):
        for block, layer in zip(stack.blocks, layers):
            parts = [(block.attention, layer.self_attn)]
            norms = [block.norm_attention, block.norm_feed_forward]
            if block.cross is not None:
                parts.append((block.cross, layer.multihead_attn))
                norms.insert(1, block.norm_cross)
            for a, m in parts:
                for part, weight, bias in zip((a.q, a.k, a.v), m.in_proj_weight.split(24),
                                              m.in_proj_bias.split(24)):
                    pairs += [(part.weight, weight), (part.bias, bias)]
                pairs += [(a.out.weight, m.out_proj.weight), (a.out.bias, m.out_proj.bias)]
            f = block.feed_forward
            pairs += [(f.up.weight, layer.linear1.weight), (f.up.bias, layer.linear1.bias),
                      (f.down.weight, layer.linear2.weight), (f.down.bias, layer.linear2.bias)]
            for k, norm in enumerate(norms, 1):
                theirs_norm = getattr(layer, f"norm{k}")
                pairs += [(norm.weight, theirs_norm.weight), (norm.bias, theirs_norm.bias)]
    copy(pairs)
    rng = torch.Generator().manual_seed(8)
    source, target = (torch.randint(17, (2, T), generator=rng) for T in (11, 7))
    absent = torch.arange(11) >= torch.tensor([[11], [6]])                      # (B, S)
    memory = ours.encode(source, blocked=absent[:, None, None])
    out = ours.hidden(target, memory=memory, memory_blocked=absent[:, None, None])
    embedded = [ours.embed(ids, torch.arange(ids.shape[1])) for ids in (source, target)]
    want = theirs(*embedded, tgt_mask=theirs.generate_square_subsequent_mask(7),
                  tgt_is_causal=True, src_key_padding_mask=absent,
                  memory_key_padding_mask=absent)
    torch.testing.assert_close(out, want, atol=1e-5, rtol=0)


SHAPES = {
    "learned": {}, "rotary": {"position": "rotary", "qk_norm": True, "activation": "relu2"},
    "sinusoidal": {"position": "sinusoidal", "norm_first": False},
    "grouped": {"position": "rotary", "n_kv_heads": 2, "norm": "rms", "activation": "swiglu"},
    "hashed": {"position": "rotary", "hashed": 50, "tied": False},
    "no position": {"position": "none", "bias": False}}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_later_token_changes_nothing_before_it(shape):
    model = random_model(**SHAPES[shape])
    ids = torch.randint(17, (2, 12), generator=torch.Generator().manual_seed(9))
    other = ids.clone()
    other[:, 7] = (other[:, 7] + 1) % 17
    was, now = model(ids), model(other)
    torch.testing.assert_close(was[:, :7], now[:, :7])
    assert (was[:, 7:] - now[:, 7:]).abs().amax(-1).min() > 1e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_the_cache_in_pieces_of_any_size_changes_nothing(shape):
    model = random_model(**SHAPES[shape])
    ids = torch.randint(17, (2, 12), generator=torch.Generator().manual_seed(10))
    cache = Cache(model.config, 2, 12)
    pieces = [model(part, cache=cache) for part in ids.split([5, 1, 4, 1, 1], 1)]
    torch.testing.assert_close(torch.cat(pieces, 1), model(ids), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="holds 12"):
        model(ids[:, :1], cache=cache)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("how", [{"temperature": 0}, {"temperature": 1.3, "top_k": 9},
                                 {"top_p": 0.7}])
def test_a_row_is_continued_as_if_alone_and_with_or_without_cache(shape, how):
    model = random_model(**SHAPES[shape])
    prompts = [[3], [1, 2, 3, 4, 5], [9, 9]]
    together = generate(model, prompts, 14, seed=4, **how)
    alone = [generate(model, [p], 14, seed=4 + i, **how)[0] for i, p in enumerate(prompts)]
    again = generate(model, prompts, 14, seed=4, cached=False, **how)
    assert together == alone == again


def test_a_text_longer_than_the_model_goes_on_from_its_last_half():
    model = random_model(position="rotary", hashed=50)
    long = generate(model, [[1, 2, 3]], 60, seed=1)
    assert long == generate(model, [[1, 2, 3]], 60, seed=1, cached=False)
    assert len(long[0]) == 60
    assert len(generate(model, [list(range(17)) * 3], 2)[0]) == 2
    with pytest.raises(ValueError, match="built for 20"):
        model(torch.zeros(1, 21, dtype=torch.long))


def test_stop_tokens_end_their_row_only():
    model = random_model()
    free = generate(model, [[1], [2]], 12, seed=3)
    stop = free[0][4]
    first, second = generate(model, [[1], [2]], 12, seed=3, stop=[stop])
    assert first == free[0][:free[0].index(stop) + 1]
    assert second == (free[1][:free[1].index(stop) + 1] if stop in free[1] else free[1])
    with pytest.raises(ValueError, match="one token"):
        generate(model, [[1], []], 3)


def test_temperature_and_cuts():
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    assert sharpened(logits, 0).tolist() == [[1, 0, 0, 0]]
    torch.testing.assert_close(sharpened(logits, 2.0), (logits / 2).softmax(-1))
    assert (sharpened(logits, 1, top_k=2) > 0).tolist() == [[True, True, False, False]]
    torch.testing.assert_close(sharpened(logits, 1, top_k=2)[0, :2], logits[0, :2].softmax(-1))
    shares = logits.softmax(-1)[0]
    enough = float(shares[:2].sum())
    assert (sharpened(logits, 1, top_p=enough - 1e-4) > 0).sum() == 2
    assert (sharpened(logits, 1, top_p=enough + 1e-4) > 0).sum() == 3
    assert (sharpened(logits, 1, top_p=1e-9) > 0).sum() == 1
    for wrong in ({"temperature": -1}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.1}):
        with pytest.raises(ValueError, match="needed"):
            sharpened(logits, **wrong)


def test_draws_follow_the_probabilities():
    p = torch.tensor([0.5, 0.0, 0.3, 0.2])
    rngs = [torch.Generator().manual_seed(i) for i in range(4000)]
    share = draw(p.expand(4000, 4), rngs).bincount(minlength=4) / 4000
    assert share[1] == 0
    assert (share - p).abs().max() < 4 * (0.25 / 4000) ** 0.5       # four standard errors


def test_positions_turn_as_their_formula_says():
    P = sinusoidal(9, 6)
    assert P[0].tolist() == [0, 1, 0, 1, 0, 1]
    torch.testing.assert_close(P[5, 2], torch.sin(torch.tensor(5 / 10_000 ** (2 / 6))))
    cos, sin = turns(12, 8)
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    scores = [float(rotate(q, cos[p], sin[p]) @ rotate(k, cos[p + 3], sin[p + 3]))
              for p in range(9)]
    torch.testing.assert_close(torch.tensor(scores), torch.full((9,), scores[0]))


def test_the_trace_shows_weights_that_the_fast_path_used():
    model = random_model(position="rotary", n_kv_heads=2)
    ids = torch.randint(17, (2, 9), generator=torch.Generator().manual_seed(11))
    trace = {}
    torch.testing.assert_close(model(ids, trace=trace), model(ids), atol=1e-5, rtol=1e-5)
    assert len(trace["hidden"]) == len(trace["weights"]) == 3
    assert trace["weights"][0].shape == (2, 4, 9, 9)
    torch.testing.assert_close(trace["weights"][1].sum(-1), torch.ones(2, 4, 9))


def test_the_start_predicts_nothing_and_counts_right():
    torch.manual_seed(0)
    model = Transformer(Config(65, max_len=64, bias=False))
    assert model.n_parameters() == 65 * 128 + 64 * 128 + 4 * (12 * 128 ** 2 + 2 * 128) + 128
    ids = torch.randint(65, (4, 64))
    loss = F.cross_entropy(model(ids).flatten(0, 1), ids.roll(1).flatten())
    assert abs(loss.item() - math.log(65)) < 0.1


@pytest.mark.parametrize("wrong, said", [
    ({"n_heads": 5}, "multiple"), ({"n_kv_heads": 3}, "multiple"), ({"norm": "batch"}, "choose"),
    ({"d_model": 12, "n_heads": 4, "position": "rotary"}, "odd"), ({"n_layers": 0}, "1 or more")])
def test_a_shape_that_cannot_be_is_named(wrong, said):
    with pytest.raises(ValueError, match=said):
        Config(**{"vocab_size": 17, "d_model": 24, "n_heads": 4} | wrong)


def test_a_variant_of_gpt2_is_refused():
    from transformers import GPT2Config, GPT2LMHeadModel
    with pytest.raises(ValueError, match="variant"):
        from_gpt2(GPT2LMHeadModel(GPT2Config(vocab_size=7, n_positions=4, n_embd=4, n_layer=1,
                                             n_head=1, activation_function="relu")))


def test_the_cache_joins_plain_maps_only():
    """A part that something stands in for, as LoRA does, is called and not read."""
    class Doubled(torch.nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)
    model = random_model()
    attention = model.decoder.blocks[1].attention
    doubled = Doubled(24, 24)
    doubled.load_state_dict(attention.q.state_dict())
    attention.q = doubled
    ids = torch.randint(17, (2, 9), generator=torch.Generator().manual_seed(12))
    cache = Cache(model.config, 2, 9)
    pieces = [model(part, cache=cache) for part in ids.split([4, 1, 4], 1)]
    torch.testing.assert_close(torch.cat(pieces, 1), model(ids), atol=1e-5, rtol=1e-5)
    assert cache.joined[1] is None and cache.joined[0] is not None


def test_the_block_dissection_holds_at_every_setting():
    assert BlockDissection().selftest() == 12


@pytest.mark.parametrize("skip, norm, verdict", [
    (False, NONE, "dies"), (True, NONE, "explodes"), (True, BEFORE, "arrives"),
    (True, AFTER, "arrives")])
def test_the_block_dissection_tells_which_part_keeps_the_gradient(skip, norm, verdict):
    figure, sentence = BlockDissection(skip=skip, norm=norm).show()
    assert verdict in sentence and verdict in figure.layout["title"]["text"]
    assert figure.layout["height"] <= 300 and len(figure.data[0]["x"]) == 24


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("norm", NORMS)
def test_the_gradient_at_a_block_is_the_slope_of_the_loss(skip, norm):
    """The last block's gradient and, per block, what hooks on the modules see."""
    state, seen = torch.get_rng_state(), []
    forward = Transformer.embed

    def embed(self, *how):
        for block in self.decoder.blocks:
            block.register_full_backward_pre_hook(lambda module, out: seen.append(out[0].norm()))
        return forward(self, *how)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transformer, "embed", embed)
        reach = gradient_by_depth(3, skip, norm, 0.9)
    assert torch.equal(torch.get_rng_state(), state), "the global random state was moved"
    assert reach.dtype == torch.float64 and reach.shape == (3,)
    torch.testing.assert_close(reach[1:].flip(0), torch.stack(seen[1:]))   # out of 1 is in of 2
