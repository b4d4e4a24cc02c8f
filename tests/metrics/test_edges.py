"""Edge measures against closed forms and independent programs; each beside its noise floor."""

import numpy as np
import pytest
from scipy.ndimage import laplace
from scipy.special import gamma as gamma_function
from scipy.special import polygamma

from sarlab.metrics import Comparison, Reference, UndefinedMetric, edges, score
from sarlab.metrics.applications import to_db

CLIP = (-25.0, 5.0)


def speckle(looks, shape=(256, 256), seed=0):
    return np.random.default_rng(seed).gamma(looks, 1 / looks, shape)


@pytest.fixture(scope="module")
def clean():
    """Fields of 8 dB contrast, a road and a slope."""
    image = np.full((256, 256), -14.0)
    image[:, 120:] = -6
    image[90:94] = -16
    image[180:, :] += np.linspace(0, 4, 256)
    return image


def test_gradient_ratio_and_cosine_of_scaled_images():
    rng = np.random.default_rng(0)
    image, noise = rng.standard_normal((2, 300, 300))
    assert edges.epi_gradient_ratio(Comparison(image, 0.4 * image)) == pytest.approx(0.4)
    assert edges.gradient_cosine(Comparison(image, 0.4 * image + 7)) == pytest.approx(1)
    assert edges.gradient_cosine(Comparison(image, -image)) == pytest.approx(-1)
    # white noise of standard deviation a added to white noise of 1: cosine 1/√(1 + a²)
    noisy = Comparison(image, image + 2 * noise)
    assert edges.gradient_cosine(noisy) == pytest.approx(1 / np.sqrt(5), abs=0.01)
    assert edges.epi_gradient_ratio(noisy) == pytest.approx(np.sqrt(5), rel=0.01)


def test_sattar_is_scipys_laplacian_and_numpys_correlation_and_missing_samples_are_left_out():
    x = np.random.default_rng(2).standard_normal((40, 50))
    y = x + np.random.default_rng(3).standard_normal((40, 50)) + np.arange(50) ** 2
    inner = (slice(1, -1), slice(1, -1))
    expected = np.corrcoef(laplace(x)[inner].ravel(), laplace(y)[inner].ravel())[0, 1]
    assert edges.epi_sattar(Comparison(x, y)) == pytest.approx(expected)
    x[:, 25:] = np.nan
    for measure in (edges.epi_sattar, edges.epi_gradient_ratio, edges.gradient_cosine, edges.epd_roa):
        assert measure(Comparison(x, y)) == pytest.approx(measure(Comparison(x[:, :25], y[:, :25])))


@pytest.mark.parametrize("looks", [1.0, 4.4, 16.0])
def test_neighbor_ratio_of_perfect_despeckling(looks):
    """E[a]·E[1/a] of an L-look amplitude is Γ(L + ½)·Γ(L − ½) / Γ(L)²; a constant image has 1."""
    recorded = to_db(speckle(looks, (1500, 1500)))
    expected = gamma_function(looks) ** 2 / (gamma_function(looks + 0.5) * gamma_function(looks - 0.5))
    case = Comparison(recorded, np.zeros_like(recorded))
    assert edges.epd_roa(case) == pytest.approx(expected, rel=0.02 if looks == 1 else 0.005)
    # zeros are left out
    x = np.array([[0.0, 20 * np.log10(2.0), -np.inf, 0.0], [0.0, 0.0, 0.0, 0.0]])
    # pairs of the reference without its zero: 1/2 across the first row, three of 1 across the second, 1, 2 and 1 downwards
    assert edges.epd_roa(Comparison(x, np.zeros_like(x))) == pytest.approx(7 / (0.5 + 3 + 4))
    assert edges.epd_roa(Comparison(np.zeros_like(x), x)) == pytest.approx((0.5 + 3 + 4) / 7)
    assert edges.epd_roa(Comparison(x[:1, :2], np.zeros((1, 2)))) == pytest.approx(2)


def test_ratio_of_averages_against_a_plain_loop():
    image = speckle(3.0, (40, 50))
    image[20, 30] = np.nan
    roa = edges.ratio_of_averages(Reference(to_db(image)))
    for row, column in ((10, 12), (3, 3), (36, 46), (25, 20)):
        window = image[row - 3 : row + 4, column - 3 : column + 4]
        assert roa.valid[row, column]
        assert roa.rows[row, column] == pytest.approx(np.log(window[4:].mean() / window[:3].mean()))
        assert roa.columns[row, column] == pytest.approx(np.log(window[:, 4:].mean() / window[:, :3].mean()))
    assert not roa.valid[18:23, 28:33].any()
    assert not roa.valid[:3].any()


