// SPDX-License-Identifier: Apache-2.0

package window

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"time"
)

// Limits of a definition.
const (
	columnsMax  = 64
	featuresMax = 1024
	windowsMax  = 64 // distinct (window, hop, delay); they are kept in a bit set

	headEventsDefault = 256
	headEventsMin     = 16
	entriesDefault    = 4096
	entriesMin        = 256 // enough for tiles of a quarter of their age from 1 µs to 40 years
	entriesLimit      = 1 << 20
	bytesDefault      = 4 << 20
	bytesLimit        = 1 << 30
	// tilesFit is how many tiles of any content BytesMax has to hold.
	tilesFit         = 64
	duplicateDefault = time.Hour
)

// Definition says what a view computes for each of its entities. EnsureDefaults fills in
// what is zero; NewView does so too.
type Definition struct {
	// Columns names the numeric columns of an event, at most 64.
	Columns []string
	// Keys names its key columns: 64-bit values or hashes that can only be counted, at most 64.
	Keys []string
	// Features lists what is computed, in the order of the values read; at most 1024 in at
	// most 64 distinct windows.
	Features []Feature
	// MaxAge is how old an entity's newest event may be before its values are reported as
	// OutsideMaxAge. Zero means any age.
	MaxAge time.Duration
	// LatenessMax is how long after its time an event may arrive. Zero means as long as the
	// longest window and delay reach.
	LatenessMax time.Duration
	// FutureMax is how far ahead of its arrival an event's time may lie. Zero means not at all.
	FutureMax time.Duration
	// DuplicateHorizon is how long events stay apart from others so that duplicates and
	// amendments find them, the bounds below permitting. Zero means one hour.
	DuplicateHorizon time.Duration
	// HeadEventsMax is the number of entries above which events are folded into tiles where
	// that changes nothing, the newest half apart; at least 16. Zero means 256.
	HeadEventsMax int
	// EntriesMax is the bound on events and tiles together, 256 to 2^20. Zero means 4096,
	// or four times HeadEventsMax if that is more.
	EntriesMax int
	// BytesMax is the bound on the bytes of an entity, up to 2^30, and at least 64 tiles
	// of the largest size there can be. Zero means 4 MiB or that.
	BytesMax int
}

// EnsureDefaults replaces zero fields by their defaults, but for BytesMax.
func (d *Definition) EnsureDefaults() {
	for i := range d.Features {
		d.Features[i].ensureDefaults()
	}
	if d.LatenessMax == 0 {
		for _, f := range d.Features {
			d.LatenessMax = max(d.LatenessMax, f.Window+f.Hop+f.Delay)
		}
	}
	if d.DuplicateHorizon == 0 {
		d.DuplicateHorizon = duplicateDefault
	}
	if d.HeadEventsMax == 0 {
		d.HeadEventsMax = headEventsDefault
	}
	if d.EntriesMax == 0 {
		d.EntriesMax = max(entriesDefault, 4*d.HeadEventsMax)
	}
}

// Validate reports everything that is wrong with the definition, wrapped in ErrDefinition.
func (d *Definition) Validate() error {
	var all []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			all = append(all, fmt.Errorf(format, args...))
		}
	}
	bad(len(d.Columns) > columnsMax || len(d.Keys) > columnsMax, "more than %d columns or key columns", columnsMax)
	bad(len(d.Features) == 0 || len(d.Features) > featuresMax, "%d features, not 1 to %d", len(d.Features), featuresMax)
	names := slices.Concat(d.Columns, d.Keys)
	slices.Sort(names)
	bad(len(slices.Compact(names)) != len(d.Columns)+len(d.Keys) || slices.Contains(names, ""),
		"columns without a name or of the same name")
	all = append(all, d.featureProblems()...)
	bad(d.MaxAge < 0 || d.MaxAge > windowMax, "max age %v is not 0 to %v", d.MaxAge, windowMax)
	bad(d.LatenessMax < 0 || d.LatenessMax > 3*windowMax, "lateness max %v is not 0 to %v", d.LatenessMax, 3*windowMax)
	bad(d.FutureMax < 0 || d.FutureMax > windowMax, "future max %v is not 0 to %v", d.FutureMax, windowMax)
	bad(d.DuplicateHorizon < 0 || d.DuplicateHorizon > windowMax, "duplicate horizon %v is not 0 to %v",
		d.DuplicateHorizon, windowMax)
	bad(d.EntriesMax < entriesMin || d.EntriesMax > entriesLimit, "entries max %d is not %d to %d",
		d.EntriesMax, entriesMin, entriesLimit)
	bad(d.HeadEventsMax < headEventsMin || d.HeadEventsMax > d.EntriesMax, "head events max %d is not %d to entries max",
		d.HeadEventsMax, headEventsMin)
	bad(d.BytesMax < 0 || d.BytesMax > bytesLimit, "bytes max %d is not 0 to %d", d.BytesMax, bytesLimit)
	if len(all) > 0 {
		return fmt.Errorf("%w: %w", ErrDefinition, errors.Join(all...))
	}
	return nil
}

