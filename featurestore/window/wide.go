// SPDX-License-Identifier: Apache-2.0

package window

import (
	"encoding/binary"
	"math"
	"math/bits"
)

const (
	chunkBits  = 32
	chunkMask  = 1<<chunkBits - 1
	wideChunks = 68
	// wideBias is minus the exponent of the lowest bit: chunk 0 begins at 2^-1088, the last
	// ends at 2^1088, so that every float64 and 2^63 squares of values fit.
	wideBias = 1088
	// carryEvery keeps chunks, which each addition moves by less than 2^32, inside an int64.
	carryEvery = 1 << 29
)

// wide is an exact sum of float64s: a fixed-point number in chunks of 32 bits, each held
// in an int64 whose upper half takes the carries until they are needed. Adding is three
// additions and no branch on data; subtracting undoes it exactly.
type wide struct {
	chunk  [wideChunks + 2]int64 // the two spare ones take carries
	lo, hi int                   // chunks outside [lo, hi) are zero
	adds   int                   // since the last carry
}

// digits is a magnitude in base 2^32; digits outside the range returned with it are not valid.
type digits [wideChunks + 4]uint32

func (w *wide) reset() {
	clear(w.chunk[w.lo:w.hi])
	w.lo, w.hi, w.adds = 0, 0, 0
}

// add adds x, or subtracts it where sign is -1. x is finite.
func (w *wide) add(x float64, sign int64) {
	m, e, s := split(x)
	w.addAt(m, e+wideBias, s*sign)
}

// addAll adds values, NaN left out: add without the bookkeeping for each.
func (w *wide) addAll(values []float64) {
	lo, hi := w.lo, w.hi
	if hi == 0 {
		lo = wideChunks
	}
	for _, x := range values {
		if x == 0 || x != x { // a zero would widen the range for nothing
			continue
		}
		m, e, s := split(x)
		bit := uint(e + wideBias)
		i, low := int(bit/chunkBits), m<<(bit%chunkBits)
		c := (*[3]int64)(w.chunk[i : i+3])
		c[0] += s * int64(low&chunkMask)
		c[1] += s * int64(low>>chunkBits)
		c[2] += s * int64(m>>(64-bit%chunkBits))
		lo, hi = min(lo, i), max(hi, i+3)
	}
	if hi > 0 {
		w.lo, w.hi = lo, hi
	}
	if w.adds += len(values); w.adds >= carryEvery {
		w.carry()
	}
}

// addSquare adds x*x, or subtracts it where sign is -1.
func (w *wide) addSquare(x float64, sign int64) {
	m, e, _ := split(x)
	hi, lo := bits.Mul64(m, m)
	w.addWide(hi, lo, 2*e+wideBias, sign)
}

// split returns x as s * m * 2^e with m < 2^53.
func split(x float64) (m uint64, e int, s int64) {
	b := math.Float64bits(x)
	e = int(b>>52) & 0x7ff
	m = b & (1<<52 - 1)
	if e == 0 {
		e = 1
	} else {
		m |= 1 << 52
	}
	return m, e - 1075, 1 - 2*int64(b>>63)
}

// addWide adds sign * (hi*2^64 + lo) at the given bit.
func (w *wide) addWide(hi, lo uint64, bit int, sign int64) {
	if lo != 0 {
		w.addAt(lo, bit, sign)
	}
	if hi != 0 {
		w.addAt(hi, bit+64, sign)
	}
}

// addAt adds sign * m at the given bit. What lies below bit 0 is cut off, and what lies above
// the last chunk, where only corrupt data can lead, is dropped.
func (w *wide) addAt(m uint64, bit int, sign int64) {
	if bit < 0 {
		m >>= uint(-bit)
		bit = 0
	}
	i, s := bit/chunkBits, uint(bit%chunkBits)
	if i >= wideChunks || m == 0 {
		return
	}
	w.touch(i, i+3)
	low := m << s
	c := w.chunk[i : i+3 : i+3]
	c[0] += sign * int64(low&chunkMask)
	c[1] += sign * int64(low>>chunkBits)
	c[2] += sign * int64(m>>(64-s))
	if w.adds++; w.adds >= carryEvery {
		w.carry()
	}
}

func (w *wide) touch(lo, hi int) {
	if w.hi == 0 {
		w.lo, w.hi = lo, hi
		return
	}
	w.lo, w.hi = min(w.lo, lo), max(w.hi, hi)
}

// carry moves what exceeds a chunk to the next; the last one used keeps its sign.
func (w *wide) carry() {
	w.adds = 0
	for i := w.lo; i < len(w.chunk)-1; i++ {
		if i >= w.hi-1 && w.chunk[i] == int64(int32(w.chunk[i])) {
			return
		}
		over := w.chunk[i] >> chunkBits
		w.chunk[i] &= chunkMask
		w.chunk[i+1] += over
		w.hi = max(w.hi, i+2)
	}
}

