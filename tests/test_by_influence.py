"""The two methods of the catalog that read influence are the pieces put together, and their
settings reach them.
"""

import numpy as np
import pytest

from dpkit import anneal, influence_norm, influence_vectors, outer_influence
from dpkit.methods import catalog
from dpkit.methods import influence as by_influence
from tests.test_influence import made_up


@pytest.fixture(scope="module")
def snapshot():
    return made_up(n=90)[0]


def test_the_scalar_baseline_is_the_length_of_each_vector(snapshot):
    scores = catalog.find_method("influence_norm").score(snapshot, damping=0.02)
    expected = influence_norm(influence_vectors(snapshot, damping=0.02, of="sum"))
    np.testing.assert_array_equal(scores.values, expected.values)
    kept = catalog.find_method("influence_norm").select(scores, 30, evidence=snapshot, rng=0).kept
    assert sorted(kept) == sorted(np.argsort(expected.values)[-30:])


@pytest.mark.parametrize("route", ["exact", "kronecker"])
@pytest.mark.parametrize("of", ["mean", "sum"])
def test_optimisation_is_annealing_of_the_influence_vectors(snapshot, route, of):
    found = catalog.find_method("influence").choose(
        snapshot, 50, rng=3, damping=0.02, of=of, route=route, steps=2000
    )
    vectors = (influence_vectors if route == "exact" else outer_influence)(
        snapshot, damping=0.02, of=of
    )
    expected = anneal(vectors, 50, rng=3, steps=2000)
    assert found.kept.tolist() == expected.kept.tolist() and found.params == expected.params
    assert found.params["norm"] < 0.3 * found.params["start_norm"]


def test_classes_keep_their_shares_if_that_is_asked(snapshot):
    found = catalog.find_method("influence").choose(
        snapshot, 45, rng=3, per_class="proportional", steps=2000
    )
    sizes, kept = np.bincount(snapshot.labels), np.bincount(snapshot.labels[found.kept])
    assert np.abs(kept - sizes / 2).max() <= 1


def test_where_the_exact_hessian_does_not_fit_its_approximation_is_never_written_out(
    snapshot, monkeypatch
):
    monkeypatch.setattr(by_influence, "influence_vectors", None)
    with pytest.warns(
        UserWarning,
        match="influence by the Kronecker approximation, as the exact Hessian needs .* set memory",
    ):
        found = catalog.find_method("influence").choose(
            snapshot, 50, rng=3, damping=0.02, steps=2000, memory=1e4
        )
    assert (
        found.params
        == anneal(outer_influence(snapshot, damping=0.02), 50, rng=3, steps=2000).params
    )
