"""Laws and their fits, counts of published models, the Markov source, and runs at equal compute."""
import math
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

from utils import scaling
from utils.explorers.scaling import ComputePlanner, in_words
from utils.laws import (CHINCHILLA, REFIT, Law, fit_floor, fit_law, parabola, power_fit,
                        train_flops)
from utils.markov import MarkovSource
from utils.published import MODELS, count, find, parts, rough, why
from utils.transformer import Config, Transformer

PLANTED = Law(1.5, 60.0, 300.0, 0.4, 0.3)


# ---- laws --------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [CHINCHILLA, REFIT, PLANTED])
@pytest.mark.parametrize("C", [1e12, 3.14e23])
def test_the_optimum_spends_the_budget_and_no_other_size_is_better(law, C):
    N, D = law.optimal(C)
    assert train_flops(N, D) == pytest.approx(C)
    sizes = N * 10 ** torch.linspace(-1, 1, 2001, dtype=torch.float64)
    losses = law.loss(sizes, C / 6 / sizes)
    assert law.loss(N, D) <= float(losses.min()) + 1e-12
    assert float(sizes[losses.argmin()]) == pytest.approx(N, rel=2e-3)


def test_sizes_grow_with_the_exponents_of_the_law():
    a, b = REFIT.exponents
    assert a + b == pytest.approx(1)
    (N, D), (N_more, D_more) = REFIT.optimal(1e20), REFIT.optimal(1e22)
    assert math.log(N_more / N) == pytest.approx(a * math.log(100))
    assert math.log(D_more / D) == pytest.approx(b * math.log(100))


def test_tokens_per_parameter_at_the_compute_of_gpt3():
    printed, refit = (D / N for N, D in (law.optimal(3.14e23) for law in (CHINCHILLA, REFIT)))
    assert printed == pytest.approx(87.4, abs=0.1) and refit == pytest.approx(18.7, abs=0.05)


def test_fit_law_recovers_a_planted_law():
    N = torch.tensor([1e6, 3e6, 1e7, 3e7, 1e8] * 4, dtype=torch.float64)
    D = torch.tensor([2e7, 1e8, 5e8, 3e9], dtype=torch.float64).repeat_interleave(5)
    found = fit_law(N, D, PLANTED.loss(N, D))
    assert found.E == pytest.approx(1.5, rel=0.01)
    assert found.exponents[0] == pytest.approx(PLANTED.exponents[0], abs=0.01)
    assert torch.allclose(found.loss(N, D), PLANTED.loss(N, D), rtol=1e-3)


def test_one_wild_run_does_not_move_the_fit():
    N = torch.tensor([1e6, 3e6, 1e7, 3e7, 1e8] * 4, dtype=torch.float64)
    D = torch.tensor([2e7, 1e8, 5e8, 3e9], dtype=torch.float64).repeat_interleave(5)
    losses = PLANTED.loss(N, D)
    losses[7] *= 1.3
    assert fit_law(N, D, losses).exponents[0] == pytest.approx(PLANTED.exponents[0], abs=0.02)


@pytest.mark.parametrize("E, A, alpha", [(1.2, 40.0, 0.35), (0.0, 5.0, 0.1), (2.5, 900.0, 1.0)])
def test_fit_floor_recovers_planted_values(E, A, alpha):
    D = torch.tensor([1e3 * 2 ** i for i in range(8)], dtype=torch.float64)
    found = fit_floor(D, E + A / D ** alpha)
    assert found[0] == pytest.approx(E, abs=0.01) and found[2] == pytest.approx(alpha, rel=0.02)
    assert found[1] == pytest.approx(A, rel=0.05)


def test_power_fit_is_exact_on_a_power():
    x = torch.tensor([1.0, 10.0, 70.0])
    factor, exponent = power_fit(x, 3 * x ** -0.4)
    assert factor == pytest.approx(3, rel=1e-5) and exponent == pytest.approx(-0.4, rel=1e-5)


def test_the_parabola_finds_its_lowest_point():
    N = torch.tensor([1e4, 2e4, 5e4, 9e4], dtype=torch.float64)
    best, loss = parabola(N, 2 + 0.1 * (N.log() - math.log(3e4)) ** 2)
    assert best == pytest.approx(3e4) and loss == pytest.approx(2)


