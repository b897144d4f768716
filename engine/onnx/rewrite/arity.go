// SPDX-License-Identifier: Apache-2.0

package rewrite

// requiredInputs is how many inputs an operator cannot do without, for those that
// rules and inference look at. All others here take one.
var requiredInputs = map[string]int{
	"Constant": 0, "Concat": 1, "Sum": 1, "Max": 1, "Min": 1, "Mean": 1,
	"Add": 2, "Sub": 2, "Mul": 2, "Div": 2, "Pow": 2, "Mod": 2, "And": 2, "Or": 2, "Xor": 2, "PRelu": 2,
	"Equal": 2, "Less": 2, "LessOrEqual": 2, "Greater": 2, "GreaterOrEqual": 2, "Where": 3,
	"MatMul": 2, "Gemm": 2, "Conv": 2, "MatMulInteger": 2, "QLinearMatMul": 8, "BatchNormalization": 5,
	"LayerNormalization": 2, "RMSNormalization": 2, "Gather": 2, "Reshape": 2, "Expand": 2,
	"QuantizeLinear": 2, "DequantizeLinear": 2, "ai.onnx.ml.ArrayFeatureExtractor": 2,
	Domain + "." + OpLinear: 2, Domain + "." + OpConv: 2, Domain + "." + OpEmbeddingBag: 2,
	Domain + "." + OpLinearDynamicInt8: 3, Domain + "." + OpLinearInt8: 6,
	Domain + "." + OpLayerNormalization: 2, Domain + "." + OpRMSNormalization: 2,
}

// setAside hides nodes from rules and inference that lack an input or the output that
// their operator must have. Rules may count on both; whether the node means something
// is for the runtime to say.
func (r *rewriter) setAside(g *graph) {
	for n := g.first; n != nil; n = n.next {
		required, listed := requiredInputs[n.op]
		_, inferred := inferrers[n.op]
		if !listed && (inferred || len(r.rules[n.op]) > 0) {
			required = 1
		}
		lacks := n.out(0) == nil
		for i := range required {
			lacks = lacks || n.in(i) == nil
		}
		if lacks && (required > 0 || listed) {
			n.opaque, n.op = true, "malformed:"+n.op
		}
		for _, inner := range n.graphs {
			r.setAside(inner)
		}
	}
}
