"""LoRA against peft with the same weights: outputs, gradients, files both ways, and errors."""
import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from utils import adapters
from utils.bench.lora import SHAPE, add_peft, course_model, peer_model, start
from utils.checkpoints import CheckpointError
from utils.lora import LoRALinear, add_lora, fill_lora, lora_layers, lora_state, remove_lora
from utils.pretrained import llama_names
from utils.quantised import QuantisedLinear, quantise_model
from utils.transformer import Config, Transformer

TINY = {"vocab_size": 37, "d_model": 24, "n_layers": 3, "n_heads": 6, "n_kv_heads": 2, "d_ff": 40}
TASK = {"r": 3, "alpha": 7, "names": ["q", "v", "down"]}


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tiny_ids(seed=5):
    return torch.randint(37, (2, 9), generator=torch.Generator().manual_seed(seed))


def learnt(model, seed=0):
    """A model's LoRA as if it had learnt: A and B random."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in lora_layers(model).values():
            part.A.normal_(0, 0.3, generator=rng), part.B.normal_(0, 0.3, generator=rng)
    return model


def with_lora(seed=0, names=("q", "v", "down"), r=3, alpha=7, **how):
    model = course_model(TINY)
    add_lora(model, names, r, alpha, **how)
    return learnt(model, seed)


def twins():
    """(ours, peft's): the same weights and the same LoRA, B too."""
    ours, theirs = with_lora(), add_peft(peer_model(TINY), TASK)
    start(theirs, [part.A for part in lora_layers(ours).values()])
    with torch.no_grad():
        rows = [p for n, p in theirs.named_parameters() if ".lora_B." in n]
        for p, part in zip(rows, lora_layers(ours).values(), strict=True):
            p.copy_(part.B)
    return ours, theirs


# ---- one layer ---------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_computes_what_its_formula_says(bias):
    base = nn.Linear(5, 7, bias)
    layer = LoRALinear(base, 2, 6)
    x = numbers(3, 4, 5)
    assert torch.equal(layer(x), base(x)), "B is zero: nothing has changed yet"
    layer.B.data.copy_(numbers(7, 2))
    want = base(x) + 3.0 * x @ layer.A.T @ layer.B.T
    torch.testing.assert_close(layer(x), want)
    torch.testing.assert_close(layer(x[0, 0]), want[0, 0])
    assert layer.scaling == 3 and LoRALinear(base, 4).scaling == 1


def test_A_starts_as_in_peft_and_leaves_the_global_random_state_alone():
    base, model, rng = nn.Linear(400, 3), course_model(TINY), torch.Generator().manual_seed(1)
    state = torch.get_rng_state()
    A = LoRALinear(base, 50, rng=rng).A.detach()
    add_lora(model, "q")
    assert torch.equal(torch.get_rng_state(), state)
    first, second = (part.A for part in list(lora_layers(model).values())[:2])
    assert not torch.equal(first, second), "one generator goes on from map to map"
    bound = 1 / math.sqrt(400)
    assert A.abs().max() <= bound and A.std() == pytest.approx(bound / math.sqrt(3), rel=0.03)


def test_the_base_is_frozen_and_B_learns_first():
    layer = LoRALinear(nn.Linear(5, 7), 2)
    layer(numbers(3, 5)).square().sum().backward()
    assert layer.base.weight.grad is None and layer.base.bias.grad is None
    assert layer.B.grad.abs().min() > 0 and not layer.A.grad.any(), "A waits until B is not zero"


@pytest.mark.parametrize("base", [lambda: nn.Linear(6, 5), lambda: nn.Linear(6, 5, bias=False),
                                  lambda: QuantisedLinear(nn.Linear(6, 5), 4, 6)])
def test_merging_changes_no_output_and_unmerging_no_bit(base):
    layer = LoRALinear(base(), 2, 5)
    layer.B.data.copy_(numbers(5, 2))
    x, before = numbers(4, 6), layer.base.weight.clone()
    want = layer(x)
    merged = layer.merge()(x)
    torch.testing.assert_close(merged, want)
    assert torch.equal(layer.merge()(x), merged), "a second merge changes nothing"
    assert torch.equal(layer.base.weight, before), "the base is as it was"
    change = layer.merged - before
    assert torch.linalg.matrix_rank(change, rtol=1e-4) == 2
    assert torch.equal(layer.unmerge().unmerge()(x), want)


def test_a_half_precision_base_gets_lora_in_float32():
    layer = LoRALinear(nn.Linear(6, 5).bfloat16(), 2)
    layer.B.data.copy_(numbers(5, 2))
    y = layer(numbers(4, 6).bfloat16())
    y.sum().backward()
    assert y.dtype == torch.bfloat16 and layer.A.dtype == layer.A.grad.dtype == torch.float32
    torch.testing.assert_close(layer.merge()(numbers(4, 6).bfloat16()), y, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("r", [0, -1, 1.5])
def test_a_rank_is_a_whole_number_of_one_or_more(r):
    with pytest.raises(ValueError, match=f"rank r={r}"):
        LoRALinear(nn.Linear(3, 3), r)


# ---- a whole model -----------------------------------------------------------------------


def test_outputs_and_gradients_equal_pefts():
    ours, theirs = twins()
    ids = tiny_ids()
    mine, their = ours(ids), theirs(input_ids=ids).logits
    torch.testing.assert_close(mine, their, atol=1e-5, rtol=1e-5)
    aim = numbers(*mine.shape, seed=3)
    (mine * aim).sum().backward(), (their * aim).sum().backward()
    own = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    found = {f"base_model.model.{peft}.lora_{letter}.default.weight": getattr(part, letter).grad
             for name, part in lora_layers(ours).items()
             for peft in [adapters.peft_names(ours)[name]] for letter in "AB"}
    assert own.keys() == found.keys() and len(own) == 18
    for name in own:
        torch.testing.assert_close(found[name], own[name], atol=1e-4, rtol=1e-4)
    trained = sum(p.numel() for p in ours.parameters() if p.requires_grad)
    assert trained == theirs.get_nb_trainable_parameters()[0]


def test_merged_equals_pefts_merge_and_unload():
    ours, theirs = twins()
    want = theirs.merge_and_unload()(input_ids=tiny_ids()).logits
    remove_lora(ours, merge=True)
    torch.testing.assert_close(ours(tiny_ids()), want, atol=1e-5, rtol=1e-5)
    assert not lora_layers(ours) and type(ours.decoder.blocks[0].attention.q) is nn.Linear


def test_only_the_named_maps_get_lora_and_nothing_else_is_trained():
    model = course_model(TINY)
    before = model(tiny_ids())
    assert add_lora(model, ("q", "v"), 4, layers=range(1, 3)) == 4
    assert list(lora_layers(model)) == [f"decoder.blocks.{i}.attention.{n}"
                                        for i in (1, 2) for n in "qv"]
    assert {n.rpartition(".")[2] for n, p in model.named_parameters() if p.requires_grad} == \
        {"A", "B"}
    assert torch.equal(model(tiny_ids()), before)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == \
        2 * 4 * (24 + 24 + 24 + 8)
    assert torch.equal(remove_lora(model)(tiny_ids()), before)


def test_any_module_can_have_lora():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Sequential(nn.Linear(6, 6)),
                          nn.Linear(6, 2))
    assert add_lora(model, ("0", "3"), 2) == 3 and isinstance(model[2][0], LoRALinear)
    remove_lora(model)
    assert add_lora(model, "2.0") == 1, "a longer end of the name"
    attention = nn.MultiheadAttention(8, 2)             # its out_proj is read, never called
    with pytest.raises(ValueError, match="called 'out_proj': it has none"):
        add_lora(attention, "out_proj")


def test_lora_on_a_head_leaves_the_tied_embedding_alone():
    model = course_model(TINY)
    table = model.embedding.weight.clone()
    add_lora(model, "head", 2)
    learnt(model)
    want = model(tiny_ids())
    remove_lora(model, merge=True)
    torch.testing.assert_close(model(tiny_ids()), want)
    assert torch.equal(model.embedding.weight, table)


def test_names_that_fit_nothing_are_told_and_nothing_changes():
    model = course_model(TINY)
    with pytest.raises(ValueError, match="called 'query': it has down, gate, head, k, out, q, up"):
        add_lora(model, ("q", "query"))
    with pytest.raises(ValueError, match="none of the maps q lies in the layers"):
        add_lora(model, "q", layers=[7])
    with pytest.raises(ValueError, match="rank r=0"):
        add_lora(model, "q", 0)
    assert not lora_layers(model) and all(p.requires_grad for p in model.parameters())
    add_lora(model, "q")
    with pytest.raises(ValueError, match="has LoRA already"):
        add_lora(model, "v")


def test_two_adapters_take_turns_on_one_base():
    model = with_lora(seed=1)
    first, state = model(tiny_ids()), lora_state(model)
    learnt(model, seed=2)
    second, other = model(tiny_ids()), lora_state(model)
    assert not torch.allclose(first, second)
    fill_lora(model, state)
    assert torch.equal(model(tiny_ids()), first)
    for part in lora_layers(model).values():
        part.merge()
    fill_lora(model, other)
    torch.testing.assert_close(model(tiny_ids()), second, atol=1e-5, rtol=1e-5)


def test_a_state_of_other_maps_or_ranks_changes_nothing():
    model = with_lora()
    before = lora_state(model)
    with pytest.raises(ValueError, match="on other maps: decoder.blocks.0.attention.v.A"):
        fill_lora(model, lora_state(with_lora(names=("q", "down"))))
    with pytest.raises(ValueError, match=r"is \(3, 24\) in the model and \(2, 24\) in the state"):
        fill_lora(model, lora_state(with_lora(r=2)))
    assert all(torch.equal(before[n], t) for n, t in lora_state(model).items())


# ---- files -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"layers": [2]}, {"names": ("q", "k", "v", "out", "gate", "up",
                                                                 "down")}, {"names": ("head",)}])
