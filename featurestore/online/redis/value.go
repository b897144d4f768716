// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/online/cache"
	"github.com/millrace-ml/millrace/featurestore/window"
)

const (
	formatVersion = 1
	versionBytes  = 16
	// headerBytes are version and sequence of the newest mark, format, kind, counts, time.
	headerBytes = versionBytes + 8 + 4 + 8
	markBytes   = 24
	eventBytes  = 16
	rowBytes    = 16
	sumBytes    = 4
	// marksMax and recentMax bound what is kept beside a state.
	marksMax  = 16
	recentMax = 32

	kindView, kindLookup = 1, 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// mark says what a writer did last to an entity.
type mark struct {
	// owner is a writer: in the upper half its log, in the lower half one opening of it.
	owner uint64
	// count tells its writes apart. Counts begin anywhere, so that those of two processes
	// do not meet.
	count uint64
	// sequence is the highest place in its log that the entity has seen; 0 for none.
	sequence uint64
}

// logOf is the part of an owner that stays the same over restarts.
func logOf(owner uint64) uint32 { return uint32(owner >> 32) }

// eventID names an event.
type eventID struct {
	time int64
	id   uint64
}

// value is the decoded state of an entity.
type value struct {
	// marks has one per log, the last writer's first; empty for an entity not stored yet.
	marks []mark
	// recent are events applied lately that the state could not tell from duplicates,
	// oldest first.
	recent []eventID
	// newest is the time of the newest event, or that of the row.
	newest int64
	state  window.State // of a view
	// arrival, id and row are those of a lookup; row is nil for none.
	arrival int64
	id      uint64
	row     []byte
}

// version is what a write is conditional on; zero for an entity not stored yet.
func (v *value) version() (n cache.Version) {
	if len(v.marks) > 0 {
		binary.LittleEndian.PutUint64(n[:], v.marks[0].owner)
		binary.LittleEndian.PutUint64(n[8:], v.marks[0].count)
	}
	return n
}

// find returns the mark of a writer's log, or nil.
func (v *value) find(owner uint64) *mark {
	for i := range v.marks {
		if logOf(v.marks[i].owner) == logOf(owner) {
			return &v.marks[i]
		}
	}
	return nil
}

// has reports whether the entity has seen a record of the writer's log.
func (v *value) has(owner, sequence uint64) bool {
	m := v.find(owner)
	return m != nil && m.owner == owner && sequence <= m.sequence
}

// sequence is the place in a log of the newest record that the entity has seen.
func (v *value) sequence(owner uint64) uint64 {
	if m := v.find(owner); m != nil {
		return m.sequence
	}
	return 0
}

// stamp puts a write's mark in front. Of the other logs the one that wrote longest ago
// goes when there are too many; what a replay of it then applies again is found to be
// a duplicate as far as the state can tell.
func (v *value) stamp(owner, count, sequence uint64) {
	m := mark{owner: owner, count: count, sequence: sequence}
	at := len(v.marks)
	for i, old := range v.marks {
		if logOf(old.owner) == logOf(owner) {
			at = i
			if old.owner == owner || sequence == 0 {
				m.sequence = max(sequence, old.sequence)
			}
		}
	}
	if at == len(v.marks) && at < marksMax {
		v.marks = append(v.marks, mark{})
	}
	at = min(at, marksMax-1)
	copy(v.marks[1:at+1], v.marks[:at])
	v.marks[0] = m
}

// known reports whether an event is among the recent ones.
func (v *value) known(e eventID) bool {
	for _, r := range v.recent {
		if r == e {
			return true
		}
	}
	return false
}

func (v *value) remember(e eventID) {
	if len(v.recent) == recentMax {
		copy(v.recent, v.recent[1:])
		v.recent[recentMax-1] = e
		return
	}
	v.recent = append(v.recent, e)
}

// bytes is the memory it takes, about.
func (v *value) bytes() int {
	return valueBytes + v.state.Bytes() + cap(v.row) + markBytes*cap(v.marks) + eventBytes*cap(v.recent)
}

// valueBytes is a value without what it refers to and its State.
const valueBytes = 104

// append appends the stored form; see the package comment.
func (v *value) append(dst []byte, t *table) []byte {
	begin := len(dst)
	kind := byte(kindView)
	if t.view == nil {
		kind = kindLookup
	}
	first := v.marks[0]
	dst = binary.LittleEndian.AppendUint64(dst, first.owner)
	dst = binary.LittleEndian.AppendUint64(dst, first.count)
	dst = binary.LittleEndian.AppendUint64(dst, first.sequence)
	dst = append(dst, formatVersion, kind, byte(len(v.marks)-1), byte(len(v.recent)))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(v.newest))
	for _, m := range v.marks[1:] {
		dst = binary.LittleEndian.AppendUint64(dst, m.owner)
		dst = binary.LittleEndian.AppendUint64(dst, m.count)
		dst = binary.LittleEndian.AppendUint64(dst, m.sequence)
	}
	for _, e := range v.recent {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(e.time))
		dst = binary.LittleEndian.AppendUint64(dst, e.id)
	}
	if kind == kindLookup {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(v.arrival))
		dst = binary.LittleEndian.AppendUint64(dst, v.id)
		dst = append(dst, v.row...)
	} else {
		dst, _ = v.state.AppendBinary(dst) // the error is always nil
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[begin:], castagnoli))
}

// decode makes v the value stored in b, which it takes over. Everything is checked.
// Errors wrap online.ErrCorrupt.
func (v *value) decode(t *table, b []byte) error {
	if len(b) < headerBytes+sumBytes {
		return fmt.Errorf("%w: %d bytes are no value", online.ErrCorrupt, len(b))
	}
	sum := binary.LittleEndian.Uint32(b[len(b)-sumBytes:])
	b = b[:len(b)-sumBytes]
	if crc32.Checksum(b, castagnoli) != sum {
		return fmt.Errorf("%w: the checksum does not fit", online.ErrCorrupt)
	}
	format, kind, marks, recent := b[24], b[25], int(b[26])+1, int(b[27])
	body := headerBytes + markBytes*(marks-1) + eventBytes*recent
	if format != formatVersion || (kind == kindView) != (t.view != nil) || marks > marksMax || recent > recentMax || len(b) < body {
		return fmt.Errorf("%w: format %d, kind %d, %d marks, %d events", online.ErrCorrupt, format, kind, marks, recent)
	}
	*v = value{newest: int64(binary.LittleEndian.Uint64(b[28:])), marks: make([]mark, marks)}
	v.marks[0] = readMark(b)
	at := headerBytes
	for i := 1; i < marks; i++ {
		v.marks[i] = readMark(b[at:])
		at += markBytes
	}
	if recent > 0 {
		v.recent = make([]eventID, recent)
	}
	for i := range v.recent {
		v.recent[i] = eventID{int64(binary.LittleEndian.Uint64(b[at:])), binary.LittleEndian.Uint64(b[at+8:])}
		at += eventBytes
	}
	return v.decodeBody(t, b[at:len(b):len(b)])
}

func readMark(b []byte) mark {
	return mark{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])}
}

func (v *value) decodeBody(t *table, b []byte) error {
	if t.view == nil {
		if len(b) < rowBytes {
			return fmt.Errorf("%w: the row ends early", online.ErrCorrupt)
		}
		v.arrival, v.id = int64(binary.LittleEndian.Uint64(b)), binary.LittleEndian.Uint64(b[8:])
		v.row = b[rowBytes:]
		return nil
	}
	if err := t.view.Decode(&v.state, b); err != nil {
		return fmt.Errorf("%w: %w", online.ErrCorrupt, err)
	}
	return nil
}
