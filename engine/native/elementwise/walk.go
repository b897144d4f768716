// SPDX-License-Identifier: Apache-2.0

package elementwise

import (
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// dim is one dimension of a broadcast: its extent, and how many elements lie between
// neighbours in each input, 0 where the input repeats.
type dim struct{ extent, a, b int }

// walk visits the elements of an output in order, run by run, with the place of each
// run's first elements in two inputs that are broadcast to it.
type walk struct {
	dims  []dim // outermost first, without the innermost
	inner dim
	index []int
}

// newWalk prepares a walk. Dimensions over which both inputs go on evenly are joined,
// so that inputs of one shape are a single run.
func newWalk(shape, a, b tensor.Shape) *walk {
	var dims []dim
	stepA, stepB := 1, 1
	for i := 1; i <= len(shape); i++ {
		d := dim{extent: int(shape[len(shape)-i])}
		d.a, stepA = step(a, i, stepA)
		d.b, stepB = step(b, i, stepB)
		if d.extent == 1 {
			continue
		}
		if n := len(dims); n > 0 && d.a == dims[n-1].a*dims[n-1].extent && d.b == dims[n-1].b*dims[n-1].extent {
			dims[n-1].extent *= d.extent
			continue
		}
		dims = append(dims, d)
	}
	w := &walk{inner: dim{extent: 1}}
	if len(dims) > 0 {
		w.inner = dims[0]
		for i := len(dims) - 1; i > 0; i-- {
			w.dims = append(w.dims, dims[i])
		}
	}
	w.index = make([]int, len(w.dims))
	return w
}

// step is how far neighbours lie apart along the axis at place i from the end, and what
// that is for the axis before.
func step(shape tensor.Shape, i, size int) (step, next int) {
	if i > len(shape) {
		return 0, size
	}
	extent := int(shape[len(shape)-i])
	if extent == 1 {
		return 0, size
	}
	return size, size * extent
}

// each calls visit for every run: its place in the output and in both inputs.
func (w *walk) each(visit func(out, a, b int)) {
	if w.inner.extent == 0 {
		return
	}
	for _, d := range w.dims {
		if d.extent == 0 {
			return
		}
	}
	clear(w.index)
	out, a, b := 0, 0, 0
	for {
		visit(out, a, b)
		out += w.inner.extent
		axis := len(w.dims) - 1
		for ; axis >= 0; axis-- {
			d := &w.dims[axis]
			a, b = a+d.a, b+d.b
			if w.index[axis]++; w.index[axis] < d.extent {
				break
			}
			w.index[axis] = 0
			a, b = a-d.extent*d.a, b-d.extent*d.b
		}
		if axis < 0 {
			return
		}
	}
}

// zipLoop makes the function that computes dst from a and b element by element.
func zipLoop[T, R any](w *walk, dst []R, a, b []T, f func(x, y T) R) op.Run {
	visit := func(out, i, j int) {
		for k := range dst[out : out+w.inner.extent] {
			dst[out+k] = f(a[i], b[j])
			i, j = i+w.inner.a, j+w.inner.b
		}
	}
	return func() error {
		w.each(visit)
		return nil
	}
}