def test_peft_reads_what_we_write(tmp_path, how):
    from peft import PeftModel
    ours = with_lora(**how)
    size = adapters.save(ours, tmp_path)
    theirs = PeftModel.from_pretrained(peer_model(TINY), tmp_path).eval()
    torch.testing.assert_close(ours(tiny_ids()), theirs(input_ids=tiny_ids()).logits, atol=1e-5,
                               rtol=1e-5)
    held = [p for n, p in theirs.named_parameters() if "lora_" in n]
    assert len(held) == 2 * len(lora_layers(ours)), "no map more, and none less"
    assert size == sum(f.stat().st_size for f in tmp_path.iterdir())


def test_we_read_what_peft_writes(tmp_path):
    ours, theirs = twins()
    theirs.save_pretrained(tmp_path)
    fresh = course_model(TINY)
    assert adapters.load(fresh, tmp_path) == 9
    assert torch.equal(fresh(tiny_ids()), ours(tiny_ids()))
    assert {part.scaling for part in lora_layers(fresh).values()} == {7 / 3}


@pytest.mark.parametrize("more, scaling", [
    ({"use_rslora": True}, 8 / 2), ({"target_modules": "all-linear"}, 8 / 4),
    ({"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"v_proj": 3}}, 8 / 4),
    ({"layers_to_transform": [1]}, 8 / 4), ({"target_modules": r".*layers\.[02]\..*k_proj"}, 2)])
def test_pefts_other_ways_to_name_maps_and_scales_are_read(tmp_path, more, scaling):
    import peft
    theirs = peft.get_peft_model(peer_model(TINY), peft.LoraConfig(**{
        "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"],
        "init_lora_weights": False} | more)).eval()
    theirs.save_pretrained(tmp_path)
    ours = course_model(TINY)
    adapters.load(ours, tmp_path)
    torch.testing.assert_close(ours(tiny_ids()), theirs(input_ids=tiny_ids()).logits, atol=1e-4,
                               rtol=1e-4)
    assert next(iter(lora_layers(ours).values())).scaling == scaling


def test_a_model_of_transformers_is_read_and_written_under_its_own_names(tmp_path):
    theirs, ours = peer_model(TINY), with_lora()
    adapters.save(ours, tmp_path / "a")
    adapters.load(theirs, tmp_path / "a")               # our LoRALinear in their model
    want = ours(tiny_ids())
    torch.testing.assert_close(theirs(input_ids=tiny_ids()).logits, want, atol=1e-5, rtol=1e-5)
    adapters.save(theirs, tmp_path / "b")
    a, b = (load_file(tmp_path / n / adapters.WEIGHTS) for n in "ab")
    assert a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)
    assert "base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight" in a


