// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"math"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// A state drops events that lie outside all windows at its newest arrival, when it needs the
// memory. A vector that was asked for an earlier moment may have met a state with or
// without them, so values of windows that reach back that far prove nothing: they are
// suspect. All others do.

// reaches are the windows of a view, by the place of the value that they give.
type reaches []reach

type reach struct{ window, hop, delay int64 }

func newReaches(d *window.Definition) (r reaches) {
	for _, f := range d.Features {
		for range max(1, f.K) {
			r = append(r, reach{f.Window.Microseconds(), f.Hop.Microseconds(), f.Delay.Microseconds()})
		}
	}
	return r
}

// tail is where the window begins at a time.
func (r *reach) tail(at int64) int64 {
	t := at - r.delay - r.window
	if t >= 0 {
		return t / r.hop * r.hop
	}
	return -((-t + r.hop - 1) / r.hop * r.hop)
}

// expiry is the time up to which a state may have dropped events that had its newest
// arrival at now.
func (r reaches) expiry(now int64) int64 {
	oldest := int64(math.MaxInt64)
	for i := range r {
		oldest = min(oldest, r[i].tail(now))
	}
	return oldest
}

// suspects marks the features of a service that may rest on dropped events of a table: those
// whose window at a moment begins before expiry.
func suspects(s *definition.Service, t *plan.Table, r reaches, at, expiry int64, marks []bool) {
	for i := range s.Features {
		f := &s.Features[i]
		if f.Kind == definition.FromView && f.View == t.View.Index && r[f.Offset].tail(at) < expiry {
			marks[i] = true
		}
	}
	any := false
	for i := range s.Features {
		if any = any || marks[i]; any && s.Features[i].Kind == definition.FromExpression {
			marks[i] = true // it may read one of those before it
		}
	}
}