@pytest.mark.parametrize("losses", [[3, 2, 1, 0.2], [1, 2, 2, 1]])
def test_a_parabola_without_a_lowest_point_among_the_sizes_is_refused(losses):
    with pytest.raises(ValueError, match="not among the sizes"):
        parabola([1e4, 2e4, 4e4, 8e4], losses)


@pytest.mark.parametrize("call", [
    lambda: fit_law([1] * 5, [1] * 5, [1] * 5), lambda: fit_floor([1, 2, 3], [1, 2, 3]),
    lambda: power_fit([1], [1]), lambda: parabola([1, 2], [1, 2])])
def test_too_few_points_are_refused(call):
    with pytest.raises(ValueError, match="needed"):
        call()


# ---- the Markov source -------------------------------------------------------------------


def test_the_entropy_is_what_long_samples_cost():
    source = MarkovSource(8, seed=3)
    assert torch.allclose(source.stationary @ source.P, source.stationary)
    ids = source.walk(60_000, seed=1)
    costs = -source.P[ids[:-1], ids[1:]].log()
    assert float(costs.mean()) == pytest.approx(source.entropy, abs=5 * float(costs.std()) / 245)
    assert source.loss(torch.full((8, 8), 1 / 8)) == pytest.approx(math.log(8))


@pytest.mark.parametrize("seed", range(4))
def test_the_straight_line_falls_below_the_entropy_and_the_floor_does_not(seed):
    source = MarkovSource(seed=seed)
    sizes = [1024 * 2 ** i for i in range(6)]
    losses = source.learning_curve(sizes, seed=seed + 1)
    assert losses == sorted(losses, reverse=True) and losses[-1] > source.entropy
    factor, slope = power_fit(sizes, losses)
    assert factor * (100 * sizes[-1]) ** slope < source.entropy - 0.2
    assert abs(fit_floor(sizes, losses)[0] - source.entropy) < 0.03


# ---- published models --------------------------------------------------------------------


def test_twenty_models_and_every_count_is_near_the_stated_size():
    assert len({model.name for model in MODELS}) == 20
    for model in MODELS:
        assert count(model) == pytest.approx(model.stated, rel=0.04), model.name
    assert [model.year for model in MODELS] == sorted(model.year for model in MODELS)


def test_the_counts_that_the_course_names():
    named = {"Transformer base": 63.0e6, "Transformer big": 214.2e6, "GPT-3": 174.6e9}
    for name, wanted in named.items():
        assert count(find(name)) == pytest.approx(wanted, rel=2e-3)
    with pytest.raises(KeyError, match="GPT-3"):
        find("GPT-4")


@pytest.mark.parametrize("how", [
    {"kind": "encoder-decoder", "position": "sinusoidal"}, {"kind": "encoder"},
    {"n_kv_heads": 2, "activation": "swiglu", "bias": False, "norm": "rms",
     "position": "rotary", "tied": False}])
def test_the_formula_counts_the_courses_own_models(how):
    from utils.published import Model
    c = Config(37, d_model=24, n_layers=3, n_heads=6, d_ff=40, max_len=11, **how)
    gated, learned = how.get("activation") == "swiglu", "position" not in how
    ours = Model("ours", 2026, c.kind, 3, 24, 40, 6, 37, 0, None, "", n_kv_heads=c.n_kv_heads,
                 positions=11 * learned, tied=c.tied, bias=c.bias, gated=gated)
    norms = 24 * 2 * (c.kind == "encoder-decoder")      # each stack of the course ends in a norm
    assert count(ours) + norms == Transformer(c).n_parameters()


def test_where_twelve_l_d_squared_fails_and_why():
    ratios = {model.name: rough(model) / model.stated for model in MODELS}
    assert min(ratios, key=ratios.get) == "T5-11B" and ratios["T5-11B"] < 0.06
    assert abs(ratios["GPT-3"] - 1) < 0.01 and why(find("GPT-3")) == ""
    assert "wider" in why(find("T5-11B")) and "tables" in why(find("Llama 3 8B"))
    assert all(why(model) for model in MODELS if ratios[model.name] < 0.94)
    assert sum(parts(find("PaLM")).values()) == count(find("PaLM"))


