// SPDX-License-Identifier: Apache-2.0

// Package vectors says how the features that decisions were made with are distributed: over
// the last day, and over the week before it.
//
// It looks at a sample of the vectors in the event log, never at the path of a request. Both
// sides are read in strata: twelve of two hours each, which have the same hours of the day,
// those of the week before spread over all its days. Of each the first rows are read, at
// most stratumRows. So a night is compared with nights; a weekday is still compared with
// the whole week.
//
// Rows of one entity are alike, which tests do not allow for. They are made with one row of
// each entity (drift.Thin); distributions shown are of all rows.
//
// Invariants:
//
//   - V1: a look reads at most 2 * strata * stratumRows rows, and holds at most valuesMax
//     values of features.
//   - V2: looks are made one at a time, and not again before keepFor has passed.
//   - V3: a vector of another definition of its service than today's is left out, and
//     counted.
//
// Sources: those of package drift.
//
// Concurrency: a Sampler may be used from many goroutines; what it returns does not change.
package vectors

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor/profile"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// What is compared, and how much of it is read.
const (
	// Span is the last day, Before the week before it.
	Span   = 24 * time.Hour
	Before = 7 * Span

	strata      = 12
	stratum     = Span / strata
	stratumRows = 400
	valuesMax   = 2_000_000
	keepFor     = 20 * time.Second
	// textBytesMax bounds a category.
	textBytesMax = 64
)

// Store is what has the vectors; a feature store.
type Store interface {
	Catalog() *definition.Catalog
	Log() *offline.Log
	// Now is in microseconds since 1970.
	Now() int64
}

// Sampler looks at vectors now and then.
type Sampler struct {
	store  Store
	stream string
	clock  func() time.Time
	mu     struct {
		sync.Mutex
		last *Look
		at   time.Time
	}
}

// New makes a sampler of the vectors of a stream. The clock, of the machine, says how old a
// look is.
func New(s Store, stream string, clock func() time.Time) *Sampler {
	return &Sampler{store: s, stream: stream, clock: clock}
}

// Look is what a sampler saw.
type Look struct {
	// At is now, by the clock of the store.
	At       time.Time
	Services []*Service // in the order of the catalog
	// Sources say how fresh the events are, in the order of the catalog.
	Sources []Freshness
}

// Service are the vectors of a service.
type Service struct {
	*definition.Service
	// Now and Before count rows read, Other those of another definition.
	Now, Before, Other int
	// Cut says that there were more rows than were read.
	Cut      bool
	Features []*Feature
}

// Find is the service of a name, nil if there is none.
func (l *Look) Find(service string) *Service {
	for _, s := range l.Services {
		if s.Name == service {
			return s
		}
	}
	return nil
}

