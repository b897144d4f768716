// SPDX-License-Identifier: Apache-2.0

package window

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

const (
	registerBits = 12
	registers    = 1 << registerBits
	rankMax      = 64 - registerBits + 1
	packedBytes  = registers * 6 / 8
)

// distinct is a set of hashes, or once it has had more than max of them the registers of
// a HyperLogLog. Either is a function of the set alone, whatever the order.
type distinct struct {
	max    int
	hashes []uint64 // ascending, while full is false
	full   bool
	ranks  []uint8 // allocated when first needed
}

func (d *distinct) reset() {
	d.hashes = d.hashes[:0]
	if d.full {
		clear(d.ranks)
		d.full = false
	}
}

// add adds a hash.
func (d *distinct) add(h uint64) {
	if d.full {
		d.register(h)
		return
	}
	i, found := slices.BinarySearch(d.hashes, h)
	if found {
		return
	}
	d.hashes = slices.Insert(d.hashes, i, h)
	if len(d.hashes) > d.max {
		d.fill()
	}
}

// fill turns to registers.
func (d *distinct) fill() {
	if d.ranks == nil {
		d.ranks = make([]uint8, registers)
	}
	d.full = true
	for _, h := range d.hashes {
		d.register(h)
	}
	d.hashes = d.hashes[:0]
}

func (d *distinct) register(h uint64) {
	i, rank := h>>(64-registerBits), uint8(bits.LeadingZeros64(h<<registerBits|1<<(registerBits-1))+1)
	d.ranks[i] = max(d.ranks[i], rank)
}

// load makes d the set of the keys of hashes, of which it keeps no order while exact.
func (d *distinct) load(hashes map[uint64]uint32) {
	d.reset()
	if len(hashes) > d.max {
		d.fill()
		for h := range hashes {
			d.register(h)
		}
		return
	}
	for h := range hashes {
		d.hashes = append(d.hashes, h)
	}
}

// count returns the number of hashes, or its estimate.
func (d *distinct) count() float64 {
	if !d.full {
		return float64(len(d.hashes))
	}
	var have [rankMax + 1]int
	for _, r := range d.ranks {
		have[r]++
	}
	// Ertl 2017, algorithm 6.
	z := registers * tau(1-float64(have[rankMax])/registers)
	for k := rankMax - 1; k >= 1; k-- {
		z = (z + float64(have[k])) / 2
	}
	zero := registers * sigma(float64(have[0])/registers)
	return math.Round(registers * registers / (2 * math.Ln2) / (z + zero))
}

func sigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	z, y := x, 1.0
	for range 64 { // x squares each time, so this ends by underflow long before
		x *= x
		before := z
		z += float64(x * y)
		y += y
		if z == before {
			break
		}
	}
	return z
}

func tau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	z, y := 1-x, 1.0
	for range 64 { // 1-x halves each time
		x = math.Sqrt(x)
		before := z
		y /= 2
		z -= float64((1 - x) * (1 - x) * y)
		if z == before {
			break
		}
	}
	return z / 3
}

// append encodes the set: byte 0, uvarint n and n hashes; or byte 1 and the registers, four
// in three bytes.
func (d *distinct) append(dst []byte) []byte {
	if !d.full {
		dst = binary.AppendUvarint(append(dst, 0), uint64(len(d.hashes)))
		for _, h := range d.hashes {
			dst = binary.LittleEndian.AppendUint64(dst, h)
		}
		return dst
	}
	dst = append(dst, 1)
	for r := d.ranks; len(r) > 0; r = r[4:] {
		u := uint32(r[0]) | uint32(r[1])<<6 | uint32(r[2])<<12 | uint32(r[3])<<18
		dst = append(dst, byte(u), byte(u>>8), byte(u>>16))
	}
	return dst
}

// merge adds an encoded set and returns its length. b has been checked.
func (d *distinct) merge(b []byte) int {
	if b[0] == 0 {
		n, at := uvarint(b[1:])
		at++
		for range n {
			d.add(binary.LittleEndian.Uint64(b[at:]))
			at += 8
		}
		return at
	}
	if !d.full {
		d.fill()
	}
	for i := 0; i < registers; i += 4 {
		p := b[1+i/4*3:]
		u := uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16
		for k := range 4 {
			d.ranks[i+k] = max(d.ranks[i+k], uint8(u>>(6*k)&63))
		}
	}
	return 1 + packedBytes
}

// distinctSize returns the length of the encoded set at the beginning of b, or -1.
func distinctSize(b []byte, exactMax int) int {
	if len(b) < 2 || b[0] > 1 {
		return -1
	}
	if b[0] == 0 {
		n, at := uvarint(b[1:])
		if at < 0 || n > uint64(exactMax) || len(b) < 1+at+8*int(n) {
			return -1
		}
		return 1 + at + 8*int(n)
	}
	if len(b) < 1+packedBytes {
		return -1
	}
	for i := 1; i <= packedBytes; i += 3 {
		u := uint32(b[i]) | uint32(b[i+1])<<8 | uint32(b[i+2])<<16
		for k := range 4 {
			if u>>(6*k)&63 > rankMax {
				return -1
			}
		}
	}
	return 1 + packedBytes
}
