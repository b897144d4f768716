// SPDX-License-Identifier: Apache-2.0

package optimize

import (
	"fmt"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// Form is how a product is written.
type Form string

// The forms.
const (
	FormFloat   Form = "float"
	FormDynamic Form = "dynamic"
	FormStatic  Form = "static"
	FormBF16    Form = "bf16"
)

// opsetMin is the first version of the standard operators that has what a form needs:
// DynamicQuantizeLinear, scales for each column, casts from bfloat16.
var opsetMin = map[Form]int64{FormDynamic: 11, FormStatic: 13, FormBF16: 13}

// choice is the form of one product.
type choice struct {
	form Form
	// reason says why it is another than was asked for.
	reason string
	// input is how static mode quantises the left side.
	input affine
	// output is how it quantises what Relu or Clip makes of the product, where no other
	// product does so; nil where it does not.
	output *affine
}

// writer writes products in their forms into a copy of a graph.
type writer struct {
	graph     *onnx.Graph
	options   *Options
	taken     map[string]bool
	nodes     []onnx.Node
	constants []onnx.Tensor
	// inputs and weights are what was quantised before, for those who share it.
	inputs  map[string]quantizedInput
	weights map[string]quantizedWeights
	// outputs are the values to quantise and back where they are made, renamed what
	// reads in their place.
	outputs map[string]affine
	renamed map[string]string
}

// quantizedInput is the names of a left side: as 8-bit integers with scale and zero
// point in dynamic mode, as floats that were quantised in static mode.
type quantizedInput struct{ value, scale, zero string }

type quantizedWeights struct {
	value, scale, zero string
	scales             []float32
}

// apply gives a copy of a model with its products in other forms. It shares tensors
// with m. choices has an entry for each of the products, which are those of m.
func apply(m *onnx.Model, products []*product, choices []choice, o *Options) (*onnx.Model, error) {
	graph := *m.Graph
	w := &writer{
		graph: &graph, options: o, taken: make(map[string]bool),
		inputs: make(map[string]quantizedInput), weights: make(map[string]quantizedWeights),
		outputs: make(map[string]affine), renamed: make(map[string]string),
	}
	w.takeNames(m.Graph)
	for i := range choices {
		if choices[i].output != nil {
			w.outputs[products[i].clipped] = *choices[i].output
		}
	}
	next := 0
	for i := range m.Graph.Nodes {
		if next == len(products) || products[next].at != i {
			w.copied(m.Graph.Nodes[i])
			continue
		}
		p, c := w.reading(products[next]), &choices[next]
		next++
		if err := w.product(p, c); err != nil {
			return nil, fmt.Errorf("node %q: %w", p.name, err)
		}
	}
	graph.Nodes = w.nodes
	graph.Initializers = append(slices.Clone(graph.Initializers), w.constants...)
	prune(&graph)
	result := *m
	result.Graph = &graph
	if err := result.Check(); err != nil {
		return nil, fmt.Errorf("optimized model: %w", err)
	}
	return &result, nil
}

func (w *writer) product(p *product, c *choice) error {
	var err error
	switch c.form {
	case FormDynamic:
		err = w.dynamic(p)
	case FormStatic:
		err = w.static(p, c.input)
	case FormBF16:
		err = w.bf16(p)
	default:
		w.nodes = append(w.nodes, *p.node)
	}
	// The node that gives the result keeps the name.
	w.nodes[len(w.nodes)-1].Name = p.node.Name
	return err
}

// copied writes a node as it was. What it makes may have to be quantised and back:
// ONNX Runtime takes a product that goes through Relu or Clip for quantised only where
// that is so, and would make its weights float in each run.
func (w *writer) copied(n onnx.Node) {
	n.Inputs = w.rename(n.Inputs)
	w.nodes = append(w.nodes, n)
	for _, out := range n.Outputs {
		if a, ok := w.outputs[out]; ok {
			w.renamed[out] = w.dequantizedInput(out, a)
		}
	}
}

// reading is a product that reads what stands in the place of its inputs.
func (w *writer) reading(p *product) *product {
	if w.renamed[p.x] == "" && w.renamed[p.addend] == "" {
		return p
	}
	changed, node := *p, *p.node
	node.Inputs = w.rename(node.Inputs)
	changed.node, changed.x = &node, node.Inputs[0]
	if p.addend != "" {
		changed.addend = node.Inputs[2]
	}
	return &changed
}

func (w *writer) rename(names []string) []string {
	names = slices.Clone(names)
	for i, name := range names {
		if other := w.renamed[name]; other != "" {
			names[i] = other
		}
	}
	return names
}

// takeNames notes all names of values and nodes, those of graphs inside nodes included.
func (w *writer) takeNames(g *onnx.Graph) {
	for _, list := range [][]onnx.ValueInfo{g.Inputs, g.Outputs, g.ValueInfos} {
		for i := range list {
			w.taken[list[i].Name] = true
		}
	}
	for i := range g.Initializers {
		w.taken[g.Initializers[i].Name] = true
	}
	for i := range g.SparseInitializers {
		w.taken[g.SparseInitializers[i].Values.Name] = true
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		w.taken[n.Name] = true
		for _, name := range slices.Concat(n.Inputs, n.Outputs) {
			w.taken[name] = true
		}
		for _, inner := range innerGraphs(n) {
			w.takeNames(inner)
		}
	}
}

// innerGraphs are the graphs that a node holds.
func innerGraphs(n *onnx.Node) []*onnx.Graph {
	var list []*onnx.Graph
	for i := range n.Attributes {
		if g := n.Attributes[i].Graph; g != nil {
			list = append(list, g)
		}
		for j := range n.Attributes[i].Graphs {
			list = append(list, &n.Attributes[i].Graphs[j])
		}
	}
	return list
}

// name makes a name that is free.
func (w *writer) name(stem, suffix string) string {
	name := stem + suffix
	for i := 2; w.taken[name]; i++ {
		name = fmt.Sprintf("%s%s_%d", stem, suffix, i)
	}
	w.taken[name] = true
	return name
}

func (w *writer) constant(t onnx.Tensor) string {
	w.constants = append(w.constants, t)
	return t.Name
}

// node adds a node with one output, or several.
func (w *writer) node(opType string, inputs, outputs []string, attributes ...onnx.Attribute) {
	w.nodes = append(w.nodes, onnx.Node{
		Name: w.name(outputs[0], "_"+opType), OpType: opType, Inputs: inputs, Outputs: outputs, Attributes: attributes,
	})
}

// step adds a node whose output is named after a value, and gives that name.
func (w *writer) step(opType, stem, suffix string, inputs []string, attributes ...onnx.Attribute) string {
	out := w.name(stem, suffix)
	w.node(opType, inputs, []string{out}, attributes...)
	return out
}

// quantized gives the weights of a product as 8-bit integers.
func (w *writer) quantized(p *product) (quantizedWeights, error) {
	key := fmt.Sprintf("%t %s", p.transposed, p.weightsName)
	if q, ok := w.weights[key]; ok {
		return q, nil
	}
	list, err := p.matrix()
	if err != nil {
		return quantizedWeights{}, err
	}
	values, scales := quantizeWeights(list, p.n, w.options.PerTensor, w.options.largest())
	var dims []int64
	if !w.options.PerTensor {
		dims = []int64{int64(p.n)}
	}
	q := quantizedWeights{scales: scales}
	q.value = w.constant(onnx.TensorOf(w.name(p.weightsName, "_int8"), values, int64(p.k), int64(p.n)))
	q.scale = w.constant(onnx.TensorOf(w.name(p.weightsName, "_scale"), scales, dims...))
	q.zero = w.constant(onnx.TensorOf(w.name(p.weightsName, "_zero"), make([]int8, len(scales)), dims...))
	w.weights[key] = q
	return q, nil
}

// largest is the largest integer of quantised weights.
func (o *Options) largest() float64 {
	if o.ReduceRange {
		return 63
	}
	return 127
}

// dynamic writes the chain that quantising tools write and engines know:
// Cast(MatMulInteger) times both scales, plus the bias.
func (w *writer) dynamic(p *product) error {
	weights, err := w.quantized(p)
	if err != nil {
		return err
	}
	key := "dynamic " + p.x
	x, ok := w.inputs[key]
	if !ok {
		x = quantizedInput{w.name(p.x, "_quantized"), w.name(p.x, "_scale"), w.name(p.x, "_zero")}
		w.node("DynamicQuantizeLinear", []string{p.x}, []string{x.value, x.scale, x.zero})
		w.inputs[key] = x
	}
	out := p.node.Outputs[0]
	product := w.step("MatMulInteger", out, "_integers", []string{x.value, weights.value, x.zero})
	cast := w.step("Cast", out, "_cast", []string{product}, onnx.IntAttribute("to", int64(onnx.ElemFloat)))
	scales := w.step("Mul", out, "_scales", []string{x.scale, weights.scale})
	w.sum(p, "Mul", []string{cast, scales})
	return nil
}

// sum writes the last node of a product, and what is added to it.
func (w *writer) sum(p *product, opType string, inputs []string, attributes ...onnx.Attribute) {
	out := p.node.Outputs[0]
	addend := p.addend
	if p.bias != nil {
		addend = w.constant(onnx.TensorOf(w.name(out, "_bias"), p.bias, int64(p.n)))
	}
	if addend == "" {
		w.node(opType, inputs, []string{out}, attributes...)
		return
	}
	product := w.step(opType, out, "_product", inputs, attributes...)
	w.node("Add", []string{product, addend}, []string{out})
}

// static writes the product between dequantised values. A Gemm with a bias stays one,
// with its bias in 32 bits, which engines add before anything is rounded.
func (w *writer) static(p *product, input affine) error {
	weights, err := w.quantized(p)
	if err != nil {
		return err
	}
	x := w.dequantizedInput(p.x, input)
	var axis []onnx.Attribute
	if !w.options.PerTensor {
		axis = []onnx.Attribute{onnx.IntAttribute("axis", 1)}
	}
	right := w.step("DequantizeLinear", p.weightsName, "_dequantized", []string{weights.value, weights.scale, weights.zero}, axis...)
	if bias, ok := w.bias32(p, input.scale, weights.scales); ok {
		w.node("Gemm", []string{x, right, bias}, []string{p.node.Outputs[0]})
		return nil
	}
	w.sum(p, "MatMul", []string{x, right})
	return nil
}

// dequantizedInput quantises a value and back.
func (w *writer) dequantizedInput(name string, a affine) string {
	key := "static " + name
	if x, ok := w.inputs[key]; ok {
		return x.value
	}
	scale := w.constant(onnx.TensorOf(w.name(name, "_scale"), []float32{a.scale}))
	zero := w.name(name, "_zero")
	if a.signed {
		w.constant(onnx.TensorOf(zero, []int8{int8(a.zero)}))
	} else {
		w.constant(onnx.TensorOf(zero, []uint8{uint8(a.zero)}))
	}
	quantized := w.step("QuantizeLinear", name, "_quantized", []string{name, scale, zero})
	value := w.step("DequantizeLinear", name, "_dequantized", []string{quantized, scale, zero})
	w.inputs[key] = quantizedInput{value: value}
	return value
}

// bias32 writes the bias of a Gemm in units of the product's integers. It reports false
// where there is none, or where it does not fit.
func (w *writer) bias32(p *product, inputScale float32, scales []float32) (string, bool) {
	if p.bias == nil || p.node.OpType != "Gemm" {
		return "", false
	}
	units := make([]float32, len(scales))
	for j := range scales {
		if units[j] = inputScale * scales[j]; units[j] < smallestScale {
			return "", false
		}
	}
	values := make([]int32, p.n)
	for j, b := range p.bias {
		scaled := math.RoundToEven(float64(b) / float64(units[j%len(units)]))
		if math.Abs(scaled) > 1<<30 { // half of what fits, to leave room for the product
			return "", false
		}
		values[j] = int32(scaled)
	}
	var dims []int64
	var axis []onnx.Attribute
	if len(units) == p.n && !w.options.PerTensor {
		dims, axis = []int64{int64(p.n)}, []onnx.Attribute{onnx.IntAttribute("axis", 0)}
	}
	out := p.node.Outputs[0]
	value := w.constant(onnx.TensorOf(w.name(out, "_bias_int32"), values, int64(p.n)))
	scale := w.constant(onnx.TensorOf(w.name(out, "_bias_scale"), units, dims...))
	return w.step("DequantizeLinear", out, "_bias", []string{value, scale}, axis...), true
}

// bf16 puts weights of 16 bits and a Cast in the place of a product's weights.
func (w *writer) bf16(p *product) error {
	key := fmt.Sprintf("bf16 %t %s", p.transposed, p.weightsName)
	weights, ok := w.weights[key]
	if !ok {
		list, err := p.matrix()
		if err != nil {
			return err
		}
		halves := make([]uint16, len(list))
		for i, x := range list {
			halves[i] = roundBF16(x)
		}
		t := onnx.TensorOf(w.name(p.weightsName, "_bf16"), halves, int64(p.k), int64(p.n))
		t.Elem = onnx.ElemBFloat16
		w.constant(t)
		weights.value = w.step("Cast", p.weightsName, "_float", []string{t.Name}, onnx.IntAttribute("to", int64(onnx.ElemFloat)))
		w.weights[key] = weights
	}
	n := *p.node
	n.Inputs = slices.Clone(n.Inputs)
	n.Inputs[1] = weights.value
	n.Attributes = slices.DeleteFunc(slices.Clone(n.Attributes), func(a onnx.Attribute) bool { return a.Name == "transB" })
	w.nodes = append(w.nodes, n)
	return nil
}

// prune removes nodes and constants that nothing reads.
func prune(g *onnx.Graph) {
	for {
		read := make(map[string]bool)
		collectReads(g, read)
		before := len(g.Nodes)
		g.Nodes = slices.DeleteFunc(g.Nodes, func(n onnx.Node) bool {
			// Only what stood between a product and its weights can have become useless.
			return n.OpType == "Transpose" && !slices.ContainsFunc(n.Outputs, func(name string) bool { return read[name] })
		})
		if len(g.Nodes) == before {
			g.ValueInfos = slices.DeleteFunc(slices.Clone(g.ValueInfos), func(v onnx.ValueInfo) bool { return !read[v.Name] })
			for i := range g.Inputs { // without its default an input would have to be given
				read[g.Inputs[i].Name] = true
			}
			g.Initializers = slices.DeleteFunc(g.Initializers, func(t onnx.Tensor) bool { return !read[t.Name] })
			return
		}
	}
}

// collectReads notes the names that nodes and outputs read.
func collectReads(g *onnx.Graph, read map[string]bool) {
	for i := range g.Outputs {
		read[g.Outputs[i].Name] = true
	}
	for i := range g.Nodes {
		for _, name := range g.Nodes[i].Inputs {
			read[name] = true
		}
		for _, inner := range innerGraphs(&g.Nodes[i]) {
			collectReads(inner, read)
		}
	}
}
