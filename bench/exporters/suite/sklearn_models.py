# SPDX-License-Identifier: Apache-2.0
"""Linear models, Bayes, vector machines, neighbours and networks of scikit-learn."""

import numpy as np
from skl2onnx.common.data_types import DoubleTensorType, Int64TensorType
from sklearn import discriminant_analysis, linear_model, mixture, multiclass, naive_bayes, neighbors, neural_network, svm
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from .case import BATCHED
from .data import Table, quarter
from .sklearn_cases import case, classifier, regressor

TIERS = np.array(["low", "medium", "high", "peak"])


def logistic():
    return make_pipeline(StandardScaler(), linear_model.LogisticRegression())


def scaled(model):
    return make_pipeline(StandardScaler(), model)


def cases(data):
    prices = data.electricity
    tiers = prices.learning(quarter(prices.truth))
    named = tiers.learning(TIERS[tiers.truth])
    yield from logistics(data, tiers, named)
    yield from other_linear(data.payments, prices, tiers)
    yield from bayes(data, tiers)
    yield from vectors(data.payments, prices.first(400), tiers.first(400))
    yield from networks(data, prices, tiers)


def logistics(data, tiers, named):
    payments = data.all_payments
    yield classifier("sklearn_logistic", logistic(), payments, config=BATCHED, fixture=True)
    yield classifier("sklearn_logistic_double", logistic(), payments.apply(np.float64), floats=DoubleTensorType)
    yield classifier("sklearn_logistic_zipmap", logistic(), payments, zipmap=True, config=BATCHED)
    yield classifier("sklearn_logistic_multinomial", logistic(), tiers, config=BATCHED)
    yield classifier("sklearn_logistic_strings", logistic(), named, fixture=True)
    yield classifier("sklearn_one_vs_rest", multiclass.OneVsRestClassifier(logistic()), tiers)
    yield classifier("sklearn_calibrated", CalibratedClassifierCV(linear_model.LogisticRegression(max_iter=1000), cv=2), tiers)
    for opset in (12, 13, 17, 18, 22):
        yield classifier(f"sklearn_logistic_opset{opset}", logistic(), tiers, opset=opset)
    discriminant = discriminant_analysis.QuadraticDiscriminantAnalysis(reg_param=0.1)
    yield classifier("sklearn_quadratic_discriminant", discriminant, tiers)
    # What the model adds to one centre, another takes away: hence the scale.
    yield classifier("sklearn_linear_discriminant", discriminant_analysis.LinearDiscriminantAnalysis(), tiers, scale=16.0)


def other_linear(payments, prices, tiers):
    yield classifier("sklearn_sgd_log", scaled(linear_model.SGDClassifier(loss="log_loss", random_state=1)), tiers)
    # These give scores, not probabilities, far from zero: hence the scale.
    yield classifier("sklearn_sgd_hinge", scaled(linear_model.SGDClassifier(random_state=1)), tiers, scale=100.0)
    yield classifier("sklearn_perceptron", scaled(linear_model.Perceptron(random_state=1)), tiers, scale=100.0)
    yield classifier("sklearn_ridge_classifier", scaled(linear_model.RidgeClassifier()), tiers)
    yield case("sklearn_linear_svc", svm.LinearSVC(), tiers)
    yield regressor("sklearn_linear_regression", linear_model.LinearRegression(), prices)
    yield regressor("sklearn_ridge", scaled(linear_model.Ridge()), prices, fixture=True)
    yield regressor("sklearn_elastic_net", scaled(linear_model.ElasticNet(0.01)), prices)
    yield regressor("sklearn_huber", scaled(linear_model.HuberRegressor()), prices)
    positive = prices.learning(prices.truth + 0.1)
    yield regressor("sklearn_poisson", scaled(linear_model.PoissonRegressor()), positive)
    yield regressor("sklearn_tweedie", scaled(linear_model.TweedieRegressor(power=1.5, link="log")), positive)
    both = prices.learning(np.column_stack([prices.truth, -prices.truth]))
    yield regressor("sklearn_ridge_two_targets", scaled(linear_model.Ridge()), both)


def bayes(data, tiers):
    # Logarithms of likelihoods, about a hundred, become probabilities.
    yield classifier("sklearn_gaussian_bayes", naive_bayes.GaussianNB(), tiers, scale=100.0, fixture=True)
    yield classifier("sklearn_bernoulli_bayes", scaled(naive_bayes.BernoulliNB()), tiers)
    counts = tiers.apply(lambda rows: np.round(rows * 8).astype(np.float32))
    yield classifier("sklearn_multinomial_bayes", naive_bayes.MultinomialNB(), counts, scale=100.0)
    ints = Table(counts.train.astype(np.int64), counts.truth, counts.rows.astype(np.int64))
    yield classifier("sklearn_logistic_integers", linear_model.LogisticRegression(max_iter=500), ints, floats=Int64TensorType)


def vectors(payments, prices, tiers):
    # A vector machine's decision is a sum over all its vectors, each times up to C.
    for name, model in (("rbf", svm.SVC()), ("linear", svm.SVC(kernel="linear")), ("poly", svm.SVC(kernel="poly", degree=2))):
        yield classifier(f"sklearn_svc_{name}", model, tiers, scale=64.0, fixture=name == "rbf")
    yield classifier("sklearn_svc_probability", svm.SVC(probability=True, random_state=1), tiers, scale=64.0)
    yield regressor("sklearn_svr", svm.SVR(), prices, scale=64.0)
    yield classifier("sklearn_neighbors", neighbors.KNeighborsClassifier(5), tiers)
    yield regressor("sklearn_neighbors_regressor", neighbors.KNeighborsRegressor(5), prices)
    # The exporter gives distances by |a|^2 - 2ab + |b|^2, then a root.
    yield case("sklearn_kmeans", KMeans(4, n_init=1, random_state=1), prices, scale=16.0)
    yield case("sklearn_mixture", mixture.GaussianMixture(3, random_state=1), prices, scale=100.0)


def networks(data, prices, tiers):
    stop = {"early_stopping": True, "n_iter_no_change": 3, "random_state": 1}
    network = neural_network.MLPClassifier((32, 16), **stop)
    yield classifier("sklearn_mlp", scaled(network), data.payments, config=BATCHED, fixture=True)
    for name in ("tanh", "logistic"):
        network = neural_network.MLPClassifier((16, 8), activation=name, max_iter=15, random_state=1)
        yield classifier(f"sklearn_mlp_{name}", scaled(network), tiers)
    for opset in (12, 22):
        network = neural_network.MLPClassifier((8,), max_iter=5, random_state=1)
        yield classifier(f"sklearn_mlp_opset{opset}", make_pipeline(MinMaxScaler(), network), tiers, opset=opset)
    network = neural_network.MLPRegressor(hidden_layer_sizes=(32, 16), **stop)
    yield regressor("sklearn_mlp_regressor", scaled(network), prices)
