// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"fmt"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// partsMax is over how many parts the entities of a table are spread: a power of two. A
// part fits into the second-level cache for a few million events, and into memory for
// a few billion.
const partsMax = 128

// table is one of the tables that a service reads, on its way from events and queries
// to results.
type table struct {
	plan.Table
	hasher
	// keys are the places of the table's entities among the service's.
	keys []int
	// events and queries are by key, results by block of rows.
	events, queries, results *shuffle
	layout                   layout
	// replayed says that results come from states, by the order of the log; reaches are then
	// the view's windows.
	replayed bool
	reaches  reaches
	// fixed says of a lookup that its rows have a layout; else see rowTime.
	fixed bool
	// view computes what the service needs of the table's view, used are places in its
	// rows and full the same in rows of the whole view.
	view       *window.View
	used, full []int
	// columns are the names of the numeric columns of the view.
	columns []string
	// delays are, for each late column, the shortest delay of a feature on it: until then it
	// may be amended. Columns that no feature uses have -1.
	delays []int64
	// latenessMax and futureMax bound arrivals of events as the view does, in microseconds.
	latenessMax, futureMax int64
	// only, unless nil, is the one entity whose events are kept.
	only *[2]uint64
	// none is what is known of an entity without events.
	none []float64
}

// hashesIDs says that events have the hash of their id. A lookup of a source without ids
// has the numbers of rows instead, which are only hashed to tell equal rows apart.
func (t *table) hashesIDs() bool { return t.View != nil || t.Lookup.Source.ID >= 0 }

// layout is where the words of an event of a view are, the key first, and of a row of a
// lookup of numbers.
//
//	key, time, id, values, keys [, arrival, order, late]
//
// order is the record's sequence in the log times two, plus one for a record that only
// amends; late has a bit for each late column that the record brings. The words in
// brackets are left out where every event arrived when it happened and nothing is late.
type layout struct {
	key, values, keys int // how many
	bitemporal        bool
}

func (l layout) time() int    { return l.key }
func (l layout) id() int      { return l.key + 1 }
func (l layout) value() int   { return l.key + 2 }
func (l layout) arrival() int { return l.key + 2 + l.values + l.keys }
func (l layout) order() int   { return l.arrival() + 1 }
func (l layout) late() int    { return l.arrival() + 2 }

func (l layout) size() int {
	if l.bitemporal {
		return l.arrival() + 3
	}
	return l.arrival()
}

// newTable prepares a table for a service. logged says that events come from the log.
func newTable(t plan.Table, s *definition.Service, logged, replay bool) (*table, error) {
	p := &table{Table: t, replayed: replay}
	entities := []*definition.Entity(nil)
	if t.View != nil {
		entities = t.View.Entities
	} else {
		entities = t.Lookup.Entities
	}
	p.hasher = newHasher(entities)
	for _, e := range entities {
		p.keys = append(p.keys, slices.Index(s.Entities, e))
	}
	if t.View == nil {
		p.layout = layout{key: p.words, values: len(t.Lookup.Fields), bitemporal: logged || t.Lookup.Source.Arrival >= 0}
		p.fixed = !slices.ContainsFunc(t.Lookup.Fields, func(f int) bool { return t.Lookup.Source.Fields[f].Type == column.String })
		return p, nil
	}
	if err := p.reduce(s); err != nil {
		return nil, fmt.Errorf("view %s: %w", t.Name, err)
	}
	d := p.View.Window.Definition()
	p.columns = d.Columns
	p.latenessMax, p.futureMax = d.LatenessMax.Microseconds(), d.FutureMax.Microseconds()
	p.layout = layout{key: p.words, values: len(d.Columns), keys: len(d.Keys), bitemporal: logged || p.source().Arrival >= 0}
	for i, c := range p.View.Columns {
		p.delays = append(p.delays, shortestDelay(&d, d.Columns[i]))
		p.layout.bitemporal = p.layout.bitemporal || c.LateField >= 0
	}
	return p, nil
}

// keeps says whether the events of an entity are kept.
func (t *table) keeps(key [2]uint64) bool { return t.only == nil || *t.only == key }

// source is where its events come from.
func (t *table) source() *definition.Source {
	if t.View != nil {
		return t.View.Source
	}
	return t.Lookup.Source
}

// shortestDelay is that of the features on a column, in microseconds.
func shortestDelay(d *window.Definition, column string) int64 {
	shortest := int64(-1)
	for _, f := range d.Features {
		if delay := f.Delay.Microseconds(); f.Column == column && (shortest < 0 || delay < shortest) {
			shortest = delay
		}
	}
	return shortest
}

// reduce leaves of the table's view what the service needs.
func (t *table) reduce(s *definition.Service) error {
	d := t.View.Window.Definition()
	needed := func(offset, width int) bool {
		return slices.ContainsFunc(s.Features, func(f definition.Feature) bool {
			return f.Kind == definition.FromView && f.View == t.View.Index && f.Offset >= offset && f.Offset < offset+width
		})
	}
	features, offset, next := []window.Feature(nil), 0, 0
	for _, f := range d.Features {
		width := max(1, f.K)
		for i := range width {
			if needed(offset+i, 1) {
				t.full = append(t.full, offset+i)
				t.used = append(t.used, next+i)
			}
		}
		if needed(offset, width) {
			features = append(features, f)
			next += width
		}
		offset += width
	}
	d.Features = features
	var err error
	if t.replayed { // the states of the whole view, with bounds that depend on all of it
		whole := t.View.Window.Definition()
		t.view, t.used, t.reaches = t.View.Window, t.full, newReaches(&whole)
	} else if t.view, err = window.NewView(d); err != nil {
		return err
	}
	t.none = make([]float64, t.view.Width())
	_, err = t.view.NewAggregator().Read(new(window.State), 0, t.none, make([]window.Status, t.view.Width()))
	return err
}

// querySize is how many words a query takes.
func (t *table) querySize() int {
	if t.replayed {
		return t.words + queryApplied + 1
	}
	return t.words + queryRow + 1
}

// resultSize is how many words the result of a query takes: of a view its row, values and
// statuses, of a lookup see join.
func (t *table) resultSize(result []uint64) int {
	switch {
	case t.replayed && t.View != nil:
		return 1 + len(t.used) + wordsFor(len(t.used)) + 1
	case t.View != nil:
		return 1 + len(t.used) + wordsFor(len(t.used))
	case t.fixed:
		return resultHead + t.layout.values
	}
	return resultHead + 1 + wordsFor(int(result[resultHead]))
}

// putResult writes the result of a query.
func (t *table) putResult(words []uint64, row uint64, values []float64, status []window.Status) {
	words[0] = row
	n := len(t.used)
	packed := bytesOf(words[1+n : 1+n+wordsFor(n)])
	clear(packed)
	for i, u := range t.used {
		words[1+i] = math.Float64bits(values[u])
		packed[i] = byte(status[u])
	}
}
