"""The reader of GGUF files against llama.cpp's own package, and against files that are spoiled."""
import struct

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st

from utils import data
from utils.gguf import DEQUANTIZE, GGUF, GGUFError

KINDS = {"F32": gguf.GGMLQuantizationType.F32, "Q4_1": gguf.GGMLQuantizationType.Q4_1,
         "Q8_0": gguf.GGMLQuantizationType.Q8_0}


@pytest.fixture
def small(tmp_path):
    """A file with one fact of each kind and one tensor of each, written by the gguf package."""
    path = tmp_path / "small.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    facts = {"a.text": "héllo 🙂", "a.int": -3, "a.float": 0.5, "a.flag": True, "a.big": 2 ** 40,
             "a.words": ["one", "", "tuna"], "a.numbers": [1, 2, 3], "a.parts": [0.5, -2.0]}
    writer.add_string("a.text", facts["a.text"])
    writer.add_int32("a.int", -3)
    writer.add_float32("a.float", 0.5)
    writer.add_bool("a.flag", True)
    writer.add_uint64("a.big", 2 ** 40)
    for name in ("a.words", "a.numbers", "a.parts"):
        writer.add_array(name, facts[name])
    arrays = {}
    for k, (name, kind) in enumerate(KINDS.items()):
        raw = quantize(np.random.default_rng(k).normal(size=(3 + k, 64)).astype(np.float32), kind)
        writer.add_tensor(name, raw, raw_dtype=kind)
        arrays[name] = dequantize(raw, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, facts, arrays


def test_facts_and_tensors_are_those_written(small):
    path, facts, arrays = small
    file = GGUF(path)
    assert {name: file.facts[name] for name in facts} == facts
    assert set(file.names) == set(arrays)
    for name, want in arrays.items():
        came = file.tensor(name)
        assert came.dtype == np.float32 and came.flags.writeable
        np.testing.assert_array_equal(came, want)       # the last axis is the quickest in both


@given(raw=st.binary(min_size=20, max_size=20))
def test_any_block_of_4_bits_is_read_as_ggml_reads_it(raw):
    block = np.frombuffer(raw, np.uint8)[None]
    with np.errstate(all="ignore"):                     # its scale may be inf or nan
        np.testing.assert_array_equal(DEQUANTIZE["Q4_1"](block),
                                      dequantize(block, KINDS["Q4_1"]))


@given(raw=st.binary(min_size=34, max_size=34))
def test_any_block_of_8_bits_is_read_as_ggml_reads_it(raw):
    block = np.frombuffer(raw, np.uint8)[None]
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(DEQUANTIZE["Q8_0"](block),
                                      dequantize(block, KINDS["Q8_0"]))


def test_a_block_by_hand():
    codes = list(range(16)) + list(range(15, -1, -1))   # numbers 0 .. 15, then 16 .. 31
    halves = bytes(low | high << 4 for low, high in zip(codes[:16], codes[16:]))
    raw = np.frombuffer(struct.pack("<ee", 0.5, -3.0) + halves, np.uint8)[None]
    assert DEQUANTIZE["Q4_1"](raw).tolist() == [[0.5 * code - 3 for code in codes]]


def test_every_tensor_of_smollm2_is_as_ggml_reads_it(wheels):
    path = data.smollm2_gguf()
    file, theirs = GGUF(path), gguf.GGUFReader(path)
    assert file.names == [t.name for t in theirs.tensors]
    for t in theirs.tensors[:12] + theirs.tensors[-3:]:
        np.testing.assert_array_equal(file.tensor(t.name), dequantize(t.data, t.tensor_type))
    assert len(file.facts["tokenizer.ggml.tokens"]) == 49152


@pytest.mark.parametrize("keep", [0, 3, 4, 20, 30, 300, -100, -2000])
def test_a_file_that_ends_early_is_named(small, keep):
    path, *_ = small
    content = path.read_bytes()
    path.write_bytes(content[:keep])
    with pytest.raises(GGUFError, match=r"small\.gguf (is|ends)"):
        file = GGUF(path)
        for name in file.names:
            file.tensor(name)


@pytest.mark.parametrize("at", [0, 5, 8, 16, 25, 60, 150])
def test_a_spoiled_header_is_a_plain_error(small, at):
    path, *_ = small
    content = bytearray(path.read_bytes())
    content[at:at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    with pytest.raises(GGUFError, match=r"small\.gguf"):
        file = GGUF(path)
        for name in file.names:
            file.tensor(name)


def test_what_is_not_read_here_says_so(small, tmp_path):
    path, *_ = small
    with pytest.raises(KeyError):
        GGUF(path).tensor("absent")
    with pytest.raises(FileNotFoundError):
        GGUF(tmp_path / "absent.gguf")
    other = tmp_path / "half.gguf"
    writer = gguf.GGUFWriter(other, "llama")
    writer.add_tensor("half", np.ones((2, 32), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(GGUFError, match="half is of kind 1, and read here are F32, Q4_1, Q8_0"):
        GGUF(other).tensor("half")
