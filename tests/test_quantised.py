"""Quantised maps: error bounds, packing, gradients through x alone, memory, LoRA on top."""
import gc

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from utils.bench.lora import course_model
from utils.lora import add_lora, lora_layers, remove_lora
from utils.quantised import (QuantisedLinear, dequantize, in_blocks, nf4_levels, quantise_model,
                             quantize, size_bytes)

KINDS = [(4, "even"), (4, "nf4"), (8, "even")]
TINY = {"vocab_size": 37, "d_model": 24, "n_layers": 2, "n_heads": 6, "n_kv_heads": 2, "d_ff": 40}


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def linear(d_in, d_out, bias=True, seed=0):
    made = nn.Linear(d_in, d_out, bias)
    with torch.no_grad():
        made.weight.copy_(numbers(d_out, d_in, seed=seed))
        if bias:
            made.bias.copy_(numbers(d_out, seed=seed + 1))
    return made


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("d_in", [1, 30, 32, 70])
def test_no_number_moves_by_more_than_half_a_step(bits, d_in):
    weight = numbers(5, d_in)
    q, s = quantize(weight, bits, 16)
    most = 2 ** (bits - 1) - 1
    assert q.dtype == torch.int8 and q.shape == (5, -(-d_in // 16), 16) and s.shape == q.shape[:2]
    assert int(q.abs().max()) == most, "the largest number of each block is used"
    error = in_blocks(weight - dequantize(q, s, d_in), 16).abs()
    assert bool((error <= s[..., None] / 2 * (1 + 1e-5)).all())


def test_quantising_twice_changes_nothing_and_fewer_bits_err_more():
    weight, errors = numbers(6, 64), []
    for bits in range(2, 9):
        once = dequantize(*quantize(weight, bits, 32))
        torch.testing.assert_close(dequantize(*quantize(once, bits, 32)), once)
        errors.append(float((once - weight).norm()))
    assert errors == sorted(errors, reverse=True)


def test_a_block_of_zeros_stays_zero():
    weight = numbers(3, 64)
    weight[1, :32] = 0
    for bits, levels in KINDS:
        base = nn.Linear(64, 3)
        base.weight.data.copy_(weight)
        made = QuantisedLinear(base, bits, 32, levels).weight
        assert not made[1, :32].any() and made.isfinite().all() and made[1, 32:].any()


def test_the_levels_of_nf4_are_those_of_the_paper():
    paper = [-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0, 0.0796, 0.1609,
             0.2461, 0.3379, 0.4407, 0.5626, 0.7230, 1.0]       # Dettmers 2023, appendix E, rounded
    assert nf4_levels().tolist() == pytest.approx(paper, abs=1e-4)


def test_nf4_takes_the_nearest_level_and_errs_less_on_normal_numbers():
    base = linear(256, 64)
    made = QuantisedLinear(base, 4, 64, "nf4").weight
    parts = in_blocks(base.weight.detach(), 64)
    top = parts.abs().amax(-1, keepdim=True)
    near = nf4_levels()[(parts[..., None] / top[..., None] - nf4_levels()).abs().argmin(-1)] * top
    torch.testing.assert_close(made, near.flatten(1))
    even = QuantisedLinear(base, 4, 64).weight
    assert (made - base.weight).norm() < (even - base.weight).norm()


@pytest.mark.parametrize("bits, levels", KINDS)
@pytest.mark.parametrize("d_in, block", [(64, 32), (50, 32), (7, 64)])
@pytest.mark.parametrize("bias", [True, False])
def test_output_and_gradient_are_those_of_the_matrix_it_stands_for(bits, levels, d_in, block, bias):
    base = linear(d_in, 9, bias)
    layer = QuantisedLinear(base, bits, block, levels)
    if levels == "even":
        torch.testing.assert_close(layer.weight, dequantize(*quantize(base.weight.detach(), bits,
                                                                      block), d_in))
    x, aim = numbers(3, 4, d_in).requires_grad_(), numbers(3, 4, 9, seed=4)
    y = layer(x)
    (y * aim).sum().backward()
    own = x.grad.clone()
    x.grad = None
    want = F.linear(x, layer.weight, base.bias)
    (want * aim).sum().backward()
    assert torch.equal(y, want)
    torch.testing.assert_close(own, x.grad)
    assert not any(p.requires_grad for p in layer.parameters())


def test_four_bits_are_half_a_byte_and_a_scale_a_block():
    base = linear(128, 10, bias=False)
    assert size_bytes(base) == 128 * 10 * 4
    assert size_bytes(QuantisedLinear(base, 4, 64)) == 128 * 10 // 2 + 2 * 10 * 4
    assert size_bytes(QuantisedLinear(base, 8, 64)) == 128 * 10 + 2 * 10 * 4
    assert size_bytes(QuantisedLinear(base, 4, 64, "nf4")) == 128 * 10 // 2 + 2 * 10 * 4


def test_no_float_matrix_outlives_the_product():
    layer = QuantisedLinear(linear(64, 48), 4)
    x = numbers(3, 64).requires_grad_()
    y = layer(x)
    gc.collect()
    held = [t for t in gc.get_objects() if torch.is_tensor(t) and t.is_floating_point()
            and t.shape == (48, 64)]
    assert not held, "neither layer nor graph keeps the matrix"
    y.sum().backward()
    assert x.grad.shape == x.shape


def test_half_precision_inputs_and_weights_work():
    layer = QuantisedLinear(linear(64, 5), 4)
    x = numbers(3, 64).bfloat16().requires_grad_()
    y = layer(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == torch.bfloat16
    assert layer.bfloat16()(x).dtype == torch.bfloat16


def test_a_model_is_quantised_but_for_its_head_and_what_it_shares():
    model = course_model(TINY)
    ids = torch.arange(9)[None]
    before, whole = model(ids), size_bytes(model)
    assert quantise_model(model, 8, 8) == 2 * 7
    assert type(model.head) is nn.Linear and model.head.weight is model.embedding.weight
    assert 0 < (model(ids) - before).abs().max() < 0.1 * before.abs().max()
    assert size_bytes(model) < whole
    other = course_model(TINY)
    assert quantise_model(other, 4, 8, skip=("q", "feed_forward.down")) == 2 * 5
    assert type(other.decoder.blocks[1].attention.q) is nn.Linear and \
        type(other.head) is nn.Linear, "a tied head stays in any case"
    assert quantise_model(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), 4) == 2


def test_lora_sits_on_a_quantised_base_and_learns_alone():
    ids = torch.arange(9)[None]
    above, below = course_model(TINY), course_model(TINY)
    quantise_model(above, 4, 8)
    add_lora(above, ("q", "down"), 2)                   # LoRA after rounding, and before
    add_lora(below, ("q", "down"), 2)
    quantise_model(below, 4, 8)
    assert torch.equal(above(ids), below(ids))
    above(ids).square().sum().backward()
    assert {n.rpartition(".")[2] for n, p in above.named_parameters() if p.grad is not None} == \
        {"A", "B"}
    with torch.no_grad():
        for part in lora_layers(above).values():
            part.B.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    want = above(ids)
    remove_lora(above, merge=True)
    assert type(above.decoder.blocks[0].attention.q) is nn.Linear
    torch.testing.assert_close(above(ids), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("how", [{"bits": 5}, {"bits": 8, "levels": "nf4"}, {"levels": "odd"},
                                 {"bits": 4, "block": 7}, {"bits": 4, "block": 0}])
def test_settings_that_mean_nothing_are_told(how):
    with pytest.raises(ValueError, match="bits="):
        QuantisedLinear(nn.Linear(4, 4), **how)
    for bits in (1, 9):
        with pytest.raises(ValueError, match="bits from 2 to 8"):
            quantize(numbers(2, 4), bits)
