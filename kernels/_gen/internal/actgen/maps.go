// SPDX-License-Identifier: Apache-2.0

package actgen

import (
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// formula is an element-wise map: y of x and the function's parameters.
type formula func(m *Machine, x Vec, parameters []Uniform) Vec

// element is one function to write.
type element struct {
	name       string
	doc        string
	parameters string // separated by spaces
	f          formula
	width      int // registers per group of AVX-512, 0 for 4; AVX2 takes half
	keep       int // constants in registers with AVX-512, 0 for 8
}

// Maps writes the element-wise functions for one ISA.
func Maps(isa ISA) {
	t := &tables{isa, map[uint32]Mem{}}
	for _, e := range elements {
		e.write(&Machine{ISA: isa, tables: t})
	}
}

// size is the width of groups and the number of constants kept in registers. AVX2 has
// half the registers, and reads its constants from memory.
func (e element) size(isa ISA) (width, keep int) {
	width, keep = e.width, e.keep
	if width == 0 {
		width = 4
	}
	if keep == 0 {
		keep = 8
	}
	if isa == AVX2 {
		return max(width/2, 1), 0
	}
	return width, keep
}

func (e element) write(m *Machine) {
	names := strings.Fields(e.parameters)
	signature := "func(dst, src []float32"
	if len(names) > 0 {
		signature += ", " + strings.Join(names, ", ") + " float32"
	}
	TEXT(e.name+m.Name, NOSPLIT, signature+")")
	Pragma("noescape")
	Doc(e.name + m.Name + " is " + e.doc + ". dst has at least the length of src.")
	dst, src, n := Load(Param("dst").Base(), GP64()), Load(Param("src").Base(), GP64()), Load(Param("src").Len(), GP64())
	var parameters []Uniform
	for _, name := range names {
		parameters = append(parameters, m.parameter(name))
	}
	width, keep := e.size(m.ISA)
	m.Keep(keep, func() { e.f(m, Vec{}, parameters) })
	m.Sweep(n.(reg.GPVirtual), width, func(c *Cursor) {
		c.Store(e.f(m, c.Load(src.(reg.GPVirtual)), parameters), dst.(reg.GPVirtual))
	})
	VZEROUPPER()
	RET()
}

// parameter is a parameter of type float32 in all lanes.
func (m *Machine) parameter(name string) Uniform {
	u := Uniform{m.register()}
	VBROADCASTSS(m.address(name), u.VecVirtual)
	return u
}

// address is where a parameter is.
func (m *Machine) address(name string) Mem {
	b, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

var elements = []element{
	{name: "exp", doc: "e to the power x", f: plain((*Machine).Exp), keep: 12},
	{name: "log", doc: "the natural logarithm", f: plain((*Machine).Log), keep: 12},
	{name: "sigmoid", doc: "1 / (1 + exp(-x))", f: plain(sigmoid)},
	{name: "tanh", doc: "the hyperbolic tangent", f: plain(tanh)},
	{name: "silu", doc: "x / (1 + exp(-x))", f: plain(silu)},
	{name: "softplus", doc: "log(1 + exp(x))", f: plain(softplus)},
	{name: "mish", doc: "x * tanh(log(1 + exp(x)))", f: plain(mish)},
	{name: "erf", doc: "the error function", f: plain(erf), keep: 12},
	{name: "gelu", doc: "x times the normal distribution", f: plain(gelu), keep: 7},
	{name: "geluTanh", doc: "gelu by its approximation with tanh", f: plain(geluTanh), keep: 6},
	{name: "relu", doc: "max(x, 0)", f: plain(relu)},
	{name: "leakyRelu", doc: "x, times alpha below 0", parameters: "alpha", f: leakyRelu},
	{name: "thresholdedRelu", doc: "x above alpha, and 0 elsewhere", parameters: "alpha", f: thresholdedRelu},
	{name: "expm1Below", doc: "above*x above 0, and below*(exp(inner*x) - 1) elsewhere",
		parameters: "inner below above", f: expm1Below, keep: 4},
	{name: "hardSigmoid", doc: "alpha*x + beta cut to [0, 1]", parameters: "alpha beta", f: hardSigmoid},
	{name: "hardSwish", doc: "x * min(max(x + 3, 0), 6) / 6", f: plain(hardSwish)},
	{name: "clip", doc: "min(max(x, low), high)", parameters: "low high", f: clip},
	{name: "softsign", doc: "x / (1 + |x|)", f: plain(softsign)},
	{name: "sqrt", doc: "the square root", f: plain((*Machine).Sqrt)},
	{name: "rsqrt", doc: "1 / √x", f: plain(func(m *Machine, x Vec) Vec { return m.Over(Float(1), m.Sqrt(x)) })},
	{name: "reciprocal", doc: "1 / x", f: plain(func(m *Machine, x Vec) Vec { return m.Over(Float(1), x) })},
	{name: "square", doc: "x * x", f: plain(func(m *Machine, x Vec) Vec { return m.Mul(x, x) })},
	{name: "cube", doc: "x * x * x", f: plain(func(m *Machine, x Vec) Vec { return m.Mul(m.Mul(x, x), x) })},
	{name: "abs", doc: "|x|", f: plain((*Machine).Abs)},
	{name: "neg", doc: "-x", f: plain(func(m *Machine, x Vec) Vec { return m.Xor(x, signBit) })},
	{name: "sign", doc: "-1, 0 or 1", f: plain(sign)},
	{name: "floor", doc: "the next whole number down", f: whole(toFloor)},
	{name: "ceil", doc: "the next whole number up", f: whole(toCeil)},
	{name: "round", doc: "the nearest whole number, the even one of two", f: whole(toNearest)},
}

// plain is a formula without parameters.
func plain(f func(m *Machine, x Vec) Vec) formula {
	return func(m *Machine, x Vec, _ []Uniform) Vec { return f(m, x) }
}

func whole(mode int) formula {
	return func(m *Machine, x Vec, _ []Uniform) Vec { return m.Whole(x, mode) }
}