def test_what_is_loaded_replaces_what_was_there_and_is_all_that_learns(tmp_path):
    model = with_lora(seed=1)
    want = model(tiny_ids())
    adapters.save(model, tmp_path)
    other = with_lora(seed=2, names="gate", r=1)
    adapters.load(other, tmp_path)
    assert torch.equal(other(tiny_ids()), want) and len(lora_layers(other)) == 9
    assert {n.rpartition(".")[2] for n, p in other.named_parameters() if p.requires_grad} == \
        {"A", "B"}
    whole = sum(p.numel() * 4 for p in course_model(TINY).parameters())
    assert sum(p.numel() * 4 for p in other.parameters() if p.requires_grad) < whole


def test_an_adapter_fits_the_quantised_base_too(tmp_path):
    adapters.save(with_lora(), tmp_path)
    model = course_model(TINY)
    quantise_model(model, 4, 8)
    assert adapters.load(model, tmp_path) == 9


def test_models_of_other_kinds_keep_their_own_names(tmp_path):
    shape = {"vocab_size": 19, "d_model": 12, "n_layers": 2, "n_heads": 2}
    for kind in ("encoder", "encoder-decoder"):
        model = Transformer(Config(**shape, kind=kind)).eval()
        add_lora(model, ("q", "up"), 2)
        want = lora_state(learnt(model))
        adapters.save(model, tmp_path / kind)
        remove_lora(model)
        adapters.load(model, tmp_path / kind)
        assert all(torch.equal(want[n], t) for n, t in lora_state(model).items())


