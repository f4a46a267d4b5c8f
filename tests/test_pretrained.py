"""SmolLM2 and MiniLM in the course's own Transformer against transformers with the same files."""
import shutil
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from utils import data, machine, store
from utils.embedder import load_minilm
from utils.gguf import GGUF
from utils.hub import HubError, load_hub, shape_of
from utils.pretrained import SYSTEM, chatml, load_smollm2, smollm2_transformers

TEXTS = ["The capital of France is", "In 1984, 17 people said:", "def square(x):\n    return x",
         "Ein Häuschen, 東京 and 🙂"]
CHATS = [[{"role": "user", "content": "Who are you?"}],
         [{"role": "system", "content": "Answer in one word."},
          {"role": "user", "content": "2 + 2?"}],
         [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."},
          {"role": "user", "content": "Bye\n"}]]


@pytest.fixture(scope="module")
def smollm2(wheels):
    return load_smollm2("cpu")


@pytest.fixture(scope="module")
def reference(wheels):
    """The same file read by transformers alone, which takes 20 to 30 s."""
    from transformers import LlamaForCausalLM
    path = data.smollm2_gguf()
    return LlamaForCausalLM.from_pretrained(path.parent, gguf_file=path.name,
                                            dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def minilm(wheels):
    return load_minilm("cpu")


def test_it_is_ready_in_six_seconds_and_draws_nothing_at_random(smollm2):
    before = torch.get_rng_state()
    started = time.process_time()                       # of this process, whatever else runs
    again = load_smollm2("cpu")
    assert time.process_time() - started < 6
    assert torch.equal(before, torch.get_rng_state())
    assert again.model.n_parameters() == 134_515_008 and not again.model.training
    assert again.model.head.weight is again.model.embedding.weight
    assert all(p.requires_grad and p.is_leaf for p in again.model.parameters())


@torch.inference_mode()
def test_logits_hidden_states_and_attention_equal_transformers(smollm2, reference):
    for text in TEXTS:
        ids = torch.tensor([smollm2.encode(text)])
        want = reference(ids, output_hidden_states=True)
        trace = {}
        ours = smollm2.model(ids, trace=trace)
        torch.testing.assert_close(ours, want.logits, atol=1e-3, rtol=0)
        torch.testing.assert_close(smollm2.model(ids), ours, atol=1e-3, rtol=0)
        assert len(trace["hidden"]) == len(trace["weights"]) == 30
        for mine, theirs in zip(trace["hidden"], want.hidden_states):
            torch.testing.assert_close(mine, theirs, atol=1e-2, rtol=1e-4)
    reference.set_attn_implementation("eager")          # the only one that shows its weights
    theirs = reference(ids, output_attentions=True).attentions
    reference.set_attn_implementation("sdpa")
    for mine, weights in zip(trace["weights"], theirs):
        torch.testing.assert_close(mine, weights, atol=1e-4, rtol=0)


def test_greedy_text_equals_transformers(smollm2, reference):
    for text in [*TEXTS[:2], chatml(CHATS[0])]:
        ids = torch.tensor([smollm2.encode(text)])
        rows = reference.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=16,
                                  do_sample=False, pad_token_id=2, eos_token_id=[2, 0])
        new = rows[0, ids.shape[1]:].tolist()
        if new[-1] in smollm2.stop:
            new.pop()
        assert smollm2.write(text, 16) == smollm2.decode(new)


def test_transformers_with_our_reading_is_the_same_model(smollm2, reference):
    model, tokenizer = smollm2_transformers("cpu")
    ids = torch.tensor([smollm2.encode(TEXTS[0])])
    with torch.inference_mode():
        torch.testing.assert_close(model(ids).logits, reference(ids).logits, atol=1e-3, rtol=0)
    assert all(p.requires_grad for p in model.parameters()) and not model.training
    for text in [*TEXTS, chatml(CHATS[1])]:
        assert tokenizer(text)["input_ids"] == smollm2.encode(text)
    both = tokenizer(["a", "one cat ate tuna"], padding=True, return_tensors="pt")
    assert both["attention_mask"][0].tolist() == [0] * (both["input_ids"].shape[1] - 1) + [1]
    with torch.no_grad():                               # what one trains, the other does not see
        model.get_input_embeddings().weight.zero_()
    assert smollm2.model.embedding.weight.abs().sum() > 0


