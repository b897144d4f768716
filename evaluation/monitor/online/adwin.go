// SPDX-License-Identifier: Apache-2.0

// Package online finds changes of a mean row by row, for streams whose labels come at once.
//
// Adwin keeps a window that grows while its mean stays, and drops its older part as soon as
// the means of two parts differ by more than chance allows. It takes memory and time that
// grow with the logarithm of the window: the window is cut in buckets, of which at most
// bucketsOfSize have the same number of rows, each size being twice the one before.
//
// Rows are assumed to be independent given their mean.
//
// Source: Bifet and Gavaldà, Learning from time-changing data with adaptive windowing, SDM
// 2007; the bound is their normal one, at delta divided by the logarithm of the window.
//
// Concurrency: an Adwin belongs to one goroutine.
package online

import (
	"errors"
	"fmt"
	"math"
)

const (
	// bucketsOfSize is how many buckets have the same size.
	bucketsOfSize = 5
	// every is after how many rows parts are compared.
	every = 32
	// partMin is the least number of rows of a part.
	partMin = 30
	// sizesMax bounds the sizes, and with them the window: 2^40 rows.
	sizesMax = 40
)

// ErrValue means that a value or an option is out of its bounds.
var ErrValue = errors.New("invalid value")

// Bucket is a run of rows.
type Bucket struct{ Rows, Sum, Squares float64 }

// Adwin watches a stream of numbers from 0 to 1, such as errors. The fields are exported to
// be stored.
type Adwin struct {
	Delta   float64
	Buckets []Bucket // the oldest first, sizes falling
	Seen    int64
}

// NewAdwin returns a detector that takes a change for one that is none with a chance of at
// most about delta each time the window is looked at in full; 0 is 0.002.
func NewAdwin(delta float64) (*Adwin, error) {
	if delta == 0 {
		delta = 0.002
	}
	if !(delta > 0 && delta < 1) {
		return nil, fmt.Errorf("%w: delta is %v and has to be between 0 and 1", ErrValue, delta)
	}
	return &Adwin{Delta: delta}, nil
}

// Change is a change that was found.
type Change struct {
	// Before and After are the means of the part that was dropped and of what is left.
	Before, After         float64
	RowsBefore, RowsAfter float64
}

// Add adds a value. It returns the change if there is one, nil otherwise.
func (a *Adwin) Add(v float64) (*Change, error) {
	if !(v >= 0 && v <= 1) {
		return nil, fmt.Errorf("%w: %v is not in 0 to 1", ErrValue, v)
	}
	a.Seen++
	a.Buckets = append(a.Buckets, Bucket{1, v, v * v})
	a.compress()
	if a.Seen%every != 0 {
		return nil, nil
	}
	return a.cut(), nil
}

// compress joins the two oldest buckets of a size of which there are too many.
func (a *Adwin) compress() {
	end := len(a.Buckets)
	for end > 0 {
		begin := end
		for begin > 0 && a.Buckets[begin-1].Rows == a.Buckets[end-1].Rows {
			begin--
		}
		if end-begin <= bucketsOfSize {
			return
		}
		if a.Buckets[begin].Rows >= 1<<sizesMax {
			a.Buckets = append(a.Buckets[:begin], a.Buckets[begin+1:]...)
			return
		}
		x, y := a.Buckets[begin], a.Buckets[begin+1]
		a.Buckets[begin] = Bucket{x.Rows + y.Rows, x.Sum + y.Sum, x.Squares + y.Squares}
		a.Buckets = append(a.Buckets[:begin+1], a.Buckets[begin+2:]...)
		end = begin + 1
	}
}

func (a *Adwin) total() (t Bucket) {
	for _, b := range a.Buckets {
		t = Bucket{t.Rows + b.Rows, t.Sum + b.Sum, t.Squares + b.Squares}
	}
	return t
}

// cut drops older parts as long as two parts differ.
func (a *Adwin) cut() *Change {
	var found *Change
	for {
		all := a.total()
		mean := all.Sum / all.Rows
		variance := math.Max(0, all.Squares/all.Rows-mean*mean)
		level := math.Log(2 * math.Log(math.Max(math.E, all.Rows)) / a.Delta)
		var before Bucket
		at := -1
		for i, b := range a.Buckets {
			before = Bucket{before.Rows + b.Rows, before.Sum + b.Sum, 0}
			after := all.Rows - before.Rows
			if before.Rows < partMin || after < partMin {
				continue
			}
			m := 1/before.Rows + 1/after
			bound := math.Sqrt(2*m*variance*level) + 2./3*m*level
			if math.Abs(before.Sum/before.Rows-(all.Sum-before.Sum)/after) > bound {
				at = i
				if found == nil {
					found = &Change{RowsBefore: before.Rows, Before: before.Sum / before.Rows}
				}
				found.RowsAfter, found.After = after, (all.Sum-before.Sum)/after
				break
			}
		}
		if at < 0 {
			return found
		}
		a.Buckets = append(a.Buckets[:0], a.Buckets[at+1:]...)
	}
}

// Mean is that of the window, and Rows how many rows it has; NaN without rows.
func (a *Adwin) Mean() (mean, rows float64) {
	t := a.total()
	return t.Sum / t.Rows, t.Rows
}