// Feature is the feature of a name, nil if there is none.
func (s *Service) Feature(name string) *Feature {
	for _, f := range s.Features {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// Look is the newest look, which is made if the last one is old. Errors are those of the
// log; a look that failed is not kept.
func (s *Sampler) Look(ctx context.Context) (*Look, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.last != nil && s.clock().Sub(s.mu.at) < keepFor {
		return s.mu.last, nil
	}
	l, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.last, s.mu.at = l, s.clock()
	return l, nil
}

func (s *Sampler) look(ctx context.Context) (*Look, error) {
	now := s.store.Now()
	r := &reader{ctx: ctx, log: s.store.Log(), stream: s.stream, services: map[string]*rows{}}
	l := &Look{At: time.UnixMicro(now).UTC()}
	width := 1
	for _, service := range s.store.Catalog().Services {
		r.services[service.Name] = newRows(service)
		width = max(width, len(service.Features))
	}
	r.limit = min(stratumRows, max(valuesMax/(2*strata*width), 1))
	for i := range strata {
		day := now - Span.Microseconds()
		if err := errors.Join(r.read(side{old: true, place: i}, day-Before.Microseconds()+int64(i)*(Before/strata).Microseconds()),
			r.read(side{place: i}, day+int64(i)*stratum.Microseconds())); err != nil {
			return nil, err
		}
	}
	for _, service := range s.store.Catalog().Services {
		l.Services = append(l.Services, r.services[service.Name].sum(l.At))
	}
	var err error
	l.Sources, err = freshness(ctx, s.store, now)
	return l, err
}

// side is a stratum of the last day, or of the week before it.
type side struct {
	old   bool
	place int
}

// reader reads strata.
type reader struct {
	ctx      context.Context
	log      *offline.Log
	stream   string
	services map[string]*rows
	limit    int
	logged   plan.LoggedVector
}

// read reads the first rows of a stratum. A stream that nobody declared has none.
func (r *reader) read(at side, from int64) error {
	q := offline.Query{Stream: r.stream, Columns: []string{"score"}, Versions: offline.AllVersions, From: max(from, 0), To: from + stratum.Microseconds()}
	for _, c := range plan.VectorColumns() {
		q.Columns = append(q.Columns, c.Name)
	}
	if q.To <= q.From {
		return nil
	}
	scan, err := r.log.Scan(r.ctx, q)
	if errors.Is(err, offline.ErrUnknownStream) || errors.Is(err, offline.ErrInvalidQuery) {
		return nil // nothing was decided yet, or not with features
	} else if err != nil {
		return err
	}
	n := 0
	for n < r.limit && scan.Next() {
		r.take(at, scan.Record())
		n++
	}
	if n == r.limit {
		for _, s := range r.services {
			s.cut = true
		}
	}
	return errors.Join(scan.Err(), scan.Close())
}

// take adds a row to those of its service.
func (r *reader) take(at side, record *offline.Record) {
	values := record.Values
	if values[1].IsNull() {
		return // answered without features
	}
	s := r.services[values[1].Text()]
	if s == nil {
		return
	}
	v := &r.logged
	if err := plan.DecodeVector(values[1:], v); err != nil || v.Version != s.version || len(v.Numbers) != len(s.service.Features) || len(v.Texts) != s.texts {
		s.other++
		return
	}
	score := math.NaN()
	if !values[0].IsNull() {
		score = values[0].Float64()
	}
	s.add(at, v, profile.Hash(record.ID), score)
}

// rows are the rows of a service while they are read: first those of the week before.
type rows struct {
	service *definition.Service
	version string
	texts   int // how many features are texts
	other   int
	cut     bool
	sides   [2]sideRows // the last day, the week before
}

// sideRows are columns of values.
type sideRows struct {
	rows     int
	entities []int64
	keys     []uint64 // hashes of ids
	scores   []float64
	numbers  [][]float64 // by feature; nil for texts
	texts    [][]string  // by feature; nil for numbers
	missing  []int       // by feature
	// strata counts rows and, by feature, missing values of each.
	strata [strata]struct {
		rows    int
		missing []int
	}
}

func newRows(s *definition.Service) *rows {
	r := &rows{service: s, version: plan.ShortHash(s.Hash())}
	n := len(s.Features)
	for i := range r.sides {
		side := &r.sides[i]
		side.numbers, side.texts, side.missing = make([][]float64, n), make([][]string, n), make([]int, n)
		for j := range side.strata {
			side.strata[j].missing = make([]int, n)
		}
	}
	for i := range s.Features {
		if s.Features[i].Type == column.String {
			r.texts++
		}
	}
	return r
}

func (r *rows) add(at side, v *plan.LoggedVector, key uint64, score float64) {
	s := &r.sides[0]
	if at.old {
		s = &r.sides[1]
	}
	s.rows++
	s.entities, s.keys, s.scores = append(s.entities, entityOf(v.Keys)), append(s.keys, key), append(s.scores, score)
	s.strata[at.place].rows++
	text := 0
	for i := range r.service.Features {
		if v.Status[i] != window.Present {
			s.missing[i]++
			s.strata[at.place].missing[i]++
		}
		if r.service.Features[i].Type == column.String {
			s.texts[i] = append(s.texts[i], cutText(v.Texts[text]))
			text++
		} else {
			s.numbers[i] = append(s.numbers[i], v.Numbers[i])
		}
	}
}

// entityOf is a hash of the first entity that a vector is of; -1 without any.
func entityOf(keys [][]byte) int64 {
	for _, k := range keys {
		if len(k) > 0 {
			return int64(profile.Hash(string(k)) >> 1)
		}
	}
	return -1
}

func cutText(text string) string {
	if len(text) > textBytesMax {
		return text[:textBytesMax]
	}
	return text
}
