// SPDX-License-Identifier: Apache-2.0

package window

import (
	"fmt"
	"math"
	"time"
)

// Func is an aggregation.
type Func uint8

const (
	// Count is the number of events, or with a column of its values that are not null.
	Count Func = iota
	// Sum is the sum of a column, correctly rounded; zero for no values.
	Sum
	// Mean is the sum over the count; null for no values.
	Mean
	// Min is the smallest value; null for no values.
	Min
	// Max is the largest value; null for no values.
	Max
	// Variance is the population variance; null for no values.
	Variance
	// StdDev is its square root.
	StdDev
	// First is the value of the earliest event, by time, then id; null for no values.
	First
	// Last is the value of the latest event, by time, then id; null for no values.
	Last
	// LastK is the last K values, latest first; missing ones are null.
	LastK
	// Distinct is the number of distinct values of a column or key column: exact up to
	// Feature.ExactMax, then estimated with a standard error of 1.6 %.
	Distinct
	// Quantile is the smallest value that at least the share Feature.Quantile of the values
	// do not exceed, within 0.8 % for magnitudes of 2^-32 to 2^64; smaller ones are taken for
	// zero, larger ones for 2^64. Null for no values.
	Quantile
	// DecayedSum is the sum of value * 2^(-age/HalfLife), age counted from the end of the
	// window; zero for no values. Values lose what lies below 2^-512.
	DecayedSum

	funcs
)

var funcNames = [funcs]string{"count", "sum", "mean", "min", "max", "variance", "stddev", "first", "last",
	"last_k", "distinct", "quantile", "decayed_sum"}

func (f Func) String() string {
	if f >= funcs {
		return fmt.Sprintf("function %d", uint8(f))
	}
	return funcNames[f]
}

// ParseFunc returns the function of that name, as String spells it.
func ParseFunc(name string) (Func, error) {
	for i, n := range funcNames {
		if n == name {
			return Func(i), nil
		}
	}
	return 0, fmt.Errorf("%w: no function %q", ErrDefinition, name)
}

const (
	day = 24 * time.Hour
	// windowMax is the longest window, and the longest delay.
	windowMax = 20 * 366 * day
	// lastMax bounds K.
	lastMax = 64
	// exactMaxDefault and exactMaxLimit bound an exact distinct count.
	exactMaxDefault = 128
	exactMaxLimit   = 4096
	// halfLivesMax is how many half-lives a window and its hop may span; it keeps the
	// weights inside the exact sum.
	halfLivesMax = 512
)

// Feature is one aggregation over one window.
type Feature struct {
	// Name names the feature within its view.
	Name string
	// Func is the aggregation.
	Func Func
	// Column is the column aggregated: one of the view's Columns, or for Distinct also one of
	// its Keys. Empty for a count of events.
	Column string
	// Window is the length of the window, in whole microseconds; at most 20 years.
	Window time.Duration
	// Hop is the step in which the tail of the window moves, 1 µs to Window. Zero means
	// DefaultHop(Window).
	Hop time.Duration
	// Delay shifts the window back; at most 20 years.
	Delay time.Duration
	// K is the number of values of LastK, 1 to 64; zero otherwise.
	K int
	// Quantile is the share of Quantile, 0 to 1; zero otherwise.
	Quantile float64
	// HalfLife is that of DecayedSum, at least (Window+Hop)/512; zero otherwise.
	HalfLife time.Duration
	// ExactMax is up to how many values Distinct counts exactly, at most 4096; zero means 128.
	ExactMax int
	// Default is the value where there is none.
	Default float64
}

// DefaultHop returns the longest divisor of a day in whole seconds that is at most w/24, and
// at least one second.
func DefaultHop(w time.Duration) time.Duration {
	const seconds = int64(day / time.Second)
	for n := int64(1); n < seconds; n++ {
		if seconds%n == 0 && day/time.Duration(n) <= w/24 {
			return day / time.Duration(n)
		}
	}
	return min(time.Second, w)
}

// width is the number of values the feature takes up.
func (f *Feature) width() int {
	if f.Func == LastK {
		return f.K
	}
	return 1
}

func (f *Feature) ensureDefaults() {
	if f.Hop == 0 {
		f.Hop = DefaultHop(f.Window)
	}
	if f.Func == Distinct && f.ExactMax == 0 {
		f.ExactMax = exactMaxDefault
	}
}

// problems reports all that is wrong with the feature by itself.
func (f *Feature) problems() (all []error) {
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			all = append(all, fmt.Errorf("feature %q: "+format, append([]any{f.Name}, args...)...))
		}
	}
	bad(f.Name == "", "no name")
	bad(f.Func >= funcs, "no such function %d", f.Func)
	bad(f.Window < time.Microsecond || f.Window > windowMax || f.Window%time.Microsecond != 0,
		"window %v is not 1µs to %v in whole microseconds", f.Window, windowMax)
	bad(f.Hop < time.Microsecond || f.Hop > f.Window || f.Hop%time.Microsecond != 0,
		"hop %v is not 1µs to the window in whole microseconds", f.Hop)
	bad(f.Delay < 0 || f.Delay > windowMax || f.Delay%time.Microsecond != 0,
		"delay %v is not 0 to %v in whole microseconds", f.Delay, windowMax)
	bad(f.Func == LastK && (f.K < 1 || f.K > lastMax), "k %d is not 1 to %d", f.K, lastMax)
	bad(f.Func != LastK && f.K != 0, "k is for last_k only")
	bad(f.Func == Quantile && !(f.Quantile >= 0 && f.Quantile <= 1), "quantile %v is not 0 to 1", f.Quantile)
	bad(f.Func != Quantile && f.Quantile != 0, "quantile is for quantile only")
	bad(f.Func == Distinct && (f.ExactMax < 1 || f.ExactMax > exactMaxLimit), "exact max %d is not 1 to %d",
		f.ExactMax, exactMaxLimit)
	bad(f.Func != Distinct && f.ExactMax != 0, "exact max is for distinct only")
	bad(f.Func == DecayedSum && (f.HalfLife%time.Microsecond != 0 || f.HalfLife > windowMax ||
		f.HalfLife < max(time.Microsecond, (f.Window+f.Hop)/halfLivesMax+1)),
		"half-life %v is not (window+hop)/%d to %v in whole microseconds", f.HalfLife, halfLivesMax, windowMax)
	bad(f.Func != DecayedSum && f.HalfLife != 0, "half-life is for decayed_sum only")
	bad(math.IsInf(f.Default, 0), "default is infinite")
	return all
}
