"""CTranslate2's file of a model: named tensors one after another, and second names for some."""
import math
import mmap
import struct

import numpy as np

# The kinds of tensors, by number: numpy's name of each.
KINDS = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}


class CTranslate2Error(ValueError):
    """The file is no model of CTranslate2, ends too early, or holds a kind not read here."""


class CTranslate2:
    """An open file: names, tensor(name) -> array; spec says which kind of model it holds.

    names: dict of name -> (shape, kind, first byte); a second name has the same entry.
    Source: ctranslate2/specs/model_spec.py of github.com/OpenNMT/CTranslate2, version 6.
    Raises CTranslate2Error, or OSError for a file that cannot be opened.
    """

    def __init__(self, path):
        self.path, self.at = path, 0
        with open(path, "rb") as file:
            try:
                self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise CTranslate2Error(f"{path} is empty") from None
        try:
            version, = self.numbers("I")
            if version != 6:
                raise CTranslate2Error(f"{path} is of version {version}: 6 is needed")
            self.spec, (_, tensors) = self.text(), self.numbers("II")
            self.names = dict(self.entry() for _ in range(tensors))
            for _ in range(*self.numbers("I")):
                name, same = self.text(), self.text()
                self.names[name] = self.names[same]
        except (struct.error, KeyError, UnicodeDecodeError) as error:
            raise CTranslate2Error(f"{path} is damaged near byte {self.at:,} ({error!r})") from None
        if self.at != len(self.bytes):
            raise CTranslate2Error(f"{path} is damaged: its tensors end at byte {self.at:,} of "
                                   f"{len(self.bytes):,}")

    def numbers(self, letters):
        """The next numbers, as struct names their kinds: a tuple."""
        form = "<" + letters
        values = struct.unpack_from(form, self.bytes, self.at)
        self.at += struct.calcsize(form)
        return values

    def skip(self, size):
        """Go on by size bytes, which must be there; returns where they begin."""
        start, self.at = self.at, self.at + size
        if self.at > len(self.bytes):
            raise struct.error(f"{size} bytes from byte {start} on")
        return start

    def text(self):
        """The next text: its length in bytes, then UTF-8 with a zero at its end."""
        length, = self.numbers("H")
        start = self.skip(length)
        return self.bytes[start:self.at].decode().removesuffix("\0")

    def entry(self):
        """The next (name, (shape, kind, first byte)); the tensor's bytes are passed over."""
        name, (axes,) = self.text(), self.numbers("B")
        *shape, kind, size = self.numbers(f"{axes}IBI")
        wanted = math.prod(shape) * np.dtype(KINDS.get(kind, "V1")).itemsize
        if kind not in KINDS or size != wanted or not size:
            raise struct.error(f"{name} of shape {shape} and kind {kind} in {size} bytes")
        return name, (tuple(shape), kind, self.skip(size))

    def tensor(self, name):
        """A tensor as array of its shape, float32 if it holds fractions.

        Raises CTranslate2Error for a name that the file lacks.
        """
        if name not in self.names:
            raise CTranslate2Error(f"{self.path} holds no {name}")
        shape, kind, start = self.names[name]
        raw = np.frombuffer(self.bytes, KINDS[kind], math.prod(shape), start).reshape(shape)
        return raw.astype(np.float32 if raw.dtype.kind == "f" else raw.dtype)
