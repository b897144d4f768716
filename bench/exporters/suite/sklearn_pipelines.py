# SPDX-License-Identifier: Apache-2.0
"""What scikit-learn does to features before a model sees them."""

import numpy as np
import pandas
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn import preprocessing
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline

from .case import Case
from .data import Table, quarter
from .sklearn_cases import answers, case, classifier, export
from .sklearn_models import TIERS

# Terminals are called by the quarter of the town that they are in.
QUARTERS = np.array(["north", "east", "south", "west", "harbour", "old town", "airport", "fair"])

# The inputs of a graph over columns.
COLUMNS = {
    "amount": FloatTensorType,
    "mean_amount": FloatTensorType,
    "hour": Int64TensorType,
    "quarter": StringTensorType,
    "day": StringTensorType,
}


def cases(data):
    yield from transformers(data)
    yield from pipelines(data)
    yield from columns(data)


def transformers(data):
    """Each alone, so that its own output is what is compared."""
    prices, payments = data.electricity, data.payments
    for name, model in {
        "robust": preprocessing.RobustScaler(),
        "max_abs": preprocessing.MaxAbsScaler(),
        "min_max": preprocessing.MinMaxScaler(clip=True),
        "normalizer": preprocessing.Normalizer(),
        "normalizer_l1": preprocessing.Normalizer("l1"),
        "binarizer": preprocessing.Binarizer(threshold=0.4),
        "bins": preprocessing.KBinsDiscretizer(4, encode="onehot-dense", quantile_method="averaged_inverted_cdf"),
        "bins_ordinal": preprocessing.KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf"),
        "polynomial": preprocessing.PolynomialFeatures(2),
        "power": preprocessing.PowerTransformer(),
        "quantile": preprocessing.QuantileTransformer(n_quantiles=20),
        "pca": PCA(3),
        "svd": TruncatedSVD(3, random_state=1),
    }.items():
        # Near the mean, a scaled or rotated feature is the difference of larger ones.
        yield case(f"sklearn_{name}", model, prices if name != "power" else prices.select([0, 1, 3, 4]), scale=16.0 if name in ("pca", "power", "quantile") else 4.0)
    missing = data.missing()
    for strategy in ("mean", "most_frequent"):
        yield case(f"sklearn_imputer_{strategy}", SimpleImputer(strategy=strategy), missing)
    ordinals = payments.select([1, 2, 3]).apply(np.int64)
    onehot = preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    yield case("sklearn_one_hot_integers", onehot, ordinals, floats=Int64TensorType)


def pipelines(data):
    tiers = data.electricity.learning(quarter(data.electricity.truth))
    linear = LogisticRegression(max_iter=500)
    union = FeatureUnion([("axes", PCA(2)), ("best", SelectKBest(k=2))])
    yield classifier("sklearn_union", make_pipeline(union, linear), tiers, fixture=True)
    steps = [SimpleImputer(), preprocessing.StandardScaler(), preprocessing.PolynomialFeatures(2, include_bias=False), linear]
    yield classifier("sklearn_imputed_polynomial", make_pipeline(*steps), data.missing(), scale=16.0)


def frames(data):
    """The payments as a frame of typed columns."""

    def frame(rows):
        return pandas.DataFrame(
            {
                "amount": rows[:, 0],
                "mean_amount": rows[:, 5],
                "hour": rows[:, 1].astype(np.int64),
                "quarter": QUARTERS[rows[:, 8].astype(int) % 8],
                "day": np.where(rows[:, 3] > 0, "weekend", "weekday"),
            }
        )

    return Table(frame(data.categories.train), data.categories.truth, frame(data.categories.rows))


def columns(data):
    """One input for each column, of three datatypes; strings among the labels too."""
    table = frames(data)
    ignore = {"handle_unknown": "ignore", "sparse_output": False}
    wide = ColumnTransformer(
        [
            ("amounts", make_pipeline(SimpleImputer(), preprocessing.StandardScaler()), ["amount", "mean_amount"]),
            ("hour", preprocessing.OneHotEncoder(**ignore), ["hour"]),
            ("place", preprocessing.OneHotEncoder(**ignore), ["quarter", "day"]),
        ]
    )
    unknown = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
    narrow = ColumnTransformer(
        [("amounts", "passthrough", ["amount"]), ("place", preprocessing.OrdinalEncoder(**unknown), ["quarter", "day"])]
    )
    linear, small = LogisticRegression(max_iter=500), {"n_estimators": 8, "max_depth": 4, "random_state": 1}
    yield column_case("sklearn_columns_logistic", make_pipeline(wide, linear), table, fixture=True)
    named = table.learning(np.array(["fair", "fraud"])[table.truth])
    yield column_case("sklearn_columns_labels", make_pipeline(wide, linear), named)
    yield column_case("sklearn_columns_zipmap", make_pipeline(wide, linear), table, zipmap=True)
    yield column_case("sklearn_columns_forest", make_pipeline(narrow, RandomForestClassifier(**small)), table, exact=True, fixture=True)
    yield column_case("sklearn_columns_boosting", make_pipeline(narrow, GradientBoostingClassifier(**small)), table)
    table.rows.loc[::7, "quarter"] = "elsewhere"  # of which no encoder knows
    yield column_case("sklearn_columns_unknown", make_pipeline(wide, linear), table)


def column_case(name, model, table, zipmap=False, **how):
    model.fit(table.train, table.truth)
    columns = model.steps[0][1].transformers
    used = [column for column in COLUMNS if any(column in names for _, _, names in columns)]
    graph = export(model, [(column, COLUMNS[column]([None, 1])) for column in used], {"zipmap": zipmap})
    inputs = {column: table.rows[[column]].to_numpy() for column in used}
    return Case(name, "sklearn", graph, inputs, answers(model, graph, table.rows), **how)