// digits writes the magnitude of the sum and returns where it begins and ends, first and
// last digit not zero. Equal sums have equal digits, whatever they were added from.
func (w *wide) digits(d *digits) (lo, hi int, negative bool) {
	var over int64
	for i := w.lo; i < w.hi; i++ {
		v := w.chunk[i] + over
		d[i], over = uint32(v), v>>chunkBits
	}
	lo, hi = w.lo, w.hi
	if over != 0 {
		d[hi] = uint32(over)
		hi++
	}
	if over < 0 {
		negate(d[lo:hi])
	}
	for lo < hi && d[lo] == 0 {
		lo++
	}
	for hi > lo && d[hi-1] == 0 {
		hi--
	}
	return lo, hi, over < 0
}

// negate replaces a two's complement number by its negative.
func negate(d []uint32) {
	over := uint32(1)
	for i, v := range d {
		d[i], over = bits.Add32(^v, 0, over)
	}
}

// round returns the float64 nearest to the sum times 2^scale, ties to even.
func (w *wide) round(scale int) float64 {
	var d digits
	lo, hi, negative := w.digits(&d)
	if lo == hi {
		return 0
	}
	var top uint64 // the leading 64 bits
	exponent := chunkBits*hi - 64 - wideBias + scale
	for k := 1; k <= 3; k++ {
		if i := hi - k; i >= lo {
			if k < 3 {
				top |= uint64(d[i]) << (64 - chunkBits*k)
			} else {
				s := uint(bits.LeadingZeros64(top))
				top = top<<s | uint64(d[i])>>(chunkBits-s)
				exponent -= int(s)
				return signed(nearest(top, exponent, d[i]<<s != 0 || hi-lo > 3), negative)
			}
		}
	}
	s := bits.LeadingZeros64(top)
	return signed(nearest(top<<uint(s), exponent-s, false), negative)
}

func signed(x float64, negative bool) float64 {
	if negative {
		return -x
	}
	return x
}

// nearest rounds top * 2^exponent, top having its highest bit set, to a float64; more says that
// something below top is not zero.
func nearest(top uint64, exponent int, more bool) float64 {
	drop := max(11, -1074-exponent)
	if drop > 64 {
		return 0
	}
	kept, rest := top>>uint(drop), top<<uint(64-drop)
	if half := uint64(1) << 63; rest > half || rest == half && (more || kept&1 == 1) {
		kept++
	}
	return math.Ldexp(float64(kept), exponent+drop)
}

// shift multiplies the sum by 2^-by, by >= 0. The result is exact unless bits fall below 2^-1088.
func (w *wide) shift(by int) {
	var d digits
	lo, hi, negative := w.digits(&d)
	w.reset()
	for i := lo; i < hi; i++ {
		w.addAt(uint64(d[i]), chunkBits*i-by, sign(negative))
	}
}

func sign(negative bool) int64 {
	if negative {
		return -1
	}
	return 1
}

// addProduct adds x times the sum in o, times the sign, cut off below 2^-1088. o is not w.
func (w *wide) addProduct(o *wide, x float64, s int64) {
	var d digits
	lo, hi, negative := o.digits(&d)
	m, e, xs := split(x)
	for i := lo; i < hi; i++ {
		high, low := bits.Mul64(m, uint64(d[i]))
		w.addWide(high, low, chunkBits*i+e, s*xs*sign(negative))
	}
}

// append encodes the sum: first digit, number of digits and sign, digits. What corrupt data
// carried above the last chunk is dropped.
func (w *wide) append(dst []byte) []byte {
	var d digits
	lo, hi, negative := w.digits(&d)
	lo, hi = min(lo, wideChunks), min(hi, wideChunks)
	n := byte(hi-lo) << 1
	if negative {
		n |= 1
	}
	if lo == hi {
		lo = 0
	}
	dst = append(dst, byte(lo), n)
	for _, v := range d[lo:max(lo, hi)][:n>>1] {
		dst = binary.LittleEndian.AppendUint32(dst, v)
	}
	return dst
}

// merge adds an encoded sum times 2^-by, by >= 0, and returns its length. b has been checked.
func (w *wide) merge(b []byte, by int) int {
	first, n, s := int(b[0]), int(b[1]>>1), sign(b[1]&1 == 1)
	if by == 0 && n > 0 {
		w.touch(first, first+n)
		for i := range w.chunk[first : first+n] {
			w.chunk[first+i] += s * int64(binary.LittleEndian.Uint32(b[2+4*i:]))
		}
		if w.adds++; w.adds >= carryEvery {
			w.carry()
		}
		return 2 + 4*n
	}
	for i := range n {
		w.addAt(uint64(binary.LittleEndian.Uint32(b[2+4*i:])), chunkBits*(first+i)-by, s)
	}
	return 2 + 4*n
}

// wideSize returns the length of the encoded sum at the beginning of b, or -1.
func wideSize(b []byte) int {
	if len(b) < 2 {
		return -1
	}
	n := int(b[1] >> 1)
	if int(b[0])+n > wideChunks || len(b) < 2+4*n {
		return -1
	}
	return 2 + 4*n
}