@pytest.mark.parametrize("chat", CHATS)
def test_chat_equals_the_template_in_the_file(smollm2, chat):
    from transformers import PreTrainedTokenizerFast
    template = GGUF(data.smollm2_gguf()).facts["tokenizer.chat_template"]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=smollm2.tokenizer, chat_template=template)
    want = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert smollm2.chat(chat) == chatml(chat) == want
    assert smollm2.encode(want)[0] == 1 and smollm2.decode(smollm2.encode(want)) == want


def test_a_question_becomes_a_chat(smollm2):
    asked = smollm2.chat("Why?")
    assert asked.startswith(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\nWhy?<|im")
    assert smollm2.chat("Why?", system="Be brief.") == smollm2.chat(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}])


def test_tokens_are_those_of_the_published_tokenizer(smollm2):
    """The rule of the file's field tokenizer.ggml.pre, smollm: digits alone, then GPT-2's cuts."""
    assert smollm2.pieces(smollm2.encode("In 1984 she'd say tuna")) == [
        "In", " ", "1", "9", "8", "4", " she", "'d", " say", " tuna"]
    assert smollm2.encode("<|im_start|>user") == [1, 4093]
    assert smollm2.pieces(torch.tensor([2, 0])) == ["<|im_end|>", "<|endoftext|>"]


ABSENT = [*map(chr, (4, 6, 0x13, 0x14, 0x16, 0x1d)), *map(chr, range(0x40000, 0xC0000, 0x7FF))]


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(codec="utf8").filter(
    lambda c: c not in ABSENT and not "\U00040000" <= c < "\U000C0000")))
def test_any_text_comes_back(smollm2, text):
    ids = smollm2.encode(text)
    assert smollm2.decode(ids) == text
    assert len(smollm2.pieces(ids)) == len(ids)


def test_every_character_comes_back_but_those_without_a_token(smollm2):
    common = "".join(map(chr, [*range(4), 5, *range(7, 0x13), *range(0x20, 0xD800),
                               *range(0xE000, 0x40000)]))
    assert smollm2.decode(smollm2.encode(common)) == common
    for c in ABSENT:
        assert c not in smollm2.decode(smollm2.encode(f"a{c}b"))


def test_a_text_among_others_is_written_as_alone(smollm2):
    prompts = [smollm2.chat("What is the capital of France?"), "Once", "One two three four five"]
    together = smollm2.write(prompts, 9)
    assert together == [smollm2.write(p, 9) for p in prompts]
    assert together[0] == "The capital of France is Paris."
    drawn = smollm2.write(prompts, 5, temperature=1.0, seed=3, top_p=0.9)
    assert drawn == smollm2.write(prompts, 5, temperature=1.0, seed=3, top_p=0.9, batch=2)
    assert drawn != smollm2.write(prompts, 5, temperature=1.0, seed=4, top_p=0.9)
    assert "<|im_end|>" not in "".join(together + drawn)


@pytest.mark.parametrize("how", ["missing", "truncated", "altered"])
@pytest.mark.parametrize("name, load", [("smollm2", load_smollm2), ("minilm", load_minilm)])
def test_a_spoiled_file_is_named_with_the_command(wheels, tmp_path, monkeypatch, name, load, how):
    path = store.files(data.SOURCES[name])[0][0]
    shutil.copytree(path.parent, tmp_path / name)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    spoiled = tmp_path / name / path.name
    if how == "missing":
        spoiled.unlink()
    else:
        with open(spoiled, "r+b") as file:
            file.truncate(path.stat().st_size - 9) if how == "truncated" else None
            file.seek(5_000_000)
            file.write(b"spoiled")
    with pytest.raises(data.DataError) as caught:
        load("cpu")
    for word in (str(spoiled), how, store.COMMAND):
        assert word in str(caught.value)


# MiniLM

def bert(tokens):
    """transformers' BertModel with MiniLM's file, and the file's tokenizer."""
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel
    model = BertModel(BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
                                 intermediate_size=1536), add_pooling_layer=False).eval()
    tensors = load_file(data.minilm_files()["model.safetensors"])
    lacking = model.load_state_dict(tensors, strict=False)
    assert not lacking.missing_keys
    return model