def test_compute_of_gpt3_and_the_decks_line_on_gpt4():
    assert train_flops(count(find("GPT-3")), 300e9) == pytest.approx(3.14e23, rel=0.002)
    most = scaling.cluster_flops(20_000, 90)
    assert most == pytest.approx(4.85e25, rel=0.001)
    assert train_flops(1.8e12, 1e12) / most == pytest.approx(0.223, abs=0.001)
    assert scaling.cluster_flops(20_000, 90, used=0.35) / (6 * 1.8e12) == pytest.approx(
        1.57e12, rel=0.002)


# ---- runs --------------------------------------------------------------------------------


def test_runs_are_the_same_on_one_and_on_two_processes(wheels):
    widths = {1e8: (8, 16), 2e8: (8,)}
    seen = []
    state = torch.random.get_rng_state()
    alone = scaling.isoflop(widths, widths, (3,), workers=1, watch=lambda *at: seen.append(at))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert scaling.isoflop(widths, widths, (3,), workers=2) == alone
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert [(run.C, run.d_model, run.seed) for run in alone] == [(1e8, 8, 3), (1e8, 16, 3),
                                                                 (2e8, 8, 3)]
    for run in alone:
        assert 6 * run.N * run.D == pytest.approx(run.C, rel=0.1)


def test_where_no_process_may_be_started_the_runs_are_made_here(wheels, monkeypatch):
    def broken(*_):
        raise BrokenProcessPool("not allowed")
    monkeypatch.setattr(scaling, "_by_processes", broken)
    runs = scaling.isoflop((1e8,), {1e8: (16,)}, (3, 4), workers=2)
    assert [run.seed for run in runs] == [3, 4] and runs[0].loss != runs[1].loss


@pytest.mark.parametrize("C", scaling.BUDGETS)
def test_the_plan_spends_its_budget_within_two_percent(C):
    for d in scaling.WIDTHS[C]:
        N, steps = scaling.plan(C, d)
        assert Transformer(scaling.shape(d)).n_parameters() == N
        assert 6 * N * steps * scaling.BATCH * scaling.CONTEXT == pytest.approx(C, rel=0.02)


def planted_runs(noise=0.0, seed=0, seeds=1):
    rng = torch.Generator().manual_seed(seed)
    runs = []
    for C in (1e10, 4e10, 1.6e11):
        N_best = PLANTED.optimal(C)[0]
        for k in range(-3, 4):
            for s in range(seeds):
                N = N_best * 2 ** (0.6 * k)
                moved = noise * float(torch.randn((), generator=rng))
                runs.append(scaling.Run(C, round(N), round(C / 6 / N),
                                        PLANTED.loss(N, C / 6 / N) + moved, s, k, 1))
    return runs


def test_exponents_of_planted_runs_are_recovered():
    a, low, high = scaling.exponent(planted_runs())
    assert low <= a <= high and a == pytest.approx(PLANTED.exponents[0], abs=0.02)
    for C, N, D, loss in scaling.optima(planted_runs()):
        assert 6 * N * D == pytest.approx(C)
        assert N == pytest.approx(PLANTED.optimal(C)[0], rel=0.1)
        assert loss == pytest.approx(PLANTED.loss(*PLANTED.optimal(C)), rel=0.01)


def test_the_interval_holds_the_planted_exponent_about_as_often_as_it_says():
    true = scaling.exponent(planted_runs())[0]          # of the parabolas without noise
    inside = [low <= true <= high for _, low, high in (
        scaling.exponent(planted_runs(0.05, seed, 2), times=300) for seed in range(60))]
    assert 0.85 <= sum(inside) / 60 <= 1.0


def test_more_noise_widens_the_interval_until_it_is_refused():
    widths = [high - low for _, low, high in (scaling.exponent(planted_runs(noise, 1, 2))
                                              for noise in (0.01, 0.04))]
    assert widths[1] > 2 * widths[0]
    with pytest.raises(ValueError):
        scaling.exponent(planted_runs(5.0, 1, 2))


# ---- the explorer ------------------------------------------------------------------------


def test_the_planner_holds_at_every_setting():
    assert ComputePlanner().selftest() == 10


def test_the_planner_names_gpt3_at_its_own_budget():
    words = ComputePlanner().show()[1]
    assert "53.1 billion parameters" in words and "GPT-3" in words
    assert "GPT-3" not in ComputePlanner().show(budget=20.0)[1]


def test_large_numbers_get_their_names():
    assert [in_words(v) for v in (12, 4.2e3, 5.31e10, 999.8e9)] == [
        "12", "4.2 thousand", "53.1 billion", "1 trillion"]
