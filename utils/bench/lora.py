"""A step of LoRA: the course's against peft on transformers, the same model, batch and loss."""
import json
import subprocess
import sys

import torch

from ..lora import add_lora, lora_layers
from ..pretrained import IN_LLAMA, llama_names
from ..transformer import Config, Transformer
from ..tuning import Peak, tuning_loss
from .engine import Row, in_turns, peer_library, times_less

REPEATS = 9
# SmolLM2-135M's shape (its config.json); a batch as lecture 09 has it.
SHAPE = {"vocab_size": 49152, "d_model": 576, "n_layers": 30, "n_heads": 9, "n_kv_heads": 3,
         "d_ff": 1536}
TASK = {"B": 4, "T": 64, "r": 8, "alpha": 16, "names": ["q", "v"]}
CPU, MEMORY = 1 / 0.97, 1 / 0.95                        # times less than the peer, at least


def course_model(shape, max_len=256):
    """A LLaMA of the course with random weights, the same at every call."""
    model = Transformer(Config(**shape, max_len=max_len, position="rotary", norm="rms",
                               activation="swiglu", bias=False)).eval()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(1.0 if "norm" in name else 0.0, 0.05, generator=rng)
    return model


def peer_model(shape, max_len=256):
    """transformers' LLaMA with the same weights."""
    transformers = peer_library("transformers")
    s = shape
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=s["vocab_size"], hidden_size=s["d_model"], num_hidden_layers=s["n_layers"],
        num_attention_heads=s["n_heads"], num_key_value_heads=s["n_kv_heads"],
        intermediate_size=s["d_ff"], max_position_embeddings=max_len, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True, use_cache=False)).eval()
    ours, own = course_model(shape, max_len), dict(theirs.named_parameters())
    names = llama_names(ours.config)
    with torch.no_grad():
        for name, p in ours.named_parameters():
            own[names[name]].copy_(p)
    return theirs


def add_peft(theirs, task):
    """peft's LoRA on the same maps, with the A that `add_lora` draws."""
    peft = peer_library("peft")
    ends = [IN_LLAMA[f"attention.{n}" if n in ("q", "k", "v", "out") else f"feed_forward.{n}"]
            for n in task["names"]]
    return peft.get_peft_model(theirs, peft.LoraConfig(
        r=task["r"], lora_alpha=task["alpha"], target_modules=[e.split(".")[1] for e in ends],
        task_type="CAUSAL_LM"))


def start(theirs, A):
    """Give peft's layers the course's A, bottom up, so that both sides begin alike."""
    with torch.no_grad():
        layers = [p for n, p in theirs.named_parameters() if ".lora_A." in n]
        for p, a in zip(layers, A, strict=True):
            p.copy_(a)


def batch(shape, task, silent):
    """(inputs, targets), (B, T): of each row the first `silent` targets do not count."""
    rng = torch.Generator().manual_seed(2)
    ids = torch.randint(shape["vocab_size"], (task["B"], task["T"] + 1), generator=rng)
    targets = ids[:, 1:].clone()
    targets[:, :silent] = -100
    return ids[:, :-1].contiguous(), targets


def stepper(side, shape, task, silent):
    """A function that takes one step of AdamW on the side's own model and returns the loss."""
    ours = course_model(shape)
    add_lora(ours, task["names"], task["r"], task["alpha"])
    inputs, targets = batch(shape, task, silent)
    if side == "ours":
        model = ours

        def loss():
            return tuning_loss(model, inputs, targets)
    else:
        A = [part.A.detach() for part in lora_layers(ours).values()]
        del ours
        model = add_peft(peer_model(shape), task)
        start(model, A)

        def loss():                                     # shift_labels: targets as they are
            return model(input_ids=inputs, labels=targets, shift_labels=targets).loss
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3,
                                  fused=True)

    def step():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return float(value.detach())
    return step


def memory(side, shape, task, silent, steps=2):
    """(MB at most, loss): weights, LoRA and steps, in this process, above what it had before."""
    peer_library("peft"), peer_library("transformers")
    course_model({**shape, "n_layers": 1, "vocab_size": 8})             # torch is warm
    with Peak(torch.device("cpu")) as peak:
        before = peak.before
        step = stepper(side, shape, task, silent)
    with Peak(torch.device("cpu")) as peak:             # of the steps: building is over
        losses = [step() for _ in range(steps)]
    return peak.mb - before, losses[-1]


def alone(side, *how):
    """`memory` in a process of its own."""
    code = ("import json, sys, torch; torch.set_num_threads(int(sys.argv[1])); "
            "from utils.bench.lora import memory; "
            "print(json.dumps(memory(*json.loads(sys.argv[2]))))")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code,
                           str(torch.get_num_threads()), json.dumps([side, *how])],
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the process of {side} ended with {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def same(what, ours, peer):
    """Raise AssertionError unless two losses agree to 1 in 10,000."""
    if abs(ours - peer) > 1e-4 * abs(peer):
        raise AssertionError(f"{what}: losses {ours} and {peer} differ, so nothing is comparable")


def one_task(what, silent, repeats, shape=SHAPE, task=TASK):
    """Two rows, processor time and memory of a step; both sides have moved alike, or error."""
    steps = {side: stepper(side, shape, task, silent) for side in ("ours", "peer")}
    times = in_turns(steps, repeats)
    same(what, times["ours"].result, times["peer"].result)
    del steps
    found = {side: alone(side, shape, task, silent) for side in ("ours", "peer")}
    same(what, found["ours"][1], found["peer"][1])
    (ours, _), (peer, _) = found["ours"], found["peer"]
    return [Row(f"LoRA step, {what}, against peft", str(times["ours"]), str(times["peer"]),
                times_less(times["ours"], times["peer"]), CPU),
            Row("the same, memory at most with the weights", f"{ours:,.0f} MB", f"{peer:,.0f} MB",
                peer / ours, MEMORY)]


def rows(repeats):
    size = f"r = {TASK['r']} on {' and '.join(TASK['names'])}, {TASK['B']} x {TASK['T']} tokens"
    return [*one_task(f"{size}, every token counts", 0, repeats),
            *one_task(f"{size}, the last quarter counts", 3 * TASK["T"] // 4, repeats)]
