// SPDX-License-Identifier: Apache-2.0

package window

import (
	"encoding/binary"
	"fmt"
	"math"
)

const (
	stateVersion = 1
	headerBytes  = 1 + 4 + 4*8 + 4 + 4
	never        = math.MinInt64
)

// State is what is kept of one entity in one view. The zero value is an entity that nothing
// is known of. A State is not copied once it is in use: a copy would share its bytes.
type State struct {
	now     int64  // newest arrival
	last    int64  // newest time of the newest entry
	dropped int64  // newest time of what has been dropped
	folded  int64  // newest time of what has been folded
	view    uint32 // tag of the view, zero before the first event
	entries uint32
	foldAt  uint32 // number of entries at which folding is tried next
	body    []byte
}

func (s *State) init(v *View) error {
	if s.view == v.tag {
		return nil
	}
	if s.view != 0 {
		return ErrView
	}
	*s = State{now: never, last: never, dropped: never, folded: never, view: v.tag,
		foldAt: uint32(v.def.HeadEventsMax), body: s.body[:0]}
	return nil
}

// Now returns the newest arrival, and false for a state without one. A Read not before it is
// exact as of its time; one before it also sees what arrived since.
func (s *State) Now() (int64, bool) { return s.now, s.view != 0 }

// Newest returns when the newest event not after a time happened, and false if there is
// none. It is what MaxAge is measured from.
func (s *State) Newest(at int64) (int64, bool) {
	if newest, found := s.newest(at); found {
		return newest, true
	}
	return 0, false
}

// Len returns the number of entries: events and tiles.
func (s *State) Len() int { return int(s.entries) }

// Bytes returns the memory the entity takes up, the State itself and slack included.
func (s *State) Bytes() int { return stateBytes + cap(s.body) }

// stateBytes is the size of the struct: four int64, three uint32, one slice, padding.
const stateBytes = 72

// AppendBinary appends the state in its stored form: version, tag of the view, the times,
// entries, then the body described in the package comment.
func (s *State) AppendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, stateVersion)
	dst = binary.LittleEndian.AppendUint32(dst, s.view)
	for _, t := range [...]int64{s.now, s.last, s.dropped, s.folded} {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(t))
	}
	dst = binary.LittleEndian.AppendUint32(dst, s.entries)
	dst = binary.LittleEndian.AppendUint32(dst, s.foldAt)
	return append(dst, s.body...), nil
}

// Decode makes s the state stored in b, which it takes over: b must not change while s is in
// use, and Update may overwrite it. The bytes are checked in full, so a state that decodes
// is safe to use. Errors wrap ErrCorrupt or ErrView.
func (v *View) Decode(s *State, b []byte) error {
	if len(b) < headerBytes || b[0] != stateVersion {
		return fmt.Errorf("%w: no header of version %d", ErrCorrupt, stateVersion)
	}
	var d State
	d.view = binary.LittleEndian.Uint32(b[1:])
	if d.view != v.tag && d.view != 0 {
		return ErrView
	}
	for i, t := range [...]*int64{&d.now, &d.last, &d.dropped, &d.folded} {
		*t = int64(binary.LittleEndian.Uint64(b[5+8*i:]))
		if *t != never && (*t < -timeMax || *t > timeMax) {
			return fmt.Errorf("%w: time %d out of range", ErrCorrupt, *t)
		}
	}
	d.entries, d.foldAt = binary.LittleEndian.Uint32(b[37:]), binary.LittleEndian.Uint32(b[41:])
	d.body = b[headerBytes:len(b):len(b)]
	if d.view == 0 && len(d.body) == 0 {
		*s = State{}
		return nil
	}
	if d.view == 0 || d.now == never || (d.last == never) != (d.entries == 0) || len(d.body) > v.def.BytesMax {
		return fmt.Errorf("%w: header contradicts itself", ErrCorrupt)
	}
	if err := v.checkEntries(&d); err != nil {
		return err
	}
	*s = d
	return nil
}

// checkEntries walks a body as a read would and checks what a read takes for granted.
func (v *View) checkEntries(s *State) error {
	end, newest, count := len(s.body), s.last, uint32(0)
	var after entry // the entry that follows in time
	for ; end > 0; count++ {
		e, ok := v.validEntry(s.body, end, newest)
		if !ok {
			return fmt.Errorf("%w: entry that ends at byte %d", ErrCorrupt, end)
		}
		if count > 0 {
			limit := after.oldest(s.body)
			same := e.newest == limit && !e.tile && !after.tile && e.id < after.id
			if e.newest >= limit && !same {
				return fmt.Errorf("%w: entry that ends at byte %d is out of order", ErrCorrupt, end)
			}
		}
		if e.oldest(s.body) < -timeMax || newest-e.difference < -3*timeMax {
			return fmt.Errorf("%w: entry that ends at byte %d is out of range", ErrCorrupt, end)
		}
		after, newest, end = e, newest-e.difference, e.start
	}
	if count != s.entries || int(count) > v.def.EntriesMax {
		return fmt.Errorf("%w: %d entries, the header says %d", ErrCorrupt, count, s.entries)
	}
	return nil
}