func (d *Definition) featureProblems() (all []error) {
	names := map[string]bool{}
	for i := range d.Features {
		f := &d.Features[i]
		all = append(all, f.problems()...)
		if names[f.Name] {
			all = append(all, fmt.Errorf("feature %q: defined twice", f.Name))
		}
		names[f.Name] = true
		known := slices.Contains(d.Columns, f.Column) || f.Func == Distinct && slices.Contains(d.Keys, f.Column)
		if !known && !(f.Func == Count && f.Column == "") {
			all = append(all, fmt.Errorf("feature %q: %v needs a column of the view, not %q", f.Name, f.Func, f.Column))
		}
	}
	return all
}

// View is a definition made ready to run. It is immutable.
type View struct {
	def      Definition
	tag      uint32 // of what the stored bytes depend on
	prims    []prim
	features []compiled
	spans    []span
	groups   []group
	width    int

	reach                               int64 // longest window and delay, without the hop
	lateness, future, maxAge, duplicate int64
	tileMax                             int // most bytes of a tile
	amend                               []int64
}

// compiled is a feature with its parts resolved.
type compiled struct {
	Feature
	offset              int
	count, first, third int // primitives: count, the main one, and squares for a variance
}

// span is a distinct (window, hop, delay).
type span struct {
	window, hop, delay int64
	features           []int
}

// tail returns the exclusive beginning of the window at time t.
func (s *span) tail(t int64) int64 { return floor(t-s.delay-s.window, s.hop) }

// group is all spans of one delay; one walk over a state serves them.
type group struct {
	delay int64
	spans []int
	prims []member
}

// member is a primitive that a group needs, and for which of its spans.
type member struct {
	prim  int
	spans uint64
}

// NewView checks a definition and makes it ready; errors wrap ErrDefinition.
func NewView(d Definition) (*View, error) {
	d.Columns, d.Keys, d.Features = slices.Clone(d.Columns), slices.Clone(d.Keys), slices.Clone(d.Features)
	d.EnsureDefaults()
	if err := d.Validate(); err != nil {
		return nil, err
	}
	v := &View{def: d, lateness: micros(d.LatenessMax), future: micros(d.FutureMax), maxAge: micros(d.MaxAge),
		duplicate: micros(d.DuplicateHorizon), amend: make([]int64, len(d.Columns))}
	for i := range d.Features {
		v.compile(&d.Features[i])
	}
	if len(v.spans) > windowsMax {
		return nil, fmt.Errorf("%w: %d distinct windows, at most %d", ErrDefinition, len(v.spans), windowsMax)
	}
	v.group()
	v.tag = v.fingerprint()
	v.tileMax = v.tileBytesMax()
	if d.BytesMax == 0 {
		v.def.BytesMax = max(bytesDefault, tilesFit*v.tileMax)
	}
	if v.tileMax >= entryBytesMax || v.def.BytesMax < tilesFit*v.tileMax || v.def.BytesMax > bytesLimit {
		return nil, fmt.Errorf("%w: bytes max %d does not hold %d tiles of up to %d bytes", ErrDefinition,
			v.def.BytesMax, tilesFit, v.tileMax)
	}
	return v, nil
}

// Definition returns the view's definition, defaults filled in. The caller does not change its slices.
func (v *View) Definition() Definition { return v.def }

// Width returns the number of values that a read fills: one per feature, K for a LastK.
func (v *View) Width() int { return v.width }

// Offset returns where the values of a feature begin, or -1 if the view has no such feature.
func (v *View) Offset(feature string) int {
	for i := range v.features {
		if v.features[i].Name == feature {
			return v.features[i].offset
		}
	}
	return -1
}

