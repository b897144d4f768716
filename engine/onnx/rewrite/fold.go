// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"math"
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// Bounds of folding, beside Options.FoldBytesMax: a result larger than growthFree may
// be at most growthMax times as large as what it is made of.
const (
	growthFree = 1 << 20
	growthMax  = 4
)

// random are the operators that give other results each time.
var random = []string{"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}

// growing are the operators whose result may be larger than the product of what they
// are made of. They are folded only where the size of the result is known before.
var growing = []string{
	"ConstantOfShape", "Expand", "Tile", "Range", "Pad", "Resize", "Upsample", "OneHot", "EyeLike", "ConvTranspose",
	"MaxUnpool", "CenterCropPad", "Col2Im", "STFT", "DFT", "HannWindow", "HammingWindow", "BlackmanWindow",
	"AffineGrid", "GridSample", "MelWeightMatrix", "Scatter", "RoiAlign",
}

// fold replaces a node by constants where its inputs are.
func (r *rewriter) fold(n *node) {
	if plainDomain(n.domain) == Domain || !n.known() || len(n.graphs) > 0 || slices.Contains(random, n.op) || r.keepsSmall(n) {
		return
	}
	if len(n.outputs) == 0 || n.out(0) == nil || n.op == "Identity" { // which is a rule's
		return
	}
	if t, ok := r.arrange(n); ok && len(n.outputs) == 1 {
		r.folded(n, []onnx.Tensor{t})
		return
	}
	if r.options.Evaluate == nil || n.tried || !foldable(n) {
		return
	}
	n.tried = true
	source, inputs, total := source(n)
	if !r.fits(n, total) {
		return
	}
	results, err := r.options.Evaluate(source, r.opset, inputs)
	if err != nil || len(results) < len(n.outputs) {
		return
	}
	for i, out := range n.outputs {
		if out == nil {
			continue
		}
		v, err := results[i].Value()
		if err != nil || !r.allows(int64(len(v.Data)), total) {
			return
		}
	}
	r.folded(n, results)
}

// foldable reports whether all inputs of a node are constants whose data is at hand.
func foldable(n *node) bool {
	some := false
	for _, in := range n.inputs {
		if in == nil {
			continue
		}
		if in.tensor == nil {
			return false
		}
		if _, err := in.tensor.Value(); err != nil {
			return false
		}
		some = true
	}
	return some
}

// fits reports whether the result, made of so many bytes, will be within bounds, as
// far as can be told before it is computed.
func (r *rewriter) fits(n *node, from int64) bool {
	d, ok := dims(n.out(0))
	if !ok || slices.ContainsFunc(d, func(d onnx.Dim) bool { return d.Value < 0 }) {
		return !slices.Contains(growing, n.op)
	}
	t := onnx.Tensor{}
	for _, d := range d {
		t.Dims = append(t.Dims, d.Value)
	}
	count, err := t.Elements()
	size := max(int64(elem(n.out(0)).Datatype().Size()), 1)
	return err == nil && count <= math.MaxInt64/size && r.allows(count*size, from)
}

// allows reports whether a result of so many bytes may be kept, made of so many.
func (r *rewriter) allows(result, from int64) bool {
	return result <= r.options.FoldBytesMax && result <= r.budget &&
		(result <= growthFree || result/growthMax <= from)
}

// source is a node as it is in a file, with its inputs and their size in bytes.
func source(n *node) (*onnx.Node, []onnx.Tensor, int64) {
	out := &onnx.Node{Name: n.name, OpType: n.opType, Domain: n.domain, Overload: n.overload, Attributes: n.attributes}
	inputs := make([]onnx.Tensor, len(n.inputs))
	total := int64(0)
	for i, in := range n.inputs {
		name := ""
		if in != nil {
			name = in.name
			inputs[i] = *in.tensor
			total += bytesOf(in.tensor)
		}
		out.Inputs = append(out.Inputs, name)
	}
	for _, v := range n.outputs {
		name := ""
		if v != nil {
			name = v.name
		}
		out.Outputs = append(out.Outputs, name)
	}
	return out, inputs, total
}

// folded puts constants in the place of a node's outputs.
func (r *rewriter) folded(n *node, results []onnx.Tensor) {
	r.report.Folded++
	for i, out := range n.outputs {
		if out == nil {
			continue
		}
		if n.op != "Constant" { // whose data is there already
			r.budget -= roughBytes(&results[i])
		}
		r.substitute(out, constant(out.name, results[i]), new(int))
	}
	if !n.gone {
		r.remove(n, new(int))
	}
}

// keepsSmall reports whether a node makes weights larger that are kept small for those
// who can use them so: a file that other runtimes read keeps them, and internal
// operators take them, until in the end those left over are made float.
func (r *rewriter) keepsSmall(n *node) bool {
	if r.final || n.in(0) == nil || n.in(0).tensor == nil {
		return false
	}
	switch n.op {
	case "DequantizeLinear":
		return true
	case "Cast":
		to := onnx.ElemType(n.int("to", 0))
		from := n.in(0).tensor.Elem
		return to == onnx.ElemFloat && (from == onnx.ElemFloat16 || from == onnx.ElemBFloat16) && len(n.in(0).tensor.Dims) == 2
	}
	return false
}
