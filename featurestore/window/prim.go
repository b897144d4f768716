// SPDX-License-Identifier: Apache-2.0

package window

import (
	"encoding/binary"
	"math"
)

// primKind is a kind of intermediate result. Features of a column share them: a mean is a
// count and a sum.
type primKind uint8

const (
	countPrim    primKind = iota // values that are not null; of column -1, events
	sumPrim                      // exact sum
	squarePrim                   // exact sum of squares
	minPrim                      // smallest
	maxPrim                      // largest
	firstPrim                    // earliest value
	lastPrim                     // latest values
	distinctPrim                 // set of hashes
	quantilePrim                 // histogram
	decayPrim                    // exact sum of values weighted by age
)

// countMax bounds counts in bytes, so that sums of them do not overflow. Only corrupt data
// leads above it.
const countMax = 1 << 48

// prim is a kind of result of one column; key columns are numbered after the columns.
type prim struct {
	kind   primKind
	column int
	size   int   // values of lastPrim, exact values of distinctPrim
	half   int64 // half-life
}

// bytesMax is the longest encoding.
func (p *prim) bytesMax() int {
	switch p.kind {
	case countPrim:
		return binary.MaxVarintLen64
	case minPrim, maxPrim:
		return 9
	case firstPrim, lastPrim:
		return 1 + p.size*(binary.MaxVarintLen64+16)
	case distinctPrim:
		return 1 + max(packedBytes, binary.MaxVarintLen64+8*p.size)
	case quantilePrim:
		return binary.MaxVarintLen64 + binsBytes*(2+binary.MaxVarintLen64)
	}
	return 2 + 4*wideChunks
}

// point is a value and where it stands in the order of events.
type point struct {
	time  int64
	id    uint64
	value float64
}

// after says whether the point comes after (time, id).
func (p *point) after(time int64, id uint64) bool {
	return p.time > time || p.time == time && p.id > id
}

// ir is the partial result of one primitive; which fields are in use depends on its kind.
type ir struct {
	prim   *prim
	n      int64   // countPrim
	value  float64 // minPrim, maxPrim; NaN for none
	sum    *wide
	base   int64 // decayPrim: sum is in units of 2^base half-lives since 1970
	empty  bool  // decayPrim: base is not set
	points []point
	set    *distinct
	sketch *sketch
}

func newIR(p *prim) ir {
	r := ir{prim: p}
	switch p.kind {
	case sumPrim, squarePrim, decayPrim:
		r.sum = new(wide)
	case firstPrim, lastPrim:
		r.points = make([]point, 0, p.size+1)
	case distinctPrim:
		r.set = &distinct{max: p.size}
	case quantilePrim:
		r.sketch = new(sketch)
	}
	r.reset()
	return r
}

func (v *View) newIRs() []ir {
	all := make([]ir, len(v.prims))
	for i := range all {
		all[i] = newIR(&v.prims[i])
	}
	return all
}

func (r *ir) reset() {
	r.n, r.value, r.base, r.empty = 0, math.NaN(), 0, true
	r.points = r.points[:0]
	if r.sum != nil {
		r.sum.reset()
	}
	if r.set != nil {
		r.set.reset()
	}
	if r.sketch != nil {
		r.sketch.bins = r.sketch.bins[:0]
	}
}

// row is an event as it is stored: NaN and zero are null.
type row struct {
	time   int64
	id     uint64
	values []float64
	keys   []uint64
}

// key returns the hash of a column's value, and false for null.
func (e *row) key(column int) (uint64, bool) {
	if column >= len(e.values) {
		k := e.keys[column-len(e.values)]
		return mix(k), k != 0
	}
	x := e.values[column]
	return mix(math.Float64bits(x + 0)), x == x // + 0 makes one zero of both
}

// add adds an event.
func (r *ir) add(e *row) {
	p := r.prim
	if p.column < 0 {
		r.n++
		return
	}
	if p.kind == distinctPrim {
		if h, ok := e.key(p.column); ok {
			r.set.add(h)
		}
		return
	}
	if x := e.values[p.column]; x == x {
		r.addValue(x+0, e.time, e.id) // + 0 makes one zero of both
	}
}

func (r *ir) addValue(x float64, time int64, id uint64) {
	switch r.prim.kind {
	case countPrim:
		r.n++
	case sumPrim:
		r.sum.add(x, 1)
	case squarePrim:
		r.sum.addSquare(x, 1)
	case minPrim:
		if !(x >= r.value) {
			r.value = x
		}
	case maxPrim:
		if !(x <= r.value) {
			r.value = x
		}
	case firstPrim, lastPrim:
		r.addPoint(point{time, id, x})
	case quantilePrim:
		r.sketch.add(binOf(x), 1)
	case decayPrim:
		r.addDecay(x, time, 1)
	}
}

