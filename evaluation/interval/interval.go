// SPDX-License-Identifier: Apache-2.0

// Package interval says how sure a metric is: intervals by the bootstrap, tests that
// compare two models on the same rows, and corrections for many tests.
//
// The bootstrap draws as many units as there are, with replacement. A unit is a row, or a
// cluster of rows that are not independent, such as all payments of a customer: rows of a
// cluster come and go together. With strata, each keeps its number of units. All
// statistics are computed on the same draws, so that their differences are paired.
//
// Draws are exact: a unit's count comes from Poisson(1), and then as many units, picked at
// random, are added or taken away as the total is off. Poisson counts with a given total are
// multinomial, and one more or one less keeps them so. This costs what Poisson counts
// alone cost (a table look-up for a row), but sums have the right spread, and no draw is
// empty.
//
// Sources: Efron, Better bootstrap confidence intervals, JASA 1987 (BCa); Hesterberg, What
// teachers should know about the bootstrap, American Statistician 2015 (wider percentiles);
// Satterthwaite, Biometrics Bulletin 1946; Field and Welsh, Bootstrapping clustered data,
// JRSS B 2007; DeLong, DeLong and Clarke-Pearson, Biometrics
// 1988; Sun and Xu, Fast implementation of DeLong's algorithm, IEEE SPL 2014; Obuchowski,
// Nonparametric analysis of clustered ROC curve data, Biometrics 1997; McNemar,
// Psychometrika 1947; Fagerland, Lydersen and Laake, The McNemar test for binary
// matched-pairs data, BMC MRM 2013; Wilson, JASA 1927; Holm, Scand. J. Statistics 1979;
// Schuirmann, J. Pharmacokinetics and Biopharmaceutics 1987 (two one-sided tests).
//
// Concurrency: functions may be called at the same time. Bootstrap starts goroutines that
// have ended when it returns. Draws do not change and may be shared.
package interval

import "errors"

var (
	// ErrDesign means that a Design or Options are not sound: lengths that differ, a level
	// outside 0 to 1, more draws than DrawsMax.
	ErrDesign = errors.New("invalid bootstrap")
	// ErrData means that a test cannot be made of the data: one class only, a score that is
	// NaN, lengths that differ.
	ErrData = errors.New("invalid data")
)

// Bounds of a bootstrap.
const (
	// DrawsMax is the most draws.
	DrawsMax = 100_000
	// ValuesMax is the most values that are kept, draws times statistics (8 bytes each).
	ValuesMax = 1 << 26
	// RowsMax is the most rows, as rows are numbered by int32.
	RowsMax = 1<<31 - 1
)
