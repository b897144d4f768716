// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/engine/native/activation"
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/conv"
	"github.com/millrace-ml/millrace/kernels/cpu"
)

// transposed is ConvTranspose: a convolution, with the filters mirrored, of the input
// with zeros between its elements.
type transposed struct {
	window        *window
	groups        int
	outputPadding []int
	outputShape   []int
	filters       []*conv.Weights
}

func buildTransposed(n *op.Node) (op.Operator, error) {
	if err := n.Arity(2, 3, 1, 1); err != nil {
		return nil, err
	}
	o := &transposed{}
	var err error
	if o.window, o.groups, err = convolutionAttributes(n); err != nil {
		return nil, err
	}
	for name, to := range map[string]*[]int{"output_padding": &o.outputPadding, "output_shape": &o.outputShape} {
		for _, v := range n.Ints(name) {
			if v < 0 || v > extentMax {
				return nil, op.Invalid("%s %v", name, n.Ints(name))
			}
			*to = append(*to, int(v))
		}
	}
	if w := n.In(1); w != nil {
		if err := o.checkWeights(w); err != nil {
			return nil, err
		}
		o.filters = o.newFilters(w)
		o.set(o.filters, make([]float32, w.Len()), w)
	}
	return o, n.Err()
}

// checkWeights reports weights that are not [C, M/groups, kernel...].
func (o *transposed) checkWeights(w *op.Value) error {
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
	if _, err := bounded("output channels", o.groups, int(w.Shape[1])); err != nil {
		return err
	}
	return checkKernel(o.window.kernel, dims, w.Shape)
}

func (o *transposed) newFilters(w *op.Value) []*conv.Weights {
	rows := int(w.Shape[1])
	return newFilters(o.groups, rows, w.Len()/max(1, rows*o.groups))
}

// set turns the weights into filters: output channels first, taps from the last to the
// first. temp has room for all.
func (o *transposed) set(filters []*conv.Weights, temp []float32, v *op.Value) {
	w, rows, perGroup := op.Floats(v), int(v.Shape[1]), int(v.Shape[0])/o.groups
	taps := len(w) / max(1, int(v.Shape[0])*rows)
	for g := range o.groups {
		for c := range perGroup {
			for m := range rows {
				from := w[((g*perGroup+c)*rows+m)*taps:][:taps]
				to := temp[((g*rows+m)*perGroup+c)*taps:][:taps]
				for k, x := range from {
					to[taps-1-k] = x
				}
			}
		}
	}
	setFilters(filters, temp, rows)
}

// spread is an axis of the result: element i of the input is at i*stride + first of the
// extent that the filters slide over.
type spread struct{ in, stride, first int }

// plan places the filters on an input.
func (o *transposed) plan(in []*op.Value) (*axes, *[spatialMax]spread, error) {
	if err := op.Want(in[0], "input", tensor.FP32); err != nil {
		return nil, nil, err
	}
	w := in[1]
	if err := o.checkWeights(w); err != nil {
		return nil, nil, err
	}
	kernel := make([]int, 0, spatialMax)
	for _, d := range w.Shape[2:] {
		kernel = append(kernel, int(d))
	}
	all, err := o.window.place(in[0].Shape, kernel)
	if err != nil {
		return nil, nil, err
	}
	rank := len(kernel)
	if w.Shape[0] != in[0].Shape[1] ||
		(o.outputPadding != nil && len(o.outputPadding) != rank) || (o.outputShape != nil && len(o.outputShape) != rank) {
		return nil, nil, op.Invalid("input of shape %v, weights of shape %v, output_padding %v, output_shape %v",
			in[0].Shape, w.Shape, o.outputPadding, o.outputShape)
	}
	var spreads [spatialMax]spread
	for i := range all {
		own := i - (spatialMax - rank)
		if err := o.planAxis(&all[i], own); err != nil {
			return nil, nil, err
		}
		a := &all[i]
		spreads[i] = spread{in: a.in, stride: a.stride, first: a.reach() - 1 - a.before}
		// What the filters slide over is made for them, in steps of one.
		a.in, a.stride, a.before, a.after = 0, 1, 0, 0
	}
	return all, &spreads, checkBias(in, w.Shape[1]*int64(o.groups))
}