// addPoint keeps the first or the last points, in order.
func (r *ir) addPoint(p point) {
	i := len(r.points)
	for i > 0 && r.points[i-1].after(p.time, p.id) {
		i--
	}
	if r.prim.kind == lastPrim && i == 0 && len(r.points) == r.prim.size {
		return
	}
	r.points = append(r.points, point{})
	copy(r.points[i+1:], r.points[i:])
	r.points[i] = p
	if len(r.points) > r.prim.size {
		if r.prim.kind == lastPrim {
			copy(r.points, r.points[1:])
		}
		r.points = r.points[:r.prim.size]
	}
}

// weighted returns the value times 2^f, where time is k+f half-lives, cut to a multiple of
// 2^-512. Cut so, it stays exact when it is shifted across a whole window.
func (p *prim) weighted(x float64, time int64) (c float64, k int64) {
	k = floorDiv(time, p.half)
	c = x * math.Exp2(float64(time-k*p.half)/float64(p.half))
	if math.Abs(c) < 0x1p-459 {
		c = math.Trunc(c*0x1p512) * 0x1p-512
	}
	return c, k
}

func (r *ir) addDecay(x float64, time int64, s int64) {
	c, k := r.prim.weighted(x, time)
	if r.empty || k > r.base {
		r.rebase(k)
	}
	r.addWeighted(c, k, s)
}

// addWeighted adds c * 2^(k-base).
func (r *ir) addWeighted(c float64, k int64, s int64) {
	m, e, cs := split(c)
	r.sum.addAt(m, clampShift(k-r.base)+e+wideBias, s*cs)
}

// rebase makes base the given number of half-lives, not before the present one.
func (r *ir) rebase(base int64) {
	if !r.empty && base > r.base {
		r.sum.shift(clampShift(base - r.base))
	}
	r.base, r.empty = base, false
}

// clampShift bounds a shift to what moves any sum out altogether.
func clampShift(by int64) int { return int(max(-64*wideChunks, min(by, 64*wideChunks))) }

// append encodes the partial result of a tile whose newest event is at the given time.
func (r *ir) append(dst []byte, newest int64) []byte {
	switch r.prim.kind {
	case countPrim:
		return binary.AppendUvarint(dst, uint64(min(r.n, countMax)))
	case minPrim, maxPrim:
		return appendFloat(dst, r.value)
	case firstPrim, lastPrim:
		dst = append(dst, byte(len(r.points)))
		for _, p := range r.points {
			dst = binary.AppendUvarint(dst, uint64(newest-p.time))
			dst = binary.LittleEndian.AppendUint64(dst, p.id)
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(p.value))
		}
		return dst
	case distinctPrim:
		return r.set.append(dst)
	case quantilePrim:
		return r.sketch.append(dst)
	case decayPrim:
		r.rebase(max(floorDiv(newest, r.prim.half), r.base))
	}
	return r.sum.append(dst)
}

// merge adds the encoded result of a tile and returns its length. b has been checked.
func (r *ir) merge(b []byte, newest int64) int {
	switch r.prim.kind {
	case countPrim:
		u, n := uvarint(b)
		r.n += int64(u)
		return n
	case minPrim, maxPrim:
		x, n := float(b)
		if x == x {
			r.addValue(x, 0, 0)
		}
		return n
	case firstPrim, lastPrim:
		return r.mergePoints(b, newest)
	case distinctPrim:
		return r.set.merge(b)
	case quantilePrim:
		return r.sketch.merge(b)
	case decayPrim:
		k := floorDiv(newest, r.prim.half)
		if r.empty || k > r.base {
			r.rebase(k)
		}
		return r.sum.merge(b, clampShift(r.base-k))
	}
	return r.sum.merge(b, 0)
}

func (r *ir) mergePoints(b []byte, newest int64) int {
	at := 1
	for range b[0] {
		ago, n := uvarint(b[at:])
		at += n
		id, value := binary.LittleEndian.Uint64(b[at:]), binary.LittleEndian.Uint64(b[at+8:])
		at += 16
		r.addPoint(point{newest - int64(ago), id, math.Float64frombits(value)})
	}
	return at
}

// encodedSize returns the length of a primitive's encoded result at the beginning of b, or
// -1 if it is not a valid one of a tile that spans so much.
func (p *prim) encodedSize(b []byte, span uint64) int {
	switch p.kind {
	case countPrim:
		u, n := uvarint(b)
		if u > countMax {
			return -1
		}
		return n
	case minPrim, maxPrim:
		return floatSize(b)
	case firstPrim, lastPrim:
		return p.pointsSize(b, span)
	case distinctPrim:
		return distinctSize(b, p.size)
	case quantilePrim:
		return sketchSize(b)
	}
	return wideSize(b)
}

func (p *prim) pointsSize(b []byte, span uint64) int {
	if len(b) == 0 || int(b[0]) > p.size {
		return -1
	}
	at := 1
	for range b[0] {
		ago, n := uvarint(b[at:])
		if n < 0 || ago > span || len(b) < at+n+16 {
			return -1
		}
		at += n + 16
		if x := math.Float64frombits(binary.LittleEndian.Uint64(b[at-8:])); !(math.Abs(x) <= ValueMax) {
			return -1
		}
	}
	return at
}
