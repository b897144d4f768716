// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/engine/native/activation"
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/conv"
	"github.com/millrace-ml/millrace/kernels/cpu"
)

func convolutionOperators() []op.Definition {
	return []op.Definition{
		{Name: "Conv", Since: 1, Build: buildConvolution},
		{Domain: rewrite.Domain, Name: rewrite.OpConv, Since: 1, Build: buildConvolution},
		{Name: "ConvTranspose", Since: 1, Build: buildTransposed},
	}
}

// convolution is Conv, with or without an activation.
type convolution struct {
	window     *window
	groups     int
	activation activation.Activation
	// filters are the constant weights, one for each group, nil where they come with
	// the run.
	filters []*conv.Weights
}

func buildConvolution(n *op.Node) (op.Operator, error) {
	if err := n.Arity(2, 3, 1, 1); err != nil {
		return nil, err
	}
	o := &convolution{}
	var err error
	if o.window, o.groups, err = convolutionAttributes(n); err != nil {
		return nil, err
	}
	if o.activation, err = activation.Of(n); err != nil {
		return nil, err
	}
	if w := n.In(1); w != nil {
		if err := o.checkWeights(w); err != nil {
			return nil, err
		}
		o.filters = newFilters(o.groups, int(w.Shape[0])/o.groups, w.Len()/max(1, int(w.Shape[0])))
		setFilters(o.filters, op.Floats(w), int(w.Shape[0])/o.groups)
	}
	return o, nil
}

func convolutionAttributes(n *op.Node) (*window, int, error) {
	w, err := windowOf(n)
	if err != nil {
		return nil, 0, err
	}
	groups := n.Int("group", 1)
	if groups < 1 || groups > extentMax {
		return nil, 0, op.Invalid("%d groups", groups)
	}
	return w, int(groups), n.Err()
}

// checkWeights reports weights that are not [M, C/groups, kernel...].
func (o *convolution) checkWeights(w *op.Value) error {
	if err := op.Want(w, "weights", tensor.FP32); err != nil {
		return err
	}
	dims, err := spatial(w.Shape)
	if err != nil {
		return err
	}
	if w.Shape[0]%int64(o.groups) != 0 {
		return op.Invalid("weights of shape %v in %d groups", w.Shape, o.groups)
	}
	return checkKernel(o.window.kernel, dims, w.Shape)
}

func checkKernel(kernel []int, dims, shape tensor.Shape) error {
	for i, d := range dims {
		if d < 1 || d > extentMax || (kernel != nil && (len(kernel) != len(dims) || int64(kernel[i]) != d)) {
			return op.Invalid("weights of shape %v for kernel_shape %v", shape, kernel)
		}
	}
	return nil
}

func newFilters(groups, rows, taps int) []*conv.Weights {
	list := make([]*conv.Weights, groups)
	for g := range list {
		list[g] = conv.NewWeights(rows, taps)
	}
	return list
}

func setFilters(filters []*conv.Weights, w []float32, rows int) {
	for g, f := range filters {
		size := len(w) / len(filters)
		if rows > 0 {
			f.Set(w[g*size:][:size], size/rows)
		}
	}
}

// slide places the window on an input.
func (o *convolution) slide(in []*op.Value) (*axes, error) {
	if err := op.Want(in[0], "input", tensor.FP32); err != nil {
		return nil, err
	}
	w := in[1]
	if err := o.checkWeights(w); err != nil {
		return nil, err
	}
	kernel := make([]int, 0, spatialMax)
	for _, d := range w.Shape[2:] {
		kernel = append(kernel, int(d))
	}
	all, err := o.window.slide(in[0].Shape, kernel)
	if err != nil {
		return nil, err
	}
	if int64(o.groups)*w.Shape[1] != in[0].Shape[1] {
		return nil, op.Invalid("input of shape %v for weights of shape %v in %d groups", in[0].Shape, w.Shape, o.groups)
	}
	return all, checkBias(in, w.Shape[0])
}

func checkBias(in []*op.Value, channels int64) error {
	if b := optional(in, 2); b != nil && (b.Type != tensor.FP32 || int64(b.Len()) != channels) {
		return op.Invalid("bias %s %v for %d channels", b.Type, b.Shape, channels)
	}
	return nil
}

// optional is input i, nil where it is left out.
func optional(in []*op.Value, i int) *op.Value {
	if i < len(in) {
		return in[i]
	}
	return nil
}

