"""GGUF, the file in which llama.cpp keeps a model: facts, then tensors, most of them in 4 bits."""
import math
import mmap
import struct

import numpy as np

# The kinds of single facts, by number: Python's struct letter of each. 8 is a text, 9 a list.
LETTERS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd"))
# The kinds of tensors read here, by number: name, numbers in a block, bytes of a block.
KINDS = {0: ("F32", 1, 4), 3: ("Q4_1", 32, 20), 8: ("Q8_0", 32, 34)}


class GGUFError(ValueError):
    """The file is no GGUF file, ends too early, or holds a kind of tensor that is not read here."""


class GGUF:
    """An open file: `facts` is a dict of what it says about itself, tensor(name) an array.

    names: its tensors. Source: docs/gguf.md of github.com/ggml-org/ggml, versions 2 and 3.
    Raises GGUFError, or OSError for a file that cannot be opened.
    """

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            try:
                self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise GGUFError(f"{path} is empty") from None
        self.at = 4                                     # where the next number is read
        if self.bytes[:4] != b"GGUF":
            raise GGUFError(f"{path} is no GGUF file: its first bytes are {self.bytes[:4]!r}")
        try:
            version, tensors, facts = self.numbers("IQQ")
            if version not in (2, 3):
                raise GGUFError(f"{path} is of version {version}: 2 or 3 is needed")
            self.facts = dict(self.fact() for _ in range(facts))
            self.found = dict(self.entry() for _ in range(tensors))
        except (struct.error, KeyError, UnicodeDecodeError) as error:
            raise GGUFError(f"{path} is damaged near byte {self.at:,} ({error!r})") from None
        step = self.facts.get("general.alignment") or 32
        self.start = -(-self.at // step) * step         # where the tensors begin
        self.names = list(self.found)

    def numbers(self, letters):
        """The next numbers, as struct names their kinds: a tuple."""
        form = "<" + letters
        values = struct.unpack_from(form, self.bytes, self.at)
        self.at += struct.calcsize(form)
        return values

    def text(self):
        """The next text: its length in bytes, then UTF-8."""
        length, = self.numbers("Q")
        self.at += length
        if self.at > len(self.bytes):
            raise struct.error(f"a text of {length} bytes")
        return self.bytes[self.at - length:self.at].decode()

    def fact(self):
        """The next (name, value)."""
        return self.text(), self.value(*self.numbers("I"))

    def value(self, kind):
        """The next value of a kind: a number, a text, or a list of them."""
        if kind == 8:
            return self.text()
        if kind == 9:
            inner, count = self.numbers("IQ")
            if inner in LETTERS:
                return list(self.numbers(f"{count}{LETTERS[inner]}"))
            return [self.value(inner) for _ in range(count)]
        return self.numbers(LETTERS[kind])[0]

    def entry(self):
        """The next (name, (shape, kind, offset in bytes)); the file names the last axis first."""
        name, axes = self.text(), *self.numbers("I")
        *shape, kind, offset = self.numbers(f"{axes}QIQ")
        return name, (tuple(reversed(shape)), kind, offset)

    def blocks(self, name):
        """(kind's name, the raw blocks (n, bytes) of a tensor, its shape), read-only."""
        shape, kind, offset = self.found[name]
        if kind not in KINDS:
            raise GGUFError(f"{self.path}: {name} is of kind {kind}, and read here are "
                            f"{', '.join(k for k, *_ in KINDS.values())}")
        label, numbers, size = KINDS[kind]
        start, (n, left) = self.start + offset, divmod(math.prod(shape), numbers)
        if left or not n:
            raise GGUFError(f"{self.path} is damaged: {name} of shape {shape} is no whole blocks")
        if start + n * size > len(self.bytes):
            raise GGUFError(f"{self.path} ends within {name}: it is truncated")
        raw = np.frombuffer(self.bytes, np.uint8, n * size, start)
        return label, raw.reshape(n, size), shape

    def tensor(self, name):
        """A tensor as float32 array of its shape. Raises KeyError for a name it lacks."""
        kind, raw, shape = self.blocks(name)
        return DEQUANTIZE[kind](raw).reshape(shape)


def dequantize_q4_1(raw):
    """32 numbers from 20 bytes, (n, 20) uint8 -> (n, 32) float32.

    A block is a scale and a minimum, both float16, and 32 codes from 0 to 15, two in a byte: the
    low halves are numbers 0 to 15, the high halves 16 to 31. Number = scale * code + minimum.
    """
    scale, least = raw[:, :4].copy().view(np.float16).astype(np.float32).T[..., None]  # (n, 1)
    out = np.empty((len(raw), 32), np.float32)
    np.multiply(raw[:, 4:] & 15, scale, out=out[:, :16])
    np.multiply(raw[:, 4:] >> 4, scale, out=out[:, 16:])
    out += least
    return out


def dequantize_q8_0(raw):
    """32 numbers from 34 bytes, (n, 34) uint8 -> (n, 32) float32: a float16 scale, 32 int8."""
    scale = raw[:, :2].copy().view(np.float16).astype(np.float32)                      # (n, 1)
    return raw[:, 2:].view(np.int8) * scale


DEQUANTIZE = {"Q4_1": dequantize_q4_1, "Q8_0": dequantize_q8_0,
              "F32": lambda raw: raw.copy().view(np.float32)}
