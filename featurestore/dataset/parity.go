// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// Parity says how served vectors compare with what the log says they should have been.
type Parity struct {
	// Vectors were found, of which Compared were computed again.
	Vectors, Compared int64
	// Skipped counts those that could not be, by reason.
	Skipped map[string]int64
	// Mismatched vectors have a feature that differs.
	Mismatched int64
	// Features are those of all services.
	Features []FeatureParity
}

// FeatureParity is the parity of a feature of a service.
type FeatureParity struct {
	Service, Feature string
	// Compared values were served; Mismatched ones differ, the three below included. Equal
	// means the same bits, or no value both times, and the same status.
	Compared, Mismatched int64
	// Missing had no value though there should have been one, Extra the other way round,
	// and Status were right but for the status.
	Missing, Extra, Status int64
	// DifferenceMax is the largest difference of two values.
	DifferenceMax float64
	// Inexact values, mismatched or not, are of windows whose edge was missed because a
	// state had outgrown its bounds; see window.State.
	Inexact int64
	// Examples are some of the mismatches, by place in the log.
	Examples []Mismatch
}

// Mismatch is a served value that is not what it should have been.
type Mismatch struct {
	// Stream, ID and Sequence say where the vector is in the log; At is the moment that
	// was asked for, in microseconds, and Keys the entities.
	Stream, ID string
	Sequence   uint64
	At         int64
	Keys       []string
	// Served and Computed are the values, as text.
	Served, Computed             string
	ServedStatus, ComputedStatus window.Status
}

// Rate is the share of values that match, 1 for none.
func (f *FeatureParity) Rate() float64 {
	if f.Compared == 0 {
		return 1
	}
	return 1 - float64(f.Mismatched)/float64(f.Compared)
}

// examplesDefault is how many mismatches of a feature are listed.
const examplesDefault = 5

// Why a vector was not compared.
const (
	skipService  = "service is not defined any more"
	skipVersion  = "service was defined otherwise"
	skipRecord   = "record of an event is not in the log"
	skipRetained = "events it rests on may be older than what the log keeps"
	skipCorrupt  = "vector cannot be decoded"
	skipLogged   = "vector was logged too long after it was served"
	skipSample   = "entity is not in the sample"
	skipPast     = "asked for a moment before events that had arrived, for which a state may have dropped what it would need"
)

// skip counts vectors that cannot be compared.
func (p *Parity) skip(reason string, n int64) {
	if n == 0 {
		return
	}
	if p.Skipped == nil {
		p.Skipped = map[string]int64{}
	}
	p.Skipped[reason] += n
}

// served is a vector as it was logged.
type served struct {
	numbers    []float64
	texts      []string
	status     []window.Status
	stream, id string
	sequence   uint64
	at         int64
	keys       func() []string
}

// comparer compares vectors of one service.
type comparer struct {
	service  *definition.Service
	examples int
	features []FeatureParity
}

func newComparer(s *definition.Service, examples int) *comparer {
	c := &comparer{service: s, examples: examples}
	for i := range s.Features {
		c.features = append(c.features, FeatureParity{Service: s.Name, Feature: s.Features[i].Name})
	}
	return c
}

// excused says whether a vector differs from row i of what was computed, but in suspect
// features alone.
func (c *comparer) excused(v *served, out *plan.Vectors, row int, suspect []bool) bool {
	numbers, status, texts := out.Row(row), out.StatusRow(row), out.TextRow(row)
	differs, text := false, 0
	for i, x := range v.numbers {
		y := numbers[i]
		same := (math.Float64bits(x) == math.Float64bits(y) || x != x && y != y) && v.status[i] == status[i]
		if c.service.Features[i].Type == column.String {
			same = same && v.texts[text] == texts[text]
			text++
		}
		if !same && !suspect[i] {
			return false
		}
		differs = differs || !same
	}
	return differs
}

// compare compares a vector with row i of what was computed, and says whether they are
// equal. inexact says that an edge of a window was missed.
func (c *comparer) compare(v *served, out *plan.Vectors, row int, inexact bool) bool {
	numbers, status, texts := out.Row(row), out.StatusRow(row), out.TextRow(row)
	same, text := true, 0
	for i := range c.features {
		f := &c.features[i]
		f.Compared++
		if inexact {
			f.Inexact++
		}
		isText := c.service.Features[i].Type == column.String
		m := Mismatch{ServedStatus: v.status[i], ComputedStatus: status[i]}
		if isText {
			m.Served, m.Computed = v.texts[text], texts[text]
			text++
		} else {
			m.Served, m.Computed = fmt.Sprint(v.numbers[i]), fmt.Sprint(numbers[i])
		}
		if c.sameValue(f, v.numbers[i], numbers[i], isText, &m) && v.status[i] == status[i] {
			continue
		}
		same = false
		c.note(f, v, &m)
	}
	return same
}

// sameValue compares values and counts how they differ.
func (c *comparer) sameValue(f *FeatureParity, served, computed float64, isText bool, m *Mismatch) bool {
	switch {
	case isText && m.Served == m.Computed || !isText && (math.Float64bits(served) == math.Float64bits(computed) || served != served && computed != computed):
		if m.ServedStatus != m.ComputedStatus {
			f.Status++
		}
		return true
	case isText && m.Served == "" || !isText && served != served:
		f.Missing++
	case isText && m.Computed == "" || !isText && computed != computed:
		f.Extra++
	case !isText:
		f.DifferenceMax = max(f.DifferenceMax, math.Abs(served-computed))
	}
	return false
}

func (c *comparer) note(f *FeatureParity, v *served, m *Mismatch) {
	f.Mismatched++
	if len(f.Examples) >= c.examples && v.sequence > f.Examples[len(f.Examples)-1].Sequence {
		return
	}
	m.Stream, m.ID, m.Sequence, m.At, m.Keys = v.stream, v.id, v.sequence, v.at, v.keys()
	f.Examples = append(f.Examples, *m)
	slices.SortFunc(f.Examples, func(a, b Mismatch) int { return cmp.Compare(a.Sequence, b.Sequence) })
	f.Examples = f.Examples[:min(len(f.Examples), c.examples)]
}

// add adds the counts of another comparer of the same service.
func (c *comparer) add(o *comparer) {
	for i := range c.features {
		f, g := &c.features[i], &o.features[i]
		f.Compared, f.Mismatched, f.Missing, f.Extra = f.Compared+g.Compared, f.Mismatched+g.Mismatched, f.Missing+g.Missing, f.Extra+g.Extra
		f.Status, f.Inexact, f.DifferenceMax = f.Status+g.Status, f.Inexact+g.Inexact, max(f.DifferenceMax, g.DifferenceMax)
		f.Examples = append(f.Examples, g.Examples...)
		slices.SortFunc(f.Examples, func(a, b Mismatch) int { return cmp.Compare(a.Sequence, b.Sequence) })
		f.Examples = f.Examples[:min(len(f.Examples), c.examples)]
	}
}

// keysOf are table keys for people.
func keysOf(tables []plan.Table, places []int, keys [][]byte) (all []string) {
	for i, key := range keys {
		t := &tables[places[i]]
		all = append(all, t.Name+" "+plan.FormatKey(entitiesOf(t), key))
	}
	return all
}

// entitiesOf are the entities of a table.
func entitiesOf(t *plan.Table) []*definition.Entity {
	if t.View != nil {
		return t.View.Entities
	}
	return t.Lookup.Entities
}
