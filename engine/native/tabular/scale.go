// SPDX-License-Identifier: Apache-2.0

package tabular

import (
	"math"
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/vec"
)

// scaler is (x - offset) * scale, column by column.
type scaler struct {
	carriesRows
	offset, scale []float32
}

func buildScaler(n *op.Node) (op.Operator, error) {
	o := &scaler{offset: n.Floats("offset"), scale: n.Floats("scale")}
	if len(o.offset) == 0 {
		o.offset = []float32{0}
	}
	if len(o.scale) == 0 {
		o.scale = []float32{1}
	}
	return o, n.Arity(1, 1, 1, 1)
}

func (o *scaler) Infer(in, out []*op.Value) error {
	if err := op.Want(in[0], "input", numeric...); err != nil {
		return err
	}
	_, cols, err := matrix(in[0])
	if err != nil {
		return err
	}
	for _, list := range [][]float32{o.offset, o.scale} {
		if len(list) != 1 && len(list) != cols {
			return op.Invalid("%d offsets or scales for %d columns", len(list), cols)
		}
	}
	return out[0].Set(tensor.FP32, in[0].Shape...)
}

func (o *scaler) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	rows, cols, err := matrix(in[0])
	if err != nil {
		return nil, err
	}
	load, y := floats(in[0]), op.Floats(out[0])
	return func() error {
		vec.Scale(y, load(), rows, cols, o.offset, o.scale)
		return nil
	}, nil
}

func (*scaler) InPlace() []int { return []int{0} }

// imputer puts values in the place of one that stands for missing.
type imputer struct {
	carriesRows
	replacedFloat float32
	floats        []float32
	replacedInt   int64
	ints          []int64
}

func buildImputer(n *op.Node) (op.Operator, error) {
	o := &imputer{
		replacedFloat: n.Float("replaced_value_float", 0), floats: n.Floats("imputed_value_floats"),
		replacedInt: n.Int("replaced_value_int64", 0), ints: n.Ints("imputed_value_int64s"),
	}
	if (len(o.floats) > 0) == (len(o.ints) > 0) {
		return nil, op.Invalid("exactly one of imputed_value_floats and imputed_value_int64s must be set")
	}
	return o, n.Arity(1, 1, 1, 1)
}

func (o *imputer) Infer(in, out []*op.Value) error {
	want, n := tensor.FP32, len(o.floats)
	if len(o.ints) > 0 {
		want, n = tensor.Int64, len(o.ints)
	}
	if err := op.Want(in[0], "input", want); err != nil {
		return err
	}
	if _, cols, err := matrix(in[0]); err != nil || (n != 1 && n != cols) {
		return op.Invalid("%d values for an input of shape %v", n, in[0].Shape)
	}
	return out[0].Set(want, in[0].Shape...)
}

func (o *imputer) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	if len(o.ints) > 0 {
		x, y := op.As[int64](in[0]), op.As[int64](out[0])
		return func() error {
			impute(y, x, o.ints, func(v int64) bool { return v == o.replacedInt })
			return nil
		}, nil
	}
	x, y := op.Floats(in[0]), op.Floats(out[0])
	missing := func(v float32) bool { return v == o.replacedFloat }
	if math.IsNaN(float64(o.replacedFloat)) {
		missing = func(v float32) bool { return v != v }
	}
	return func() error {
		impute(y, x, o.floats, missing)
		return nil
	}, nil
}

func impute[T int64 | float32](dst, src, values []T, missing func(T) bool) {
	for i, v := range src {
		if missing(v) {
			v = values[i%len(values)]
		}
		dst[i] = v
	}
}

func (*imputer) InPlace() []int { return []int{0} }

// featureVectorizer joins columns of numbers of any types into one matrix of FP32.
type featureVectorizer struct{ widths []int64 }

func buildFeatureVectorizer(n *op.Node) (op.Operator, error) {
	return &featureVectorizer{n.Ints("inputdimensions")}, n.Arity(1, 1<<16, 1, 1)
}

// width is how many columns of input i are taken, and of how many.
func (o *featureVectorizer) width(in []*op.Value, i int) (rows, take, cols int, err error) {
	rows, cols, err = matrix(in[i])
	if in[i].Rank() == 1 { // a column, not a row
		rows, cols = cols, 1
	}
	take = cols
	if i < len(o.widths) {
		take = int(max(0, min(o.widths[i], math.MaxInt32)))
	}
	return rows, take, cols, err
}

func (o *featureVectorizer) Infer(in, out []*op.Value) error {
	total, all := 0, -1
	for i, v := range in {
		if err := op.Want(v, "input", numeric...); err != nil {
			return err
		}
		rows, take, _, err := o.width(in, i)
		if err != nil || (all >= 0 && rows != all) {
			return op.Invalid("inputs of shapes %v and %v", in[0].Shape, v.Shape)
		}
		all, total = rows, total+take
	}
	return out[0].Set(tensor.FP32, int64(all), int64(total))
}

func (o *featureVectorizer) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	y, width := op.Floats(out[0]), int(out[0].Shape[1])
	var columns []func()
	first := 0
	for i, v := range in {
		rows, take, cols, err := o.width(in, i)
		if err != nil {
			return nil, err
		}
		load, at, copied := floats(v), first, min(take, cols)
		columns = append(columns, func() {
			x := load()
			for r := range rows {
				to := y[r*width+at:][:take]
				clear(to[copy(to[:copied], x[r*cols:]):])
			}
		})
		first += take
	}
	return func() error {
		for _, column := range columns {
			column()
		}
		return nil
	}, nil
}

func (*featureVectorizer) Rowwise(_ []*op.Value, carries []bool) bool {
	return !slices.Contains(carries, false)
}
