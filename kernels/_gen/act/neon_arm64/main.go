// SPDX-License-Identifier: Apache-2.0

// Command neon_arm64 generates the NEON kernels of kernels/act. Formulas, polynomials
// and their bounds are those of kernels/_gen/internal/actgen, in the form without
// AVX-512's instructions for exponents.
package main

import (
	"strings"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/neon"
)

// formula is an element-wise map: y of x and the function's parameters.
type formula func(m *machine, x group, parameters []uniform) group

// element is one function to write.
type element struct {
	name       string
	doc        string
	parameters string // separated by spaces
	f          formula
}

func main() {
	neon.Generate(func(f *neon.File) {
		for _, e := range elements {
			e.write(f)
		}
		writeSoftmax(f)
		writeLayerNorm(f)
		writeRMSNorm(f)
	})
}

// mapGroup is how many vectors of a map are worked on at a time.
const mapGroup = 4

func (e element) write(f *neon.File) {
	names := strings.Fields(e.parameters)
	signature := "func(dst, src []float32"
	if len(names) > 0 {
		signature += ", " + strings.Join(names, ", ") + " float32"
	}
	f.Func(e.name+"NEON", signature+")", "is "+e.doc+". dst has at least the length of src.", func(f *neon.Func) {
		m := &machine{f}
		m.Table()
		var parameters []uniform
		for _, name := range names {
			parameters = append(parameters, uniform{m.ArgLanes(name)})
		}
		dst, src := m.Arg("dst_base"), m.Arg("src_base")
		m.Sweep(m.Arg("src_len"), mapGroup, func(c *neon.Cursor) {
			c.Store(e.f(m, c.Load(src), parameters), dst)
		})
		m.Return()
	})
}

var elements = []element{
	{name: "exp", doc: "e to the power x", f: plain((*machine).exp)},
	{name: "log", doc: "the natural logarithm", f: plain((*machine).log)},
	{name: "sigmoid", doc: "1 / (1 + exp(-x))", f: plain(sigmoid)},
	{name: "tanh", doc: "the hyperbolic tangent", f: plain(tanh)},
	{name: "silu", doc: "x / (1 + exp(-x))", f: plain(silu)},
	{name: "softplus", doc: "log(1 + exp(x))", f: plain(softplus)},
	{name: "mish", doc: "x * tanh(log(1 + exp(x)))", f: plain(mish)},
	{name: "erf", doc: "the error function", f: plain(erf)},
	{name: "gelu", doc: "x times the normal distribution", f: plain(gelu)},
	{name: "geluTanh", doc: "gelu by its approximation with tanh", f: plain(geluTanh)},
	{name: "relu", doc: "max(x, 0)", f: plain(relu)},
	{name: "leakyRelu", doc: "x, times alpha below 0", parameters: "alpha", f: leakyRelu},
	{name: "thresholdedRelu", doc: "x above alpha, and 0 elsewhere", parameters: "alpha", f: thresholdedRelu},
	{name: "expm1Below", doc: "above*x above 0, and below*(exp(inner*x) - 1) elsewhere",
		parameters: "inner below above", f: expm1Below},
	{name: "hardSigmoid", doc: "alpha*x + beta cut to [0, 1]", parameters: "alpha beta", f: hardSigmoid},
	{name: "hardSwish", doc: "x * min(max(x + 3, 0), 6) / 6", f: plain(hardSwish)},
	{name: "clip", doc: "min(max(x, low), high)", parameters: "low high", f: clip},
	{name: "softsign", doc: "x / (1 + |x|)", f: plain(softsign)},
	{name: "sqrt", doc: "the square root", f: plain((*machine).sqrt)},
	{name: "rsqrt", doc: "1 / √x", f: plain(func(m *machine, x group) group { return m.over(number(1), m.sqrt(x)) })},
	{name: "reciprocal", doc: "1 / x", f: plain(func(m *machine, x group) group { return m.over(number(1), x) })},
	{name: "square", doc: "x * x", f: plain(func(m *machine, x group) group { return m.mul(x, x) })},
	{name: "cube", doc: "x * x * x", f: plain(func(m *machine, x group) group { return m.mul(m.mul(x, x), x) })},
	{name: "abs", doc: "|x|", f: plain((*machine).abs)},
	{name: "neg", doc: "-x", f: plain(func(m *machine, x group) group { return m.unary(neon.FNEG, x) })},
	{name: "sign", doc: "-1, 0 or 1", f: plain(sign)},
	{name: "floor", doc: "the next whole number down", f: whole(neon.FRINTM)},
	{name: "ceil", doc: "the next whole number up", f: whole(neon.FRINTP)},
	{name: "round", doc: "the nearest whole number, the even one of two", f: whole(neon.FRINTN)},
}

// plain is a formula without parameters.
func plain(f func(m *machine, x group) group) formula {
	return func(m *machine, x group, _ []uniform) group { return f(m, x) }
}

func whole(op neon.Op) formula {
	return func(m *machine, x group, _ []uniform) group { return m.unary(op, x) }
}
