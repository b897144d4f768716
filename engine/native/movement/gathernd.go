// SPDX-License-Identifier: Apache-2.0

package movement

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// tuples reads the last axis of indices as places in the leading axes of data.
type tuples struct {
	at     func(i, extent int) (int, error)
	data   tensor.Shape // the axes that are indexed
	stride []int        // in pieces
	n      int          // tuples
	piece  int          // elements that a tuple stands for
	// batch is how many pieces a batch has, and each how many tuples, with batch_dims.
	batch, each int
}

func newTuples(data *op.Value, indices *op.Value, batchDims int) (*tuples, error) {
	if batchDims < 0 || batchDims >= min(data.Rank(), indices.Rank()) {
		return nil, op.Invalid("batch_dims %d for shapes %v and %v", batchDims, data.Shape, indices.Shape)
	}
	depth := int(indices.Shape[indices.Rank()-1])
	if depth < 1 || depth > data.Rank()-batchDims {
		return nil, op.Invalid("indices of shape %v into shape %v", indices.Shape, data.Shape)
	}
	if !slices.Equal(data.Shape[:batchDims], indices.Shape[:batchDims]) {
		return nil, op.Invalid("shapes %v and %v differ in their first %d dimensions", data.Shape, indices.Shape, batchDims)
	}
	at, err := indexReader(indices)
	if err != nil {
		return nil, err
	}
	axes := data.Shape[batchDims : batchDims+depth]
	t := &tuples{at: at, data: axes, stride: strides(axes), piece: product(data.Shape[batchDims+depth:])}
	t.n = product(indices.Shape[:indices.Rank()-1])
	t.batch = product(axes)
	t.each = max(1, t.n/max(1, product(data.Shape[:batchDims])))
	return t, nil
}

// place is the first element that tuple i stands for.
func (t *tuples) place(i int) (int, error) {
	at := i / t.each * t.batch
	for k, extent := range t.data {
		index, err := t.at(i*len(t.data)+k, int(extent))
		if err != nil {
			return 0, err
		}
		at += index * t.stride[k]
	}
	return at * t.piece, nil
}

// gatherND looks up pieces by tuples of indices.
type gatherND struct{ batchDims int }

func buildGatherND(n *op.Node) (op.Operator, error) {
	return &gatherND{int(n.Int("batch_dims", 0))}, n.Arity(2, 2, 1, 1)
}

func (o *gatherND) Infer(in, out []*op.Value) error {
	t, err := newTuples(in[0], in[1], o.batchDims)
	if err != nil {
		return err
	}
	shape := slices.Clone(in[1].Shape[:in[1].Rank()-1])
	return out[0].Set(in[0].Type, append(shape, in[0].Shape[o.batchDims+len(t.data):]...)...)
}

func (o *gatherND) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	t, err := newTuples(in[0], in[1], o.batchDims)
	if err != nil {
		return nil, err
	}
	switch in[0].Type.Size() {
	case 0:
		return func() error { return runGatherND(t, out[0].Strings, in[0].Strings) }, nil
	case 1:
		return bindGatherND[uint8](t, out[0], in[0]), nil
	case 2:
		return bindGatherND[uint16](t, out[0], in[0]), nil
	case 4:
		return bindGatherND[uint32](t, out[0], in[0]), nil
	}
	return bindGatherND[uint64](t, out[0], in[0]), nil
}

func bindGatherND[T op.Element](t *tuples, out, data *op.Value) op.Run {
	dst, src := op.As[T](out), op.As[T](data)
	return func() error { return runGatherND(t, dst, src) }
}

func runGatherND[T any](t *tuples, dst, src []T) error {
	for i := range t.n {
		at, err := t.place(i)
		if err != nil {
			return err
		}
		copy(dst[i*t.piece:(i+1)*t.piece], src[at:at+t.piece])
	}
	return nil
}

func (o *gatherND) Rowwise(_ []*op.Value, carries []bool) bool {
	if o.batchDims > 0 {
		return carries[0] && carries[1]
	}
	return carries[1] && !carries[0]
}
