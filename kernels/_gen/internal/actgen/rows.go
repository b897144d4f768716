// SPDX-License-Identifier: Apache-2.0

package actgen

import (
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// block is the arguments of a function over rows: dst, src and the columns.
type block struct {
	dst, src, cols reg.GPVirtual
}

// rows emits body for each row of src, whose length is a multiple of cols.
func (m *Machine) rows(body func(b block)) {
	b := block{m.general("dst_base"), m.general("src_base"), m.general("cols")}
	end := GP64()
	MOVQ(m.general("src_len"), end)
	LEAQ(Mem{Base: b.src, Index: end, Scale: 4}, end)
	Label("row")
	body(b)
	LEAQ(Mem{Base: b.src, Index: b.cols, Scale: 4}, b.src)
	LEAQ(Mem{Base: b.dst, Index: b.cols, Scale: 4}, b.dst)
	CMPQ(b.src, end)
	JLT(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// general is a parameter, or the base or length of one, in a register.
func (m *Machine) general(name string) reg.GPVirtual {
	r := GP64()
	if slice, ok := strings.CutSuffix(name, "_base"); ok {
		Load(Param(slice).Base(), r)
	} else if slice, ok := strings.CutSuffix(name, "_len"); ok {
		Load(Param(slice).Len(), r)
	} else {
		Load(Param(name), r)
	}
	return r
}

// fold makes one vector of a group, in a fixed order: halves onto each other.
func (m *Machine) fold(v Vec, f instruction) Vec {
	for n := len(v); n > 1; n /= 2 {
		for i := range n / 2 {
			f(v[i+n/2], v[i], v[i])
		}
	}
	return v[:1]
}

// across reduces a group to one value in all lanes.
func (m *Machine) across(v Vec, f instruction) Uniform { return m.broadcast(m.lane(v, f)) }

// broadcast is the first lane of x in all lanes.
func (m *Machine) broadcast(x reg.Register) Uniform {
	u := Uniform{m.register()}
	VBROADCASTSS(x, u.VecVirtual)
	return u
}

// lane reduces a group to one value in the first lane.
func (m *Machine) lane(v Vec, f instruction) reg.Register {
	v = m.fold(v, f)
	low, half, other := v[0].AsY(), v[0].AsX(), YMM()
	if m.ISA == AVX512 {
		VEXTRACTF64X4(Imm(1), v[0], other)
		f(other, low, low)
		VEXTRACTF32X4(Imm(1), low, other.AsX())
	} else {
		VEXTRACTF128(Imm(1), low, other.AsX())
	}
	f(other.AsX(), half, half)
	VPERMILPS(Imm(0x4e), half, other.AsX())
	f(other.AsX(), half, half)
	VPERMILPS(Imm(0xb1), half, other.AsX())
	f(other.AsX(), half, half)
	return half
}

// add puts a group onto accumulators, of which tails and single vectors use the first.
func (m *Machine) add(sums, v Vec) {
	for i := range v {
		VADDPS(v[i], sums[i], sums[i])
	}
}