// planAxis finds the extent of the output along an axis, which is number own of the
// attributes, and the padding.
func (o *transposed) planAxis(a *axis, own int) error {
	full := (a.in-1)*a.stride + a.reach()
	if own >= 0 && o.outputPadding != nil {
		full += o.outputPadding[own]
	}
	same := o.window.auto == "SAME_UPPER" || o.window.auto == "SAME_LOWER"
	switch {
	case own < 0:
		a.out = 1
		return nil
	case o.outputShape != nil:
		a.out = o.outputShape[own]
	case same:
		a.out = a.in * a.stride
	default:
		a.out = full - a.before - a.after
		if a.out < 1 {
			return op.Invalid("an output of %d elements", a.out)
		}
		return nil
	}
	cut := full - a.out
	switch {
	case a.out < 1:
		return op.Invalid("an output of %d elements", a.out)
	case cut < 0: // what is beyond the end is empty, like output_padding
		a.before = 0
	case o.window.auto == "SAME_UPPER", cut%2 == 0:
		a.before = cut / 2
	case o.window.auto == "SAME_LOWER":
		a.before = cut - cut/2
	default:
		// Whether the larger half is cut before or after is not the same everywhere.
		return op.NotCovered("output_shape of %d elements where %d are computed", a.out, full)
	}
	return nil
}

func (o *transposed) Infer(in, out []*op.Value) error {
	all, _, err := o.plan(in)
	if err != nil {
		return err
	}
	if _, err := layoutOf(all, 1, int(in[0].Shape[1])); err != nil {
		return err
	}
	return out[0].Set(tensor.FP32, all.outShape(in[0].Shape, int(in[1].Shape[1])*o.groups)...)
}

func (o *transposed) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	all, spreads, err := o.plan(in)
	if err != nil {
		return nil, err
	}
	channels := int(in[0].Shape[1])
	l, err := layoutOf(all, 1, channels)
	if err != nil || out[0].Len() == 0 {
		return nil, err
	}
	if channels == 0 {
		return nil, op.NotCovered("an input of no channels")
	}
	none := activation.Activation{Low: lowest, High: -lowest}
	p := newProduct(l, o.groups, int(in[1].Shape[1])*o.groups, channels, &none, s)
	p.bias(optional(in, 2))
	p.filters = o.filters
	var temp []float32
	if p.filters == nil {
		p.filters, temp = o.newFilters(in[1]), make([]float32, in[1].Len())
	}
	copied := paddedOf(s, o, channels*l.channel)
	rows, size := int(in[0].Shape[0]), in[0].Len()/int(in[0].Shape[0])
	x, y := op.Floats(in[0]), op.Floats(out[0])
	return func() error {
		if temp != nil {
			o.set(p.filters, temp, in[1])
		}
		for row := range rows {
			picture := copied.use(spreads, channels*l.channel, 0)
			scatter(picture, x[row*size:][:size], channels, l, spreads)
			p.run(y[row*p.size:][:p.size], picture, 1)
		}
		return nil
	}, nil
}

// scatter copies a picture with zeros between its elements, leaving out what padding
// cuts off.
func scatter(to, x []float32, channels int, l *layout, spreads *[spatialMax]spread) {
	depth, height, width := &spreads[0], &spreads[1], &spreads[2]
	for c := range channels {
		for z := range depth.in {
			for h := range height.in {
				from := x[((c*depth.in+z)*height.in+h)*width.in:][:width.in]
				atZ, atH := z*depth.stride+depth.first, h*height.stride+height.first
				if atZ < 0 || atZ >= l.q[0] || atH < 0 || atH >= l.q[1] {
					continue
				}
				row := to[c*l.channel+(atZ*l.q[1]+atH)*l.pitch:][:l.q[2]]
				for i, v := range from {
					if at := i*width.stride + width.first; at >= 0 && at < len(row) {
						row[at] = v
					}
				}
			}
		}
	}
}

// Rowwise implements op.Rowwiser.
func (o *transposed) Rowwise(_ []*op.Value, carries []bool) bool {
	return carries[0] && !slices.Contains(carries[1:], true)
}

// Cost implements op.Coster.
func (o *transposed) Cost(in, out []*op.Value) float64 {
	all, _, err := o.plan(in)
	if err != nil {
		return 0
	}
	return convolutionCost(in, out, all, int(in[0].Shape[1])/o.groups*all.taps())
}

// Describe implements op.Describer.
func (o *transposed) Describe(in, _ []*op.Value) string {
	return fmt.Sprintf("convolution %v, mirrored, of a copy with zeros between, %s", in[1].Shape, cpu.Active())
}
