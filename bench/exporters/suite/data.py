# SPDX-License-Identifier: Apache-2.0
"""The tables that the models learn from: card payments and an electricity market.

Each has rows that no model was trained on, whose predictions are compared.
"""

import dataclasses

import numpy as np
import pyarrow.parquet

PAYMENTS = 50_000
HELD_OUT = 5_000
TRAIN = 3_000  # where no model asks for all that were not held out
TEST = 100


@dataclasses.dataclass
class Table:
    """Features of the training and the test rows, FP32 unless categories, and what is
    to be learned of the training rows."""

    train: np.ndarray
    truth: np.ndarray
    rows: np.ndarray

    def first(self, count):
        return Table(self.train[:count], self.truth[:count], self.rows)

    def select(self, columns):
        return Table(self.train[:, columns], self.truth, self.rows[:, columns])

    def learning(self, truth):
        return Table(self.train, truth, self.rows)

    def apply(self, function):
        return Table(function(self.train), self.truth, function(self.rows))


def so_far(key, value):
    """For each row, the sum of value over the rows up to it that have its key."""
    order = np.argsort(key, kind="stable")
    total = np.cumsum(value[order])
    starts = np.flatnonzero(np.r_[True, np.diff(key[order]) != 0])
    before = np.r_[0, total][starts]
    sums = np.empty(len(key))
    sums[order] = total - np.repeat(before, np.diff(np.r_[starts, len(key)]))
    return sums


def read_payments(path):
    """The last payments, in time order."""
    names = ["event_timestamp", "customer_id", "terminal_id", "amount", "is_fraud"]
    table = pyarrow.parquet.read_table(path, columns=names)
    table = table.slice(table.num_rows - PAYMENTS)
    return {name: table[name].to_numpy() for name in names}


def payment_features(payments):
    """What a server could know at the time of each payment."""
    time, amount, customer = payments["event_timestamp"], payments["amount"], payments["customer_id"]
    hour = time.astype("datetime64[h]").astype(np.int64) % 24
    weekday = (time.astype("datetime64[D]").astype(np.int64) + 3) % 7
    count = so_far(customer, np.ones(PAYMENTS))
    mean = so_far(customer, amount) / count
    terminal_count = so_far(payments["terminal_id"], np.ones(PAYMENTS))
    columns = [amount, hour, hour <= 6, weekday >= 5, count, mean, amount / mean, terminal_count]
    return np.column_stack(columns).astype(np.float32)


class Data:
    """All tables, from the folder of data sets."""

    def __init__(self, folder):
        payments = read_payments(folder / "card-transactions" / "transactions.parquet")
        rows, truth = payment_features(payments), payments["is_fraud"].astype(np.int64)
        # All frauds and some of the rest, so that both labels are among the predictions.
        frauds_first = np.argsort(-truth[-HELD_OUT:], kind="stable")
        test = PAYMENTS - HELD_OUT + frauds_first[:TEST]
        self.all_payments = Table(rows[:-HELD_OUT], truth[:-HELD_OUT], rows[test])

        # All frauds and some of the rest, so that small models learn from small samples.
        shuffled = np.random.default_rng(1).permutation(PAYMENTS - HELD_OUT)
        train = shuffled[np.argsort(-truth[shuffled], kind="stable")[:TRAIN]]
        self.payments = Table(rows[train], truth[train], rows[test])
        # With a ninth column, sixteen groups of terminals.
        grouped = np.column_stack([rows, payments["terminal_id"] % 16]).astype(np.float32)
        self.categories = Table(grouped[train], truth[train], grouped[test])
        self.electricity = electricity(folder / "electricity" / "elec.csv")

    def missing(self):
        """Payments whose customer or terminal is hardly known lack what is known of them."""

        def forget(rows):
            rows = rows.copy()
            rows[rows[:, 4] <= 2, 5:7] = np.nan
            rows[rows[:, 7] <= 1, 7] = np.nan
            return rows

        return self.payments.apply(forget)


def electricity(path):
    """Half-hours of the market: period, demand, the neighbour's price and demand, and
    what is transferred. What is learned is the price, scaled to about one."""
    table = np.loadtxt(path, delimiter=",", skiprows=1, max_rows=40_000)
    table = table[np.random.default_rng(2).permutation(len(table))[: TRAIN + TEST]]
    rows, price = table[:, [0, 2, 3, 4, 5]].astype(np.float32), table[:, 1] * 20
    return Table(rows[:-TEST], price[:-TEST], rows[-TEST:])


def quarter(values):
    """Which quarter of all values each is in."""
    return np.digitize(values, np.quantile(values, [0.25, 0.5, 0.75])).astype(np.int64)
