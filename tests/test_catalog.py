"""The table of contents: what stands there exists, is found by name, and is made the same way every
time.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import dpkit
from dpkit.data.image_set import DATASETS
from dpkit.methods import catalog
from dpkit.methods.method import Method
from dpkit.nets import builders
from dpkit.records import Scores, Selection, Snapshot, TrainingDynamics
from dpkit.scorers import aum
from dpkit.storage.lookup import find


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(mine, yours) for mine, yours in pairs)


def dynamics(n=4, epochs=12):
    prob = np.random.default_rng(0).random((n, epochs))
    return TrainingDynamics(prob, prob, prob > 0.5, np.arange(n))


def test_every_score_has_a_unit_as_its_docstring_says():
    units = {name: method.unit for name, method in catalog.METHODS.items()}
    assert {name for name, unit in units.items() if not unit} == {
        name for name, method in catalog.METHODS.items() if not method.scorer
    }
    assert units["dual+beta"] == "in probability squared, 0..0.39"
    assert units["ccs"] == 'in logits, or by scale="probability" in probability, -1..1'
    assert Method("dynamics", lambda dynamics: None, dpkit.keep_top, name="mine").unit == ""


def test_every_scorer_and_selector_of_a_method_is_public():
    for name, method in catalog.METHODS.items():
        assert method.evidence in (None, "dynamics", "snapshot", "final", "exits") and (
            method.evidence or not method.scorer
        )
        assert set(method.defaults) <= {option for part in method.option_names for option in part}
        for step in filter(None, (method.scorer, method.selector)):
            assert getattr(dpkit, step.__name__) is step, name


def test_every_public_scorer_stands_in_the_catalog():
    from dpkit import scorers

    # what reads vectors is given those of the snapshot
    through = {"influence_norm_scores": "influence_norm"}
    used = {method.scorer.__name__ for method in catalog.METHODS.values() if method.scorer}
    assert set(scorers.__all__) == {through.get(name, name) for name in used}


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: catalog.find_method("duel").score(None),
            "unknown method 'duel'; there are random, dual, .*influence: did you mean dual?",
        ),
        (
            lambda: catalog.find_method("best").select(None, 1, rng=0),
            "unknown method 'best'; there are random, dual, dual",
        ),
        (lambda: catalog.find_method("dule"), "unknown method 'dule'"),
        (
            lambda: find(builders.MODELS, "resnet1", "model"),
            "unknown model 'resnet1'; .*did you mean resnet18?",
        ),
        (
            lambda: builders.make_net("vgg", None, seed=0),
            "unknown model 'vgg'; there are small_cnn, fast_cnn",
        ),
    ],
)
def test_an_unknown_name_is_told_what_there_is(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_networks_weights_are_decided_by_its_seed(digits):
    one, again, other = (builders.make_net("small_cnn", digits, seed=seed) for seed in (0, 0, 1))
    assert same(one, again) and not same(one, other)
    torch.manual_seed(5)
    assert same(one, builders.make_net("small_cnn", digits, seed=0))


def test_a_network_fits_its_images(digits):
    assert builders.make_net("small_cnn", digits, seed=0)(digits.clean(slice(0, 2))).shape == (
        2,
        10,
    )


def test_a_score_is_the_scorers_own_with_its_settings():
    assert catalog.find_method("random").score(None) is None
    record = dynamics()
    assert (
        catalog.find_method("dual").score(record).values.tolist()
        == dpkit.dual(record).values.tolist()
    )
    assert (
        catalog.find_method("dual").score(record, window=3).values.tolist()
        == dpkit.dual(record, window=3).values.tolist()
    )


def test_the_catalogs_settings_hold_until_overridden():
    record = dynamics()
    scores = dpkit.dual(record)
    usual = catalog.find_method("dual+beta").select(scores, 2, evidence=record, rng=0)
    assert (
        usual.params["c_d"] == 4
        and usual.kept.tolist()
        == dpkit.keep_beta(scores, 2, mean_prob=record.mean_prob(), c_d=4, rng=0).kept.tolist()
    )
    assert (
        catalog.find_method("dual+beta")
        .select(scores, 2, evidence=record, rng=0, c_d=5.5)
        .params["c_d"]
        == 5.5
    )
    assert catalog.METHODS["dual+beta"].defaults == {"c_d": 4.0}


def test_settings_are_named_by_whom_they_belong_to():
    assert catalog.METHODS["dual+beta"].option_names == (
        ("window",),
        ("c_d", "convention", "per_class"),
    )
    assert (
        catalog.METHODS["forgetting"].option_names[0] == ()
        and "protect_inf" in catalog.METHODS["aum"].option_names[1]
    )
    assert catalog.METHODS["random"].option_names == ((), ("per_class",))
    # labels, difficulty: not to be set
    assert catalog.METHODS["ccs"].option_names == (("scale",), ("cutoff", "strata", "per_class"))
    assert catalog.find_method("ccs").options == {
        "scale": "probability",
        "cutoff": "cifar10",
        "strata": 50,
        "per_class": None,
    }


def test_a_method_reads_its_parts_of_what_was_recorded():
    assert catalog.find_method("random").reads == set() and catalog.find_method(
        "dual+beta"
    ).reads == {"dynamics"}
    assert catalog.find_method("el2n").reads == {"snapshot"} and catalog.find_method(
        "d2"
    ).reads == {"dynamics", "final"}
    record, rng = dynamics(), np.random.default_rng(0)
    early, final = (
        Snapshot(rng.dirichlet(np.ones(4), (1, 4)), rng.random((4, 3)), record.labels)
        for _ in range(2)
    )
    seen = SimpleNamespace(dynamics=record, snapshot=early, final=final)
    for name, part in (
        ("dual", record),
        ("grand", early),
        ("el2n", early),
        ("moderate", final),
        ("entropy", final),
        ("least_confidence", final),
        ("margin", final),
    ):
        expected = getattr(dpkit, name)(part).values.tolist()
        assert (
            catalog.find_method(name).score(seen).values.tolist()
            == catalog.find_method(name).score(part).values.tolist()
            == expected
        )
    kept = catalog.find_method("kcenter").select(None, 2, evidence=seen, rng=3).kept
    assert kept.tolist() == dpkit.keep_kcenter(final.features, 2, rng=3).kept.tolist()


def test_d2_takes_forgetting_aum_and_the_final_features():
    rng, record = np.random.default_rng(1), dynamics(40)
    record = replace(record, labels=np.arange(40) % 2)
    early, final = (
        Snapshot(np.full((1, 40, 2), 0.5), rng.random((40, 3)), record.labels) for _ in range(2)
    )
    seen = SimpleNamespace(dynamics=record, snapshot=early, final=final)
    kept = catalog.find_method("d2").select(
        catalog.find_method("d2").score(seen), 10, evidence=seen, rng=0
    )
    expected = dpkit.keep_d2(
        dpkit.forgetting(record),
        10,
        features=final.features,
        difficulty=dpkit.aum(record, scale="probability"),
        cutoff="cifar10",
        labels=record.labels,
        per_class="proportional",
        rng=0,
    )
    assert kept.kept.tolist() == expected.kept.tolist() and kept.params == expected.params


def test_labels_that_disagree_between_a_snapshot_and_the_record_are_refused():
    record = dynamics()
    final = Snapshot(
        np.full((1, 4, 4), 0.25), np.random.default_rng(0).random((4, 3)), [0, 1, 3, 3]
    )
    seen, scores = (
        SimpleNamespace(dynamics=record, snapshot=None, final=final),
        dpkit.forgetting(record),
    )
    with pytest.raises(
        ValueError,
        match=r"d2 reads dynamics and final of the same samples, and the labels of dynamics and "
        r"final differ in 1 of 4 rows \(first: row 2\): take all of them from one training",
    ):
        catalog.find_method("d2").select(scores, 2, evidence=seen, rng=0, neighbours=1)
    with pytest.raises(
        ValueError, match="the labels of labels= and dynamics differ in 4 of 4 rows"
    ):
        catalog.find_method("dual").select(
            scores, 2, evidence=record, labels=record.labels + 1, rng=0
        )
    with pytest.raises(ValueError, match="differ in number"):
        catalog.find_method("dual").select(scores, 2, evidence=record, labels=[0, 1], rng=0)


def test_a_methods_own_settings_reach_its_scorer_until_overridden():
    record = dynamics()
    for options, scale in (({}, "probability"), ({"scale": "logit"}, "logit")):
        assert (
            catalog.find_method("ccs").score(record, **options).values.tolist()
            == dpkit.aum(record, scale=scale).values.tolist()
        )


def test_quotas_of_a_method_that_looks_at_nothing_need_the_labels():
    labels = np.repeat([0, 1], [9, 3])
    kept = (
        catalog.find_method("random")
        .select(None, 4, num_samples=12, labels=labels, rng=0, per_class="balanced")
        .kept
    )
    assert np.bincount(labels[kept]).tolist() == [2, 2]
    with pytest.raises(ValueError, match="needs labels="):
        catalog.find_method("random").select(None, 4, num_samples=12, rng=0, per_class="balanced")


def test_evidence_that_a_selector_reads_must_be_there():
    scores = Scores([1.0, 2.0], "mine")
    looked = Snapshot([[[0.5, 0.5]] * 2], None, [0, 1])
    for evidence, kind in ((None, "NoneType"), (looked, "Snapshot")):
        with pytest.raises(
            ValueError,
            match=rf"dual\+beta reads mean_prob from the evidence; got {kind}: pass evidence=",
        ):
            catalog.find_method("dual+beta").select(scores, 1, evidence=evidence, rng=0)
    with pytest.raises(
        ValueError,
        match="random looks at nothing, so it needs num_samples=, the set's size; got none",
    ):
        catalog.find_method("random").select(None, 1, rng=0)
    with pytest.raises(TypeError, match="keep_top needs Scores; got NoneType"):
        catalog.find_method("dual").select(None, 1, num_samples=4, rng=0)
    with pytest.raises(TypeError, match="el2n needs Snapshot; got TrainingDynamics"):
        catalog.find_method("el2n").score(dynamics())


def test_the_networks_and_sets_named_are_those_that_load():
    from dpkit.data import image_set

    assert DATASETS is image_set.DATASETS and "digits" in DATASETS


def test_only_labels_that_are_told_are_compared():
    prob = np.random.default_rng(0).random((4, 12))
    prob[2] = np.nan
    scores, final = (
        Scores([4, 3, 2, 1], "mine"),
        Snapshot(np.full((1, 4, 4), 0.25), np.eye(4, 3), [0, 1, 2, 3]),
    )
    seen = []

    def notes_labels(scores, keep, *, rng, labels, mean_prob, features):
        seen.append(labels)
        return Selection([1, 3], 4, "mine")

    with_labels = Method("dynamics", aum, notes_labels, extras=("mean_prob", "features"))
    for unseen in (-1, 0):  # today's, and version 0.6's
        record = TrainingDynamics(prob, prob, prob > 0.5, [0, 1, unseen, 3])
        kept = (
            catalog.find_method("dual")
            .select(scores, 2, evidence=record, labels=[0, 1, 2, 3], rng=0, per_class="balanced")
            .kept
        )
        assert len(kept) == 2
        evidence = SimpleNamespace(dynamics=record, final=final)
        assert with_labels.select(scores, 2, evidence=evidence, rng=0).kept.tolist() == [1, 3]
        assert seen.pop().tolist() == [0, 1, 2, 3]  # each where it is told
        with pytest.raises(ValueError, match=r"differ in 1 of 4 rows \(first: row 3\)"):
            catalog.find_method("dual").select(
                scores, 2, evidence=record, labels=[0, 1, 2, 2], rng=0
            )
    with pytest.raises(
        ValueError, match=r"labels must be in 0\.\.; 1 are not \(first: -1 at row 2\)"
    ):
        # a class for whom nobody told one
        catalog.find_method("dual").select(scores, 2, evidence=record, rng=0, per_class="balanced")