func (o *convolution) Infer(in, out []*op.Value) error {
	all, err := o.slide(in)
	if err != nil {
		return err
	}
	if _, err := layoutOf(all, int(in[0].Shape[0]), int(in[0].Shape[1])); err != nil {
		return err
	}
	return out[0].Set(tensor.FP32, all.outShape(in[0].Shape, int(in[1].Shape[0]))...)
}

func (o *convolution) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	all, err := o.slide(in)
	if err != nil {
		return nil, err
	}
	l, err := layoutOf(all, int(in[0].Shape[0]), int(in[0].Shape[1]))
	if err != nil || out[0].Len() == 0 {
		return nil, err
	}
	if in[1].Len() == 0 {
		return o.bindEmpty(in, out), nil
	}
	if o.depthwise(in, all) {
		return o.bindDepthwise(in, out, all, s), nil
	}
	x, channels := op.Floats(in[0]), int(in[0].Shape[1])
	p := newProduct(l, o.groups, int(in[1].Shape[0]), channels, &o.activation, s)
	p.bias(optional(in, 2))
	reload := o.load(in[1], p)
	size := channels * all.inputs()
	read := func(x []float32) []float32 { return x }
	if !l.direct {
		f := newFiller(l, channels, s, o)
		read = func(x []float32) []float32 { return f.fill(x, channels) }
	}
	rows, y := int(in[0].Shape[0]), op.Floats(out[0])
	return func() error {
		if reload != nil {
			reload()
		}
		for row := 0; row < rows; row += l.pictures {
			n := min(l.pictures, rows-row)
			p.run(y[row*p.size:][:n*p.size], read(x[row*size:][:n*size]), n)
		}
		return nil
	}, nil
}

// load gives the product its filters, and the function that reads them before each run
// where they are not constant.
func (o *convolution) load(w *op.Value, p *product) func() {
	if o.filters != nil {
		p.filters = o.filters
		return nil
	}
	rows := int(w.Shape[0]) / o.groups
	p.filters = newFilters(o.groups, rows, w.Len()/int(w.Shape[0]))
	return func() { setFilters(p.filters, op.Floats(w), rows) }
}

// bindEmpty is a convolution over no channels: the bias, through the activation.
func (o *convolution) bindEmpty(in, out []*op.Value) op.Run {
	y, bias := op.Floats(out[0]), optional(in, 2)
	channels := int(in[1].Shape[0])
	plane := out[0].Len() / (int(in[0].Shape[0]) * channels)
	return func() error {
		for i := range y {
			v := float32(0)
			if bias != nil {
				v = op.Floats(bias)[i/plane%channels]
			}
			y[i] = min(max(v, o.activation.Low), o.activation.High)
		}
		if o.activation.After != nil {
			o.activation.After(y, y)
		}
		return nil
	}
}

// Rowwise implements op.Rowwiser.
func (o *convolution) Rowwise(_ []*op.Value, carries []bool) bool {
	return carries[0] && !slices.Contains(carries[1:], true)
}

// Cost implements op.Coster.
func (o *convolution) Cost(in, out []*op.Value) float64 {
	all, err := o.slide(in)
	if err != nil {
		return 0
	}
	return convolutionCost(in, out, all, in[1].Len()/max(1, int(in[1].Shape[0])))
}

// convolutionCost counts the sums at row ends, which are thrown away, as well.
func convolutionCost(in, out []*op.Value, all *axes, taps int) float64 {
	l, err := layoutOf(all, int(in[0].Shape[0]), int(in[0].Shape[1]))
	if err != nil {
		return 0
	}
	wide := float64(l.pitch) / float64(max(1, l.axes[2].out))
	blocks := float64(out[0].Shape[0]*out[0].Shape[1]) / conv.BlockRows
	return blocks*callNanos + 2*float64(out[0].Len())*wide*float64(taps)/flopsPerNano +
		4*float64(in[0].Len()+out[0].Len())/bytesPerNano
}

// Describe implements op.Describer.
func (o *convolution) Describe(in, _ []*op.Value) string {
	text := fmt.Sprintf("direct convolution %v", in[1].Shape)
	all, err := o.slide(in)
	if err != nil {
		return ""
	}
	if o.depthwise(in, all) {
		text = fmt.Sprintf("depthwise convolution %v", in[1].Shape)
	} else if o.groups > 1 {
		text += fmt.Sprintf(" in %d groups", o.groups)
	}
	l, err := layoutOf(all, int(in[0].Shape[0]), int(in[0].Shape[1]))
	if err == nil && !l.direct {
		text += " of a padded copy"
	}
	if optional(in, 2) != nil {
		text += " + bias"
	}
	if o.activation.Name != "" {
		text += " + " + string(o.activation.Name)
	}
	return text + ", " + cpu.Active().String()
}
