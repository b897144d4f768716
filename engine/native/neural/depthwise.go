// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/kernels/conv"
)

// depthwiseStepMax is the most elements between windows that the kernel takes.
const depthwiseStepMax = 2

// depthwiseAhead is about how many elements are padded before they are filtered: what
// was just written is slow to read, and what was written long ago has left the cache.
const depthwiseAhead = 4096

// depthwise reports a convolution that keeps its channels apart: each is filtered by
// itself, like a pool, and is small enough to stay in the cache that it is padded in.
func (o *convolution) depthwise(in []*op.Value, all *axes) bool {
	channels := in[0].Shape[1]
	return int64(o.groups) == channels && in[1].Shape[0] == channels && all[2].stride <= depthwiseStepMax
}

func (o *convolution) bindDepthwise(in, out []*op.Value, all *axes, s *op.Scratch) op.Run {
	x, y, w := op.Floats(in[0]), op.Floats(out[0]), op.Floats(in[1])
	channels := int(in[0].Shape[1])
	count := int(in[0].Shape[0]) * channels
	extent, direct := extents(all)
	l, taps := newPlanes(all, extent, direct), all.taps()
	var bias []float32
	if b := optional(in, 2); b != nil {
		bias = op.Floats(b)
	}
	size, ahead := volume(extent[:]), count
	var copied *padded
	if !direct {
		ahead = min(count, max(1, depthwiseAhead/size))
		copied = paddedOf(s, o, ahead*size)
	}
	e := conv.Epilogue{Low: o.activation.Low, High: o.activation.High}
	return func() error {
		for first := 0; first < count; first += ahead {
			n := min(ahead, count-first)
			from, step := x[first*l.inputs:], l.inputs
			if copied != nil {
				from, step = copied.use(l, ahead*size, 0), size
				for p := range n {
					l.copyIn(from[p*size:], x[(first+p)*l.inputs:])
				}
			}
			for p := range n {
				c := (first + p) % channels
				if bias != nil {
					e.Bias = bias[c : c+1]
				}
				for z := range l.depth {
					at := (first+p)*l.outputs + z*l.out
					conv.Filter(y[at:], from[p*step+z*l.in:], &l.grid, l.taps, w[c*taps:][:taps], &e)
				}
			}
		}
		if o.activation.After != nil {
			o.activation.After(y, y)
		}
		return nil
	}
}