@pytest.mark.parametrize("looks", [1.0, 4.4, 16.0])
def test_the_ratio_of_averages_of_speckle_and_of_a_step_is_known(looks):
    """A mean of 21 samples has 21·L looks, so the log-ratio of two has the variance 2·ψ′(21·L); a step shifts it."""
    flat = edges.ratio_of_averages(Reference(to_db(speckle(looks, (800, 800), 6))))
    for component in (flat.rows, flat.columns):
        assert component[flat.valid].var() == pytest.approx(2 * polygamma(1, 21 * looks), rel=0.04)
        assert component[flat.valid].mean() == pytest.approx(0, abs=0.01)
    step = edges.ratio_of_averages(Reference(to_db(np.where(np.arange(40) < 20, 1.0, 6.0) * np.ones((40, 1)))))
    # three samples on each side of the center: both sides pure at the step, one mixed two samples further
    assert step.columns[20, [19, 20]] == pytest.approx(np.log(6))
    assert step.columns[20, 21] == pytest.approx(np.log(6 / ((1 + 1 + 6) / 3)))
    assert step.rows[20, 20] == 0
    dark = edges.ratio_of_averages(Reference(np.where(np.arange(40) < 20, 0.0, -np.inf) * np.ones((40, 1))))
    assert np.isfinite(dark.columns).all()


def test_false_edges_on_speckle_are_rare_and_a_step_is_found():
    assert np.mean(edges.scene_edges(Reference(to_db(speckle(4.4, (1000, 1000), 3))))) < 3e-3
    image = speckle(4.4, (200, 200), 4)
    image[:, 100:] *= 4
    found = edges.scene_edges(Reference(to_db(image)))
    assert found[5:-5, 99:101].mean() > 0.99
    assert found[:, :90].mean() < 5e-3


def test_roa_agreement_is_the_share_of_strength_and_turns_away_from_other_edges(clean):
    recorded = clean + to_db(speckle(16.0))
    assert edges.epi_roa(Comparison(recorded, recorded.T.copy())) < 0.5
    # strength half as large everywhere: Σ min / Σ max
    assert edges.epi_roa(Comparison(recorded, 0.5 * recorded + 3)) == pytest.approx(0.5, abs=0.03)
    # an edge has at least 1 dB
    weak, strong = (np.where(np.arange(30) < 15, 0.0, height) * np.ones((30, 1)) for height in (0.98, 1.02))
    assert edges.epi_roa(Comparison(strong, strong)) == 1
    with pytest.raises(UndefinedMetric, match="no edge"):
        edges.epi_roa(Comparison(weak, strong))
    for measure in (edges.epi_gradient_ratio, edges.gradient_cosine, edges.epi_sattar):
        with pytest.raises(UndefinedMetric, match="constant"):
            measure(Comparison(0 * weak, strong))


@pytest.mark.parametrize("correlated", [False, True])
def test_the_noise_floor_is_the_score_of_another_acquisition(clean, correlated):
    """The floor is drawn without knowing that acquisition; with the clean scene it must agree with it."""
    from sarlab.scenes.simulate import speckle as draw

    rng = np.random.default_rng(8)
    first, second = (clean + to_db(draw(clean.shape, 4, rng, correlation=0.5 if correlated else 0.0)) for _ in range(2))
    names = [f"{n}{c}" for n in ("epi_roa", "epi_sattar") for c in ("", "_clean")]
    names += ["epi_gradient_ratio", "epd_roa", "gradient_cosine"]
    scores = score(first, second, clip=CLIP, looks=4, clean_db=clean, columns=names + [f"{n}_floor" for n in names])
    for name in names:
        assert scores[f"{name}_floor"] == pytest.approx(scores[name], abs=0.04), name
    # without the clean scene the floor is an estimate near it, which depends on the seed
    names = ["epi_sattar_floor", "gradient_cosine_floor", "epi_gradient_ratio_floor"]
    one, same, other = (score(Reference(first, looks=4, seed=k), first, columns=names) for k in (0, 0, 1))
    assert dict(one) == dict(same) != dict(other)
    for name in names:
        assert one[name] == pytest.approx(scores[name], abs=0.08)
