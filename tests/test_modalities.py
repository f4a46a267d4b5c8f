"""Patches, planted families, triangles, and two explorers of which one can be heard."""
import base64
import io
import re
import wave

import pytest
import torch
import torch.nn.functional as F

from utils.explorers import modalities as explorers
from utils.explorers.base import Explorer, player, slider
from utils.explorers.modalities import RATE, LogMelBench, PatchCutter, made
from utils.labels import guess
from utils.patches import Encoder, digit_images, patchify, teach
from utils.proteins import (LETTERS, Alone, Completer, Triangle, auc, broken_triangles, family,
                            puzzles, shortest_paths, teach_distances)
from utils.show import lines


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# ---- patches -------------------------------------------------------------------------------


@pytest.mark.parametrize("H, W, p", [(8, 8, 2), (6, 4, 2), (3, 9, 3), (5, 5, 5), (4, 6, 1)])
def test_patches_are_torch_s_unfold(H, W, p):
    images = numbers(3, H, W)
    want = F.unfold(images[:, None], p, stride=p).transpose(1, 2)
    assert torch.equal(patchify(images, p), want)


def test_a_patch_that_does_not_divide_the_image_is_refused():
    with pytest.raises(ValueError, match="images of 8 x 9 pixels"):
        patchify(torch.zeros(1, 8, 9), 2)


def test_the_digits_are_split_once_and_every_digit_is_in_both_parts():
    (x, y), (x_test, y_test) = digit_images()
    assert len(x) + len(x_test) == 1797 and x.shape[1:] == (8, 8)
    assert x.min() == 0 and x.max() == 1
    shares = [part.bincount().double() / len(part) for part in (y, y_test)]
    assert (shares[0] - shares[1]).abs().max() < 0.01


@pytest.mark.parametrize("positions", [True, False])
def test_only_positions_tell_an_encoder_the_order_of_its_tokens(positions):
    torch.manual_seed(0)
    model = Encoder(6, 5, 3, positions).eval()
    tokens, order = numbers(4, 6, 5), torch.tensor([3, 1, 5, 0, 2, 4])
    with torch.no_grad():
        change = (model(tokens) - model(tokens[:, order])).abs().max()
    assert (change > 1e-3) if positions else (change < 1e-5)


def test_teaching_learns_and_leaves_the_global_random_state_alone():
    x = numbers(300, 4, 3)
    y = (x[:, 2, 0] > 0).long()                         # told by one place alone
    state = torch.get_rng_state()
    model = teach(x, y, seed=0, epochs=10, d_model=16, n_layers=1)
    assert torch.equal(torch.get_rng_state(), state) and not model.training
    assert (guess(model, x) == y).float().mean() > 0.9
    again = teach(x, y, seed=0, epochs=10, d_model=16, n_layers=1)
    assert torch.equal(guess(model, x), guess(again, x))


# ---- families ------------------------------------------------------------------------------


def test_a_family_plants_pairs_that_change_together():
    relatives, touch = family(3, length=20, generations=7, pairs=4)
    assert relatives.shape == (128, 20) and touch.sum() == 8 and torch.equal(touch, touch.T)
    assert torch.equal(relatives, family(3, length=20, generations=7, pairs=4)[0])
    onehot = F.one_hot(relatives, LETTERS).double()
    met = torch.einsum("sip,sjq->ijpq", onehot, onehot) / 128
    alone = torch.einsum("ip,jq->ijpq", onehot.mean(0), onehot.mean(0))
    assert auc((met - alone).norm(dim=(2, 3)), touch) > 0.75


def test_auc_is_one_half_for_a_constant_and_turns_round_with_the_sign():
    touch = torch.zeros(5, 5, dtype=torch.bool)
    touch[0, 1] = touch[1, 0] = touch[2, 4] = touch[4, 2] = True
    assert auc(torch.ones(5, 5), touch) == 0.5
    assert auc(touch.double(), touch) == 1 and auc(-touch.double(), touch) == 0
    score = numbers(5, 5)
    score = score + score.T
    assert auc(score, touch) == pytest.approx(1 - auc(-score, touch))


# ---- triangles -----------------------------------------------------------------------------


def renamed(z, order):
    return z[:, order][:, :, order]


@pytest.mark.parametrize("triangles", [True, False])
def test_the_names_of_the_points_do_not_matter(triangles):
    torch.manual_seed(0)
    model, order = Completer(triangles), torch.tensor([4, 0, 3, 1, 2])
    pairs, _, _ = puzzles(3, torch.Generator().manual_seed(1), length=5)
    with torch.no_grad():
        torch.testing.assert_close(model(renamed(pairs, order)), renamed(model(pairs), order))
        torch.testing.assert_close(model(pairs), model(pairs).mT)
        assert not model(pairs)[0].diag().any()


def test_a_triangle_update_is_the_triple_loop():
    torch.manual_seed(0)
    part, z = Triangle(4).double(), numbers(1, 3, 3, 4).double()
    with torch.no_grad():
        x = part.norm(z)
        a, b = F.glu(part.a(x))[0], F.glu(part.b(x))[0]
        u = torch.zeros(1, 3, 3, 4).double()
        for i in range(3):
            for j in range(3):
                for k in range(3):
                    u[0, i, j] += a[i, k] * b[j, k]
        want = z + part.gate(x).sigmoid() * part.out(part.norm_out(u))
        torch.testing.assert_close(part(z), want)


