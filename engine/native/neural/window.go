// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// spatialMax is the most dimensions that windows slide over.
const spatialMax = 3

// extentMax bounds kernels, strides, dilations and pads, so that sums and products of
// two of them do not overflow.
const extentMax = 1 << 24

// window is the attributes of a convolution or pool. Lists that a node leaves out are
// nil.
type window struct {
	kernel, strides, dilations, pads []int
	auto                             string
	ceil                             bool
}

func windowOf(n *op.Node) (*window, error) {
	w := &window{auto: n.Text("auto_pad", "NOTSET"), ceil: n.Int("ceil_mode", 0) != 0}
	for _, list := range []struct {
		name  string
		least int64
		to    *[]int
	}{{"kernel_shape", 1, &w.kernel}, {"strides", 1, &w.strides}, {"dilations", 1, &w.dilations}, {"pads", 0, &w.pads}} {
		for _, v := range n.Ints(list.name) {
			if v < list.least || v > extentMax {
				return nil, op.Invalid("%s %v", list.name, n.Ints(list.name))
			}
			*list.to = append(*list.to, int(v))
		}
	}
	switch w.auto {
	case "NOTSET":
	case "SAME_UPPER", "SAME_LOWER", "VALID":
		w.pads = nil
	default:
		return nil, op.Invalid("auto_pad %q", w.auto)
	}
	return w, n.Err()
}

// axis is a window on one dimension of an input.
type axis struct {
	in, out                  int
	kernel, stride, dilation int
	// before and after are the padding.
	before, after int
}

// reach is the number of elements from the first of a window to its last.
func (a *axis) reach() int { return (a.kernel-1)*a.dilation + 1 }

// axes is a window on an input: depth, height and width, of which the first have extent
// 1 where there are fewer.
type axes [spatialMax]axis

// spatial are the dimensions of a value behind rows and channels.
func spatial(shape tensor.Shape) (tensor.Shape, error) {
	if len(shape) < 3 {
		return nil, op.Invalid("shape %v, want rows, channels and at least one dimension", shape)
	}
	if len(shape) > 2+spatialMax {
		return nil, op.NotCovered("shape %v: more than %d dimensions", shape, 2+spatialMax)
	}
	return shape[2:], nil
}

// place puts the window with the given kernel on an input of the given shape, its
// outputs still to be found.
func (w *window) place(shape tensor.Shape, kernel []int) (*axes, error) {
	dims, err := spatial(shape)
	if err != nil {
		return nil, err
	}
	rank := len(dims)
	for _, list := range []struct {
		name string
		have []int
		want int
	}{{"kernel_shape", kernel, rank}, {"strides", w.strides, rank}, {"dilations", w.dilations, rank}, {"pads", w.pads, 2 * rank}} {
		if list.have != nil && len(list.have) != list.want {
			return nil, op.Invalid("%s %v for an input of shape %v", list.name, list.have, shape)
		}
	}
	all := &axes{}
	for i := range all {
		all[i] = axis{in: 1, out: 1, kernel: 1, stride: 1, dilation: 1}
	}
	for i, d := range dims {
		a := &all[spatialMax-rank+i]
		a.in, a.kernel = int(d), kernel[i]
		if d == 0 {
			return nil, op.NotCovered("windows on an input of shape %v", shape)
		}
		if w.strides != nil {
			a.stride = w.strides[i]
		}
		if w.dilations != nil {
			a.dilation = w.dilations[i]
		}
		if w.pads != nil {
			a.before, a.after = w.pads[i], w.pads[rank+i]
		}
		if a.reach() > 1<<31 || a.in > 1<<40 {
			return nil, op.NotCovered("a window of %d elements on %d", a.reach(), a.in)
		}
	}
	return all, nil
}

// slide finds the outputs of the window on an input, and its padding where that follows
// from them.
func (w *window) slide(shape tensor.Shape, kernel []int) (*axes, error) {
	all, err := w.place(shape, kernel)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if err := w.slideAxis(&all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (w *window) slideAxis(a *axis) error {
	if w.auto == "SAME_UPPER" || w.auto == "SAME_LOWER" {
		a.out = (a.in + a.stride - 1) / a.stride
		pad := max(0, (a.out-1)*a.stride+a.reach()-a.in)
		a.before, a.after = pad/2, pad-pad/2
		if w.auto == "SAME_LOWER" {
			a.before, a.after = a.after, a.before
		}
		return nil
	}
	room := a.in + a.before + a.after - a.reach()
	if room < 0 {
		return op.Invalid("a window of %d elements on an input of %d with padding of %d and %d", a.reach(), a.in, a.before, a.after)
	}
	a.out = room/a.stride + 1
	if !w.ceil {
		return nil
	}
	if room%a.stride > 0 {
		a.out++
	}
	if (a.out-1)*a.stride >= a.in+a.before {
		a.out-- // the last window would begin in the padding behind the input
	}
	return nil
}

// outShape is the output's shape for so many channels.
func (all *axes) outShape(in tensor.Shape, channels int) tensor.Shape {
	shape := tensor.Shape{in[0], int64(channels)}
	for i := spatialMax - (len(in) - 2); i < spatialMax; i++ {
		shape = append(shape, int64(all[i].out))
	}
	return shape
}

// outputs and inputs are the number of places of an output and input channel.
func (all *axes) outputs() int { return all[0].out * all[1].out * all[2].out }

func (all *axes) inputs() int { return all[0].in * all[1].in * all[2].in }

// taps is the number of elements of a window in one channel.
func (all *axes) taps() int { return all[0].kernel * all[1].kernel * all[2].kernel }
