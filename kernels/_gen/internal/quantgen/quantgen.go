// SPDX-License-Identifier: Apache-2.0

// Package quantgen is what the generators of kernels/quant share: where the arguments of
// the matrix kernels lie, and how rows are addressed.
package quantgen

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The fields of the struct tile of kernels/quant, by their offset in bytes; a test there
// holds the struct to them.
const (
	Steps     = 0
	A         = 8
	LDA       = 16
	B         = 24
	Columns   = 32
	Out       = 40
	OutStride = 48
	OutKind   = 56
	Correct   = 64
	Bias32    = 72
	Zeros     = 80
	Sums      = 88
	WScale    = 96
	WStep     = 104
	Bias      = 112
	MinusZero = 120
	AScale    = 124
	OutScale  = 128
	OutInvert = 132
	Lo        = 136
	Hi        = 140
	OutZero   = 144
	Flip      = 148
	OutByte   = 152
)

// The values of the field OutKind.
const (
	KindSums   = 0
	KindFloats = 1
	KindBytes  = 2
)

// Args is the struct tile that the parameter t points to.
type Args struct{ base Register }

// LoadArgs begins a kernel of which t is the only parameter.
func LoadArgs() Args { return Args{Load(Param("t"), GP64())} }

// Field is where a field lies.
func (a Args) Field(offset int) Mem { return Mem{Base: a.base, Disp: offset} }

// Get is a field of 8 bytes in a register.
func (a Args) Get(offset int) GPVirtual {
	r := GP64()
	MOVQ(a.Field(offset), r)
	return r
}

// Rows addresses m rows that are a stride apart with a pointer for every third, from
// which the others are one or two strides away.
type Rows struct {
	count  int
	bases  []Register
	stride Register
}

// NewRows takes over the pointer to the first row.
func NewRows(m int, first, stride Register) Rows {
	r := Rows{m, []Register{first}, stride}
	for i := 3; i < m; i += 3 {
		p := GP64()
		LEAQ(Mem{Base: r.bases[len(r.bases)-1], Index: stride, Scale: 2}, p)
		ADDQ(stride, p)
		r.bases = append(r.bases, p)
	}
	return r
}

// Len is the number of rows.
func (r Rows) Len() int { return r.count }

// At is the byte that is offset into row i.
func (r Rows) At(i, offset int) Mem {
	m := Mem{Base: r.bases[i/3], Disp: offset}
	if i%3 > 0 {
		m.Index, m.Scale = r.stride, uint8(i%3)
	}
	return m
}

// Advance moves all rows by n bytes.
func (r Rows) Advance(n Op) {
	for _, p := range r.bases {
		ADDQ(n, p)
	}
}

// Back moves all rows back by n bytes.
func (r Rows) Back(n Op) {
	for _, p := range r.bases {
		SUBQ(n, p)
	}
}
