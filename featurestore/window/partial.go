// SPDX-License-Identifier: Apache-2.0

package window

import (
	"encoding/binary"
	"fmt"
	"math"
)

const partialVersion = 1

// Partial is the intermediate result of all of a view's aggregations over some events, of
// no window in particular: built event by event, merged in any order, stored, and turned
// into values. It is what a tile holds. It is not safe for use by several goroutines.
type Partial struct {
	view           *View
	irs            []ir
	oldest, newest int64
	events         bool
	finisher
}

// NewPartial returns the result of no events.
func (v *View) NewPartial() *Partial {
	p := &Partial{view: v, irs: v.newIRs()}
	p.Reset()
	return p
}

// Reset makes it the result of no events again.
func (p *Partial) Reset() {
	p.oldest, p.newest, p.events = math.MaxInt64, never, false
	for i := range p.irs {
		p.irs[i].reset()
	}
}

// Add adds an event. Events are not compared: the caller adds each once.
func (p *Partial) Add(e *Event) error {
	if err := p.view.check(e); err != nil {
		return err
	}
	p.addRow(&row{e.Time, e.ID, e.Values, e.Keys})
	return nil
}

func (p *Partial) addRow(r *row) {
	p.oldest, p.newest, p.events = min(p.oldest, r.time), max(p.newest, r.time), true
	for i := range p.irs {
		p.irs[i].add(r)
	}
}

// addTile adds the results of a tile.
func (p *Partial) addTile(b []byte, e *entry) {
	oldest, at := e.span(b)
	p.mergeResults(b[at:e.body], oldest, e.newest)
}

func (p *Partial) mergeResults(b []byte, oldest, newest int64) {
	p.oldest, p.newest, p.events = min(p.oldest, oldest), max(p.newest, newest), true
	for i := range p.irs {
		b = b[p.irs[i].merge(b, newest):]
	}
}

// Merge adds the events of another partial result of the same view, which are not compared
// with those already there. Errors: ErrView.
func (p *Partial) Merge(o *Partial) error {
	if o.view.tag != p.view.tag {
		return ErrView
	}
	if o.events {
		p.mergeResults(o.appendResults(nil), o.oldest, o.newest)
	}
	return nil
}

// appendResults appends the results in the order of the primitives.
func (p *Partial) appendResults(dst []byte) []byte {
	for i := range p.irs {
		dst = p.irs[i].append(dst, p.newest)
	}
	return dst
}

// appendTile appends an entry of a state.
func (p *Partial) appendTile(dst []byte, difference int64) []byte {
	start := len(dst)
	dst = appendHead(dst, true, difference, 0)
	dst = binary.AppendUvarint(dst, uint64(p.newest-p.oldest))
	return appendTrailer(p.appendResults(dst), start)
}

// AppendBinary appends the stored form: version, tag of the view, one byte for whether there
// are events, and then the newest time, the uvarint span and the results.
func (p *Partial) AppendBinary(dst []byte) ([]byte, error) {
	dst = binary.LittleEndian.AppendUint32(append(dst, partialVersion), p.view.tag)
	if !p.events {
		return append(dst, 0), nil
	}
	dst = binary.LittleEndian.AppendUint64(append(dst, 1), uint64(p.newest))
	dst = binary.AppendUvarint(dst, uint64(p.newest-p.oldest))
	return p.appendResults(dst), nil
}

// UnmarshalBinary replaces the result by a stored one. Errors wrap ErrCorrupt or ErrView.
func (p *Partial) UnmarshalBinary(b []byte) error {
	if len(b) < 6 || b[0] != partialVersion || b[5] > 1 {
		return fmt.Errorf("%w: no header of version %d", ErrCorrupt, partialVersion)
	}
	if binary.LittleEndian.Uint32(b[1:]) != p.view.tag {
		return ErrView
	}
	if b[5] == 0 {
		if len(b) != 6 {
			return fmt.Errorf("%w: bytes after the result of no events", ErrCorrupt)
		}
		p.Reset()
		return nil
	}
	if len(b) < 14 {
		return fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
	}
	newest := int64(binary.LittleEndian.Uint64(b[6:]))
	if newest < -timeMax || newest > timeMax || !p.view.validTile(b[14:]) {
		return fmt.Errorf("%w: time or results", ErrCorrupt)
	}
	span, n := uvarint(b[14:])
	if newest-int64(span) < -timeMax {
		return fmt.Errorf("%w: time of the oldest event", ErrCorrupt)
	}
	p.Reset()
	p.mergeResults(b[14+n:], newest-int64(span), newest)
	return nil
}

// Values computes all features as if the events were those of their windows, which end at
// edge, into slices of View.Width elements. Errors: ErrArguments.
func (p *Partial) Values(edge int64, into []float64, status []Status) error {
	v := p.view
	if len(into) != v.width || len(status) != v.width || edge < p.newest && p.events || edge > timeMax {
		return fmt.Errorf("%w: %d values and %d status at edge %d, the view has %d and the newest event is at %d",
			ErrArguments, len(into), len(status), edge, v.width, p.newest)
	}
	for i := range v.features {
		p.finish(&v.features[i], p.irs, edge, into, status)
	}
	return nil
}