def test_a_pair_alone_hears_of_no_other_and_a_triangle_of_those_that_share_a_point():
    z = numbers(1, 5, 5, 8).requires_grad_()
    torch.manual_seed(0)
    for part, most in ((Alone(8), 1), (Triangle(8), 10)):
        grad, = torch.autograd.grad(part(z)[0, 1, 3].sum(), z)
        touched = (grad[0].abs().sum(-1) > 0).nonzero().tolist()
        assert len(touched) <= most and [1, 3] in touched
        assert all(i in (1, 3) for i, _ in touched)


def test_puzzles_hide_what_is_not_known():
    pairs, distances, known = puzzles(20, torch.Generator().manual_seed(0), noise=0.0)
    assert torch.equal(pairs[..., 1] > 0, known) and not pairs[..., 0][~known].any()
    torch.testing.assert_close(pairs[..., 0][known], distances[known])
    assert broken_triangles(distances) == 0 and broken_triangles(distances.square()) > 0


def test_no_way_is_shorter_than_the_distance_and_where_none_leads_the_mean_stands():
    pairs, distances, _ = puzzles(20, torch.Generator().manual_seed(0), known=0.9, noise=0.0)
    assert (shortest_paths(pairs) >= distances - 1e-4).all()
    line = torch.tensor([[0, 1, 9, 9], [1, 0, 2, 9], [9, 2, 0, 9], [9, 9, 9, 0.0]])
    seen = ((line < 9) | torch.eye(4).bool()).float()
    found = shortest_paths(torch.stack([line * seen, seen], -1)[None])[0]
    assert found[0, 2] == 3 and found[0, 3] == found[:3, :3].sum() / 10


def test_triangles_learn_what_pairs_alone_cannot():
    pairs, distances, known = puzzles(64, torch.Generator().manual_seed(9))
    alone, met = (teach_distances(triangles, 0, steps=120)(pairs).detach()
                  for triangles in (False, True))
    off = [float((d - distances)[~known].abs().mean()) for d in (alone, met)]
    assert alone[~known].std() < 1e-3 and off[1] < 0.93 * off[0]


# ---- explorers -----------------------------------------------------------------------------


def test_the_patch_cutter_holds_at_every_setting():
    assert PatchCutter().selftest() >= 10


def test_the_patch_cutter_opens_on_a_digit_that_shuffling_makes_another():
    result = PatchCutter().compute(**PatchCutter().values)
    before, after = result["belief"].argmax(-1).tolist()
    assert before == result["truth"] != after
    assert "positions off" in PatchCutter(positions=False).show()[1]


def test_the_log_mel_bench_holds_at_every_setting():
    assert LogMelBench().selftest() >= 15


def test_louder_adds_a_constant_until_it_is_cut_off():
    bench = LogMelBench()
    first, second = (bench.compute("tone of 440 Hz", 40, 10, gain) for gain in (-20, 0))
    torch.testing.assert_close(second["mel"], first["mel"] + 2, atol=1e-2, rtol=0)
    words = bench.show(name="tone of 440 Hz", gain=20)[1]
    assert "are cut off" in words and "cut off" not in bench.show(gain=0)[1]


def heard(html):
    """The (samples, rate) in a player."""
    data = re.search(r'src="data:audio/wav;base64,([^"]+)"', html)[1]
    with wave.open(io.BytesIO(base64.b64decode(data))) as file:
        assert file.getnchannels() == 1 and file.getsampwidth() == 2
        samples = torch.frombuffer(bytearray(file.readframes(file.getnframes())), dtype=torch.int16)
        return samples, file.getframerate()


def test_a_player_holds_the_sound_is_named_and_reached_by_keys():
    html = player("a <b> & c", torch.tensor([0.0, 0.5, -1.0, 3.0]), 8000)
    samples, rate = heard(html)
    assert rate == 8000 and samples.tolist() == [0, 16384, -32767, 32767]
    assert 'aria-label="Play: a &lt;b&gt; &amp; c"' in html
    assert "<audio controls" in html and 'tabindex="0"' in html and "autoplay" not in html


def test_the_bench_plays_what_it_shows_and_only_a_new_sound_changes_the_player():
    bench = LogMelBench()
    bench.widget()
    first = bench._player.value
    assert len(heard(first)[0]) == len(made("seven")) and heard(first)[1] == RATE
    bench._moving["n_mels"].value = 20
    assert bench._player.value == first
    bench._moving["gain"].value = -20
    assert heard(bench._player.value)[0].abs().max() < heard(first)[0].abs().max()
    assert bench._player in bench.widget().children


def test_an_explorer_without_a_sound_has_no_player():
    class Silent(Explorer):
        """Why?"""
        controls = {"a": slider(0, 3, 1, label="a")}
        compute = staticmethod(lambda a: a)
        figure = staticmethod(lambda result: lines({"a": [result]}, "x", "y", "T"))
        describe = staticmethod(lambda result, a: "So.")
    quiet = Silent()
    box = quiet.widget()
    assert quiet.selftest() == 4 and quiet._player not in box.children


def test_the_static_view_needs_no_sound():
    assert "audio" not in str(LogMelBench().static().json())
    assert explorers.made(explorers.RISING).abs().max() <= 0.3