SENTENCES = ["How many people live in France?", "The population of France is 68 million.",
             "A cat.", "", "word " * 400]


@torch.inference_mode()
def test_minilm_equals_bert(minilm):
    theirs, rows = bert(minilm), [e.ids for e in minilm.tokenizer.encode_batch(SENTENCES)]
    assert [len(row) for row in rows][-2:] == [2, 256]
    want = []
    for row in rows:
        ids = torch.tensor([row])
        hidden = theirs(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        trace = {}
        torch.testing.assert_close(minilm.model.hidden(ids, trace=trace), hidden, atol=1e-5,
                                   rtol=0)
        assert trace["weights"][5].shape == (1, 12, len(row), len(row))
        want.append(torch.nn.functional.normalize(hidden[0].mean(0), dim=0))
    for batch in (1, 2, 64):
        torch.testing.assert_close(minilm.embed(SENTENCES, batch), torch.stack(want), atol=1e-5,
                                   rtol=0)


def test_minilm_brings_question_and_answer_together(minilm):
    E = minilm.embed(SENTENCES[:3])
    torch.testing.assert_close(E.norm(dim=1), torch.ones(3))
    assert E[0] @ E[1] > 0.6 > 0.2 > E[0] @ E[2]
    assert minilm.embed([]).shape == (0, 384) and minilm.embed("A cat.").shape == (1, 384)


# The hub, from a folder as if it had been fetched

@pytest.fixture(scope="module")
def folder(tmp_path_factory, smollm2):
    """A small LLaMA with SmolLM2's tokenizer, as the hub keeps models."""
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    place = tmp_path_factory.mktemp("hub")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(
            vocab_size=49152, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
            num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=64,
            initializer_range=0.3, tie_word_embeddings=False, eos_token_id=2))
    model.save_pretrained(place)
    PreTrainedTokenizerFast(
        tokenizer_object=smollm2.tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>",
        chat_template=GGUF(data.smollm2_gguf()).facts["tokenizer.chat_template"],
    ).save_pretrained(place)
    return place, model.eval()


def test_a_model_of_the_hub_equals_transformers(folder, smollm2):
    place, theirs = folder
    ours = load_hub(str(place), "cpu")
    ids = ours.encode("one cat ate 12 tuna")
    assert ids == smollm2.encode("one cat ate 12 tuna")
    assert ours.chat("Hi") == smollm2.chat("Hi") and ours.stop == (2,)
    ids = torch.tensor([ids])
    torch.testing.assert_close(ours.model(ids), theirs(ids).logits, atol=1e-5, rtol=0)
    assert isinstance(ours.write("one cat", 5), str)


def test_a_model_of_another_shape_is_refused():
    from transformers import GPT2Config, LlamaConfig
    for config, why in (
            (GPT2Config(), "of type 'gpt2'"), (LlamaConfig(attention_bias=True), "biases"),
            (LlamaConfig(head_dim=8), "heads"),
            (LlamaConfig(rope_parameters={"rope_type": "linear", "factor": 2.0,
                                          "rope_theta": 1e4}), "stretched")):
        with pytest.raises(HubError, match=why):
            shape_of(config)


def test_without_a_network_or_with_pickled_weights_it_says_what_to_do(folder, tmp_path,
                                                                       monkeypatch):
    import huggingface_hub.constants
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="nobody/nothing could not be loaded.*load_smollm2"):
        load_hub("nobody/nothing")
    pickled = tmp_path / "pickled"
    shutil.copytree(folder[0], pickled)
    (pickled / "model.safetensors").unlink()
    torch.save(folder[1].state_dict(), pickled / "pytorch_model.bin")
    with pytest.raises(HubError, match="safetensors"):
        load_hub(str(pickled), "cpu")


def test_cores_are_taken_up_to_a_limit_and_never_given_back(monkeypatch):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        monkeypatch.setattr(machine.os, "cpu_count", lambda: 3)
        assert (machine.use_cores(2), machine.use_cores(), machine.use_cores(2)) == (2, 3, 3)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
