// SPDX-License-Identifier: Apache-2.0

package movement

import (
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// dim is one dimension of a strided copy: its extent, and how many elements lie
// between neighbours on each side. A source stride of 0 repeats, a negative one
// reverses.
type dim struct{ extent, dst, src int }

// mover is a strided copy between two arrays. The dimensions are those of what is
// copied, outermost first.
type mover struct {
	dims     []dim
	dst, src int // of the first element
	// run is how many elements lie side by side on both sides, below all dims.
	run int
	// inner is the innermost of dims, which copies strided elements one by one.
	inner dim
	index []int
}

// newMover prepares a copy: dimensions that are contiguous with those inside them are
// joined, so that most copies are a few long runs.
func newMover(dims []dim, dst, src int) *mover {
	m := &mover{dst: dst, src: src, run: 1}
	for i := len(dims) - 1; i >= 0; i-- {
		d := dims[i]
		switch {
		case d.extent == 1:
		case len(m.dims) == 0 && d.dst == m.run && d.src == m.run:
			m.run *= d.extent
		case len(m.dims) > 0 && joins(d, m.dims[0]):
			m.dims[0].extent *= d.extent
		default:
			m.dims = append([]dim{d}, m.dims...)
		}
	}
	m.inner = dim{extent: 1}
	if n := len(m.dims); n > 0 {
		m.inner = m.dims[n-1]
		m.dims = m.dims[:n-1]
	}
	m.index = make([]int, len(m.dims))
	return m
}

// joins reports whether outer continues inner on both sides.
func joins(outer, inner dim) bool {
	return outer.dst == inner.dst*inner.extent && outer.src == inner.src*inner.extent
}

// move copies. An extent of 0 anywhere copies nothing.
func move[T any](m *mover, dst, src []T) {
	if m.inner.extent == 0 || m.run == 0 {
		return
	}
	for _, d := range m.dims {
		if d.extent == 0 {
			return
		}
	}
	clear(m.index)
	to, from := m.dst, m.src
	for {
		moveInner(m, dst, src, to, from)
		axis := len(m.dims) - 1
		for ; axis >= 0; axis-- {
			d := &m.dims[axis]
			to, from = to+d.dst, from+d.src
			if m.index[axis]++; m.index[axis] < d.extent {
				break
			}
			m.index[axis] = 0
			to, from = to-d.extent*d.dst, from-d.extent*d.src
		}
		if axis < 0 {
			return
		}
	}
}

func moveInner[T any](m *mover, dst, src []T, to, from int) {
	d := m.inner
	if m.run > 1 {
		for range d.extent {
			copy(dst[to:to+m.run], src[from:from+m.run])
			to, from = to+d.dst, from+d.src
		}
		return
	}
	for range d.extent {
		dst[to] = src[from]
		to, from = to+d.dst, from+d.src
	}
}

// bind makes the function that copies src to dst, of any datatype.
func (m *mover) bind(dst, src *op.Value) op.Run {
	if dst.Type == tensor.Bytes {
		return func() error {
			move(m, dst.Strings, src.Strings)
			return nil
		}
	}
	switch dst.Type.Size() {
	case 1:
		return bindMove[uint8](m, dst, src)
	case 2:
		return bindMove[uint16](m, dst, src)
	case 4:
		return bindMove[uint32](m, dst, src)
	}
	return bindMove[uint64](m, dst, src)
}

func bindMove[T op.Element](m *mover, dst, src *op.Value) op.Run {
	to, from := op.As[T](dst), op.As[T](src)
	return func() error {
		move(m, to, from)
		return nil
	}
}

// strides are how many elements lie between neighbours along each dimension of a
// contiguous array.
func strides(shape tensor.Shape) []int {
	list := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		list[i] = n
		n *= int(shape[i])
	}
	return list
}

// all is one Run for several, nil when there are none.
func all(runs []op.Run) op.Run {
	if len(runs) == 1 {
		return runs[0]
	}
	return func() error {
		for _, run := range runs {
			if err := run(); err != nil {
				return err
			}
		}
		return nil
	}
}
