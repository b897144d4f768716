// SPDX-License-Identifier: Apache-2.0

package window

import "encoding/binary"

// The byte map of an entry is in the package comment.
const (
	flagTile      = 1
	flagSeconds   = 2
	second        = 1_000_000
	trailerLong   = 0xff
	entryBytesMax = 1 << 24
	headBytesMax  = 2 + 8 + 8
)

// entry is what the head of a stored entry says.
type entry struct {
	start, end int // of its bytes, trailer included
	payload    int // where its content begins
	body       int // where its content ends
	newest     int64
	difference int64 // to the newest time of the entry before
	id         uint64
	tile       bool
}

// entryAt decodes the head of the entry that ends at end and whose newest time is known.
// The bytes have been checked.
func entryAt(b []byte, end int, newest int64) (e entry) {
	n, trailer := int(b[end-1]), 1
	if n == trailerLong {
		n, trailer = int(b[end-4])|int(b[end-3])<<8|int(b[end-2])<<16, 4
	}
	e.end, e.body, e.newest = end, end-trailer, newest
	e.start = e.body - n
	h := b[e.start:]
	idLen, differenceLen := int(h[1]&15), int(h[1]>>4)
	e.difference = int64(load(h[2:], differenceLen))
	if h[0]&flagSeconds != 0 {
		e.difference *= second
	}
	e.id = load(h[2+differenceLen:], idLen)
	e.payload = e.start + 2 + differenceLen + idLen
	e.tile = h[0]&flagTile != 0
	return e
}

// span decodes a tile's oldest time, and where its results begin.
func (e *entry) span(b []byte) (oldest int64, at int) {
	span, n := uvarint(b[e.payload:])
	return e.newest - int64(span), e.payload + n
}

// oldest returns the time of the oldest event of an entry.
func (e *entry) oldest(b []byte) int64 {
	if !e.tile {
		return e.newest
	}
	oldest, _ := e.span(b)
	return oldest
}

// appendHead appends what precedes an entry's content.
func appendHead(dst []byte, tile bool, difference int64, id uint64) []byte {
	var flags byte
	if tile {
		flags = flagTile
	}
	if difference%second == 0 {
		flags |= flagSeconds
		difference /= second
	}
	idLen, differenceLen := byteLen(id), byteLen(uint64(difference))
	dst = append(dst, flags, byte(idLen|differenceLen<<4))
	dst = appendShort(dst, uint64(difference), differenceLen)
	return appendShort(dst, id, idLen)
}

// appendTrailer ends an entry that begins at start.
func appendTrailer(dst []byte, start int) []byte {
	n := len(dst) - start
	if n < 0x80 {
		return append(dst, byte(n))
	}
	return append(dst, byte(n), byte(n>>8), byte(n>>16), trailerLong)
}

// appendEvent appends an event as an entry.
func appendEvent(dst []byte, difference int64, e *row) []byte {
	start := len(dst)
	dst = appendHead(dst, false, difference, e.id)
	for _, x := range e.values {
		dst = appendFloat(dst, x)
	}
	for _, k := range e.keys {
		n := byteLen(k)
		dst = appendShort(append(dst, byte(n)), k, n)
	}
	return appendTrailer(dst, start)
}

// appendMoved appends a copy of an entry of b whose difference has changed.
func appendMoved(dst, b []byte, e *entry, difference int64) []byte {
	start := len(dst)
	dst = appendHead(dst, e.tile, difference, e.id)
	dst = append(dst, b[e.payload:e.body]...)
	return appendTrailer(dst, start)
}

// event decodes the event of an entry into r, whose slices have the view's lengths.
func (e *entry) event(b []byte, r *row) {
	r.time, r.id = e.newest, e.id
	b = b[e.payload:]
	for i := range r.values {
		x, n := float(b)
		r.values[i] = x
		b = b[n:]
	}
	for i := range r.keys {
		n := int(b[0])
		r.keys[i] = load(b[1:], n)
		b = b[1+n:]
	}
}

// validEntry checks the entry that ends at end before anything else looks at it, and returns its
// head.
func (v *View) validEntry(b []byte, end int, newest int64) (e entry, ok bool) {
	n, trailer := int(b[end-1]), 1
	if n == trailerLong {
		if end < 4 {
			return e, false
		}
		n, trailer = int(b[end-4])|int(b[end-3])<<8|int(b[end-2])<<16, 4
	}
	start := end - trailer - n
	if trailer == 1 && n >= 0x80 || trailer == 4 && n < 0x80 || n < 2 || start < 0 {
		return e, false
	}
	h := b[start : end-trailer]
	idLen, differenceLen := int(h[1]&15), int(h[1]>>4)
	if h[0]&^(flagTile|flagSeconds) != 0 || idLen > 8 || differenceLen > 8 || len(h) < 2+idLen+differenceLen {
		return e, false
	}
	limit := uint64(2 * timeMax)
	if h[0]&flagSeconds != 0 {
		limit /= second
	}
	if load(h[2:], differenceLen) > limit {
		return e, false
	}
	e = entryAt(b, end, newest)
	if e.tile {
		return e, idLen == 0 && v.validTile(b[e.payload:e.body])
	}
	return e, v.validEvent(b[e.payload:e.body])
}

func (v *View) validEvent(b []byte) bool {
	for range v.def.Columns {
		n := floatSize(b)
		if n < 0 {
			return false
		}
		b = b[n:]
	}
	for range v.def.Keys {
		if len(b) == 0 || b[0] > 8 || len(b) < 1+int(b[0]) {
			return false
		}
		b = b[1+int(b[0]):]
	}
	return len(b) == 0
}

func (v *View) validTile(b []byte) bool {
	span, n := uvarint(b)
	if n < 0 || span > uint64(2*timeMax) {
		return false
	}
	b = b[n:]
	for i := range v.prims {
		n := v.prims[i].encodedSize(b, span)
		if n < 0 {
			return false
		}
		b = b[n:]
	}
	return len(b) == 0
}

// tileBytesMax returns the length of the longest tile or event.
func (v *View) tileBytesMax() int {
	tile := headBytesMax + binary.MaxVarintLen64 + 4
	for i := range v.prims {
		tile += v.prims[i].bytesMax()
	}
	return max(tile, headBytesMax+9*len(v.def.Columns)+9*len(v.def.Keys)+4)
}
