# SPDX-License-Identifier: Apache-2.0
"""Trees of scikit-learn, and what is made of several estimators.

Exact are those whose float outputs are sums of the leaves. Where a logistic or softmax
follows, engines differ in how they calculate exp, and the usual bound holds.
"""

from sklearn import ensemble, tree
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .case import BATCHED
from .data import quarter
from .sklearn_cases import case, classifier, regressor
from .sklearn_models import TIERS

SEED = {"random_state": 1}
SMALL = {"n_estimators": 10, "max_depth": 4, **SEED}


def cases(data):
    prices = data.electricity
    tiers = prices.learning(quarter(prices.truth))
    yield from forests(data, prices, tiers)
    yield from boosted(data, prices, tiers)
    yield from combined(data, prices, tiers)


def forests(data, prices, tiers):
    big = ensemble.RandomForestClassifier(50, max_depth=8, random_state=1)
    yield classifier("sklearn_forest", big, data.payments, config=BATCHED, exact=True)
    yield classifier("sklearn_forest_multiclass", ensemble.RandomForestClassifier(**SMALL), tiers, exact=True)
    named = tiers.learning(TIERS[tiers.truth])
    yield classifier("sklearn_forest_strings", ensemble.RandomForestClassifier(**SMALL), named, exact=True)
    yield classifier("sklearn_extra_trees", ensemble.ExtraTreesClassifier(**SMALL), tiers, exact=True, fixture=True)
    yield classifier("sklearn_tree", tree.DecisionTreeClassifier(max_depth=6, **SEED), tiers, exact=True)
    yield regressor("sklearn_forest_regressor", ensemble.RandomForestRegressor(**SMALL), prices, exact=True, fixture=True)
    yield regressor("sklearn_tree_regressor", tree.DecisionTreeRegressor(max_depth=6, **SEED), prices, exact=True)
    # More trees than a runtime adds up one after another: no order is promised.
    yield regressor("sklearn_forest_large", ensemble.RandomForestRegressor(120, max_depth=5, random_state=1), prices)
    detector = ensemble.IsolationForest(n_estimators=20, max_samples=64, **SEED)
    yield case("sklearn_isolation_forest", detector, prices.first(2000))


def boosted(data, prices, tiers):
    yield classifier("sklearn_boosting", ensemble.GradientBoostingClassifier(n_estimators=30, **SEED), data.payments)
    small = {"n_estimators": 10, **SEED}
    yield classifier("sklearn_boosting_multiclass", ensemble.GradientBoostingClassifier(**small), tiers.first(2000))
    yield regressor("sklearn_boosting_regressor", ensemble.GradientBoostingRegressor(**small), prices, exact=True)
    few = {"max_iter": 15, "max_leaf_nodes": 12, **SEED}
    missing = data.missing()
    yield classifier("sklearn_hist_boosting", ensemble.HistGradientBoostingClassifier(**few), missing, fixture=True)
    yield classifier("sklearn_hist_boosting_multiclass", ensemble.HistGradientBoostingClassifier(**few), tiers)
    regression = missing.learning(missing.train[:, 0])
    yield regressor("sklearn_hist_boosting_regressor", ensemble.HistGradientBoostingRegressor(**few), regression, exact=True)


def combined(data, prices, tiers):
    stump = tree.DecisionTreeClassifier(max_depth=3, **SEED)
    yield classifier("sklearn_adaboost", ensemble.AdaBoostClassifier(stump, n_estimators=8, **SEED), tiers)
    yield regressor("sklearn_adaboost_regressor", ensemble.AdaBoostRegressor(n_estimators=6, **SEED), prices)
    yield classifier("sklearn_bagging", ensemble.BaggingClassifier(stump, n_estimators=5, max_features=0.8, **SEED), tiers)
    linear = make_pipeline(StandardScaler(), LogisticRegression())
    members = [("linear", linear), ("tree", stump)]
    soft = ensemble.VotingClassifier(members, voting="soft", flatten_transform=False)
    yield classifier("sklearn_voting_soft", soft, tiers)
    stacked = ensemble.StackingClassifier(members, cv=2)
    yield classifier("sklearn_stacking", stacked, tiers)