def refused(model, folder, said):
    """The adapter is refused in these words, and the model stays as it is."""
    before = list(model.named_modules())
    with pytest.raises(CheckpointError, match=said):
        adapters.load(model, folder)
    assert list(model.named_modules()) == before


def test_missing_damaged_and_foreign_files_are_told(tmp_path):
    model = course_model(TINY)
    refused(model, tmp_path / "none", "adapter_config.json is not there: an adapter is a folder")
    adapters.save(with_lora(), tmp_path)
    config, weights = tmp_path / adapters.CONFIG, tmp_path / adapters.WEIGHTS
    content, text = weights.read_bytes(), config.read_text()
    weights.write_bytes(content[:-9])
    refused(model, tmp_path, "is damaged")
    weights.unlink()
    refused(model, tmp_path, "adapter_model.safetensors is not there")
    weights.write_bytes(content)
    for wrong, said in (("{", "describes no adapter"), ("[]", "describes no adapter"),
                        ('{"peft_type": "LORA"}', "describes no adapter"),
                        (text.replace('"LORA"', '"IA3"'), "of the kind IA3"),
                        (text.replace('"r": 3', '"r": 5'), "are of different adapters")):
        config.write_text(wrong)
        refused(model, tmp_path, said)
    config.write_text(text)
    assert adapters.load(model, tmp_path) == 9


@pytest.mark.parametrize("setting", [{"use_dora": True}, {"bias": "all"},
                                     {"modules_to_save": ["lm_head"]}])
def test_what_only_peft_can_do_is_told(tmp_path, setting):
    adapters.save(with_lora(), tmp_path)
    path = tmp_path / adapters.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | setting))
    refused(course_model(TINY), tmp_path, f"says {next(iter(setting))}=.* use peft for it")


def test_wrong_ranks_shapes_and_tensors_are_told(tmp_path):
    adapters.save(with_lora(), tmp_path)
    weights, config = tmp_path / adapters.WEIGHTS, tmp_path / adapters.CONFIG
    tensors = load_file(weights)
    refused(course_model(TINY | {"d_ff": 48}), tmp_path, "does not fit model.layers.0.mlp.down")
    refused(course_model(TINY | {"n_layers": 2}), tmp_path, "no linear map model.layers.2")
    refused(nn.Linear(3, 3), tmp_path, "for another model")
    save_file(tensors, weights)                         # as peft does: without our notes
    config.write_text(config.read_text().replace('"r": 3', '"r": 4'))
    refused(course_model(TINY), tmp_path, r"B \(24, 3\) came, and rank 4 on this model needs")
    config.write_text(config.read_text().replace('"r": 4', '"r": 3'))
    name = next(iter(tensors))
    save_file({n: t for n, t in tensors.items() if n != name}, weights)
    refused(course_model(TINY), tmp_path, "lacks half of")
    save_file(tensors | {"extra": torch.zeros(1)}, weights)
    refused(course_model(TINY), tmp_path, "holds extra, which is no tensor of LoRA")


def test_another_base_is_noticed_and_a_rounded_one_is_not(tmp_path):
    adapters.save(with_lora(), tmp_path)
    other = course_model(TINY)
    with torch.no_grad():
        for p in other.parameters():
            p.copy_(p.flatten().flip(0).view(p.shape))
    refused(other, tmp_path, "was trained on another base")
    assert adapters.load(course_model(TINY).bfloat16(), tmp_path) == 9


def test_a_write_that_fails_leaves_the_old_adapter(tmp_path, monkeypatch):
    model = with_lora(seed=1)
    adapters.save(model, tmp_path)
    want = model(tiny_ids())

    def broken(path, content):
        raise OSError("no space left")
    monkeypatch.setattr(adapters, "write", broken)
    with pytest.raises(OSError):
        adapters.save(learnt(model, seed=2), tmp_path)
    fresh = course_model(TINY)
    adapters.load(fresh, tmp_path)
    assert torch.equal(fresh(tiny_ids()), want)


def test_without_lora_there_is_nothing_to_save(tmp_path):
    with pytest.raises(ValueError, match="no LoRA to save"):
        adapters.save(course_model(TINY), tmp_path)


def test_the_names_are_those_of_every_parameter_in_transformers():
    ours, theirs = course_model(TINY), peer_model(TINY)
    names = llama_names(ours.config)
    assert {names[n] for n, _ in ours.named_parameters()} == \
        {n for n, _ in theirs.named_parameters()}
    assert set(adapters.peft_names(ours).values()) == {
        n for n, m in theirs.named_modules() if type(m) is nn.Linear}
    assert SHAPE["d_model"] % SHAPE["n_heads"] == 0
