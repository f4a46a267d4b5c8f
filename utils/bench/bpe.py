"""Byte pair encoding: the course's against Hugging Face's tokenizers, on 1 MB of Shakespeare."""
import importlib
import statistics

from .. import data
from .engine import Missing, Row, in_turns, peer_library, times_less

REPEATS = 5
VOCAB_SIZE, CHARACTERS = 1024, 1_000_000


def ours():
    """(train, BPE) of utils.bpe. Raises Missing while the course has no such module."""
    try:
        module = importlib.import_module("utils.bpe")
        return module.train, module.BPE
    except (ImportError, AttributeError):
        raise Missing("the course has no utils.bpe with `train` and `BPE` yet.") from None


def peer_trained(tokenizers, text):
    """A byte-level BPE of tokenizers, trained as GPT-2's was."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.train_from_iterator([text], tokenizers.trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()))
    return made


def rows(repeats, text=None):
    """Training, then encoding; the peer encodes in the faster of its two ways."""
    train, BPE = ours()
    tokenizers = peer_library("tokenizers")
    text = text or data.rebuilt_tiny_shakespeare()[:CHARACTERS]
    size = f"{len(text.encode()) / 1e6:.2g} MB, vocabulary {VOCAB_SIZE}"
    learnt = in_turns({"ours": lambda: train(text, VOCAB_SIZE),
                       "peer": lambda: peer_trained(tokenizers, text)}, repeats, warm_up=False)
    peer, lines = learnt["peer"].result, text.splitlines(keepends=True)
    merges = learnt["ours"].result
    coded = in_turns({"ours": lambda: len(BPE(merges).encode(text)),
                      "whole": lambda: len(peer.encode(text).ids),
                      "lines": lambda: sum(len(e.ids) for e in peer.encode_batch_fast(lines))},
                     repeats, warm_up=False)
    best = min(("whole", "lines"), key=lambda way: statistics.median(coded[way].cpu))
    counts = [f"{coded[side]}, {coded[side].result:,} tokens" for side in ("ours", best)]
    return [Row(f"BPE training, {size}, against tokenizers", str(learnt["ours"]),
                str(learnt["peer"]), times_less(learnt["ours"], learnt["peer"]), 1 / 1.2),
            Row(f"BPE encoding, {size}, against tokenizers ({best})", *counts,
                times_less(coded["ours"], coded[best]), 2.0)]