// compile resolves a feature into its span and primitives.
func (v *View) compile(f *Feature) {
	c := compiled{Feature: *f, offset: v.width, count: -1, first: -1, third: -1}
	v.width += f.width()
	column := slices.Index(v.def.Columns, f.Column)
	if column < 0 && f.Column != "" {
		column = len(v.def.Columns) + slices.Index(v.def.Keys, f.Column)
	}
	switch f.Func {
	case Count:
		c.count = v.prim(prim{kind: countPrim, column: column})
	case Sum:
		c.first = v.prim(prim{kind: sumPrim, column: column})
	case Mean, Variance, StdDev:
		c.count = v.prim(prim{kind: countPrim, column: column})
		c.first = v.prim(prim{kind: sumPrim, column: column})
		if f.Func != Mean {
			c.third = v.prim(prim{kind: squarePrim, column: column})
		}
	case Min:
		c.first = v.prim(prim{kind: minPrim, column: column})
	case Max:
		c.first = v.prim(prim{kind: maxPrim, column: column})
	case First:
		c.first = v.prim(prim{kind: firstPrim, column: column, size: 1})
	case Last, LastK:
		c.first = v.prim(prim{kind: lastPrim, column: column, size: f.width()})
	case Distinct:
		c.first = v.prim(prim{kind: distinctPrim, column: column, size: f.ExactMax})
	case Quantile:
		c.first = v.prim(prim{kind: quantilePrim, column: column})
	case DecayedSum:
		c.first = v.prim(prim{kind: decayPrim, column: column, half: micros(f.HalfLife)})
	}
	v.features = append(v.features, c)
	v.addSpan(&c, column)
}

// addSpan notes which window the newest feature is over.
func (v *View) addSpan(c *compiled, column int) {
	s := span{window: micros(c.Window), hop: micros(c.Hop), delay: micros(c.Delay)}
	i := slices.IndexFunc(v.spans, func(o span) bool {
		return o.window == s.window && o.hop == s.hop && o.delay == s.delay
	})
	if i < 0 {
		i = len(v.spans)
		v.spans = append(v.spans, s)
	}
	v.spans[i].features = append(v.spans[i].features, len(v.features)-1)
	v.reach = max(v.reach, s.window+s.delay)
	if column >= 0 && column < len(v.amend) {
		v.noteDelay(column, s.delay)
	}
}

// noteDelay keeps, per column, one more than the shortest delay of its features; zero means unused.
func (v *View) noteDelay(column int, delay int64) {
	if v.amend[column] == 0 || delay+1 < v.amend[column] {
		v.amend[column] = delay + 1
	}
}

// prim returns the index of a primitive, adding it if it is new. Last values of one column
// share the longest list.
func (v *View) prim(p prim) int {
	for i := range v.prims {
		o := &v.prims[i]
		if o.kind == p.kind && o.column == p.column && o.half == p.half && (o.size == p.size || p.kind == lastPrim) {
			o.size = max(o.size, p.size)
			return i
		}
	}
	v.prims = append(v.prims, p)
	return len(v.prims) - 1
}

// group sorts spans by delay and finds the primitives each delay needs.
func (v *View) group() {
	for i := range v.spans {
		s := &v.spans[i]
		g := slices.IndexFunc(v.groups, func(o group) bool { return o.delay == s.delay })
		if g < 0 {
			g = len(v.groups)
			v.groups = append(v.groups, group{delay: s.delay})
		}
		v.groups[g].spans = append(v.groups[g].spans, i)
		for _, f := range s.features {
			for _, p := range [...]int{v.features[f].count, v.features[f].first, v.features[f].third} {
				v.groups[g].need(p, i)
			}
		}
	}
	for i := range v.groups {
		slices.SortFunc(v.groups[i].prims, func(a, b member) int { return a.prim - b.prim })
	}
}

// need notes that the primitive is needed for the span.
func (g *group) need(p, span int) {
	if p < 0 {
		return
	}
	i := slices.IndexFunc(g.prims, func(m member) bool { return m.prim == p })
	if i < 0 {
		i = len(g.prims)
		g.prims = append(g.prims, member{prim: p})
	}
	g.prims[i].spans |= 1 << span
}

// fingerprint hashes what the meaning of stored bytes depends on: columns and primitives,
// not windows, so that a state survives a change of windows within its reach.
func (v *View) fingerprint() uint32 {
	var b []byte
	for _, names := range [][]string{v.def.Columns, v.def.Keys} {
		b = binary.AppendUvarint(b, uint64(len(names)))
		for _, n := range names {
			b = binary.AppendUvarint(b, uint64(len(n)))
			b = append(b, n...)
		}
	}
	for _, p := range v.prims {
		for _, x := range [...]int64{int64(p.kind), int64(p.column), int64(p.size), p.half} {
			b = binary.LittleEndian.AppendUint64(b, uint64(x))
		}
	}
	return max(1, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// expiry returns the time up to which events lie outside all windows at now and later.
func (v *View) expiry(now int64) int64 {
	oldest := int64(math.MaxInt64)
	for i := range v.spans {
		oldest = min(oldest, v.spans[i].tail(now))
	}
	return oldest
}

// micros converts a duration to microseconds.
func micros(d time.Duration) int64 { return int64(d / time.Microsecond) }

// floor rounds t down to a multiple of step.
func floor(t, step int64) int64 { return floorDiv(t, step) * step }

// floorDiv returns the largest integer not above t/step.
func floorDiv(t, step int64) int64 {
	q := t / step
	if t%step < 0 {
		q--
	}
	return q
}
