// SPDX-License-Identifier: Apache-2.0

package text

import (
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// columnsMax bounds the columns of the output.
const columnsMax = 1 << 24

// vectorizer counts the n-grams of its pool in each row: lists of items that follow each
// other, or that have up to skips items between each two of them.
type vectorizer struct {
	pool
	shortest, longest, skips int
	columns                  int
	// binary gives 1 for what is there, or its weight, in place of the count. weights
	// are by column, nil where all are 1.
	binary  bool
	weights []float32
}

func buildVectorizer(n *op.Node) (op.Operator, error) {
	shortest, longest, skips := n.Int("min_gram_length", 0), n.Int("max_gram_length", 0), n.Int("max_skip_count", 0)
	if shortest < 1 || longest < shortest || longest > 1<<16 || skips < 0 || skips > 1<<16 {
		return nil, op.Invalid("n-grams of %d to %d items with up to %d skipped", shortest, longest, skips)
	}
	o := &vectorizer{shortest: int(shortest), longest: int(longest), skips: int(skips), weights: n.Floats("weights")}
	switch mode := n.Text("mode", ""); mode {
	case "TF":
		o.weights = nil
	case "IDF":
		o.binary = true
	case "TFIDF":
	default:
		return nil, op.Invalid("mode %q", mode)
	}
	if err := o.readColumns(n.Ints("ngram_indexes")); err != nil {
		return nil, err
	}
	var err error
	if o.pool, err = poolOf(n, int(longest)); err != nil {
		return nil, err
	}
	return o, n.Arity(1, 1, 1, 1)
}

// readColumns checks where the counts go.
func (o *vectorizer) readColumns(indexes []int64) error {
	inOrder := true
	for i, column := range indexes {
		if column < 0 || column >= columnsMax {
			return op.Invalid("n-gram %d counts in column %d", i, column)
		}
		o.columns = max(o.columns, int(column)+1)
		inOrder = inOrder && column == int64(i)
	}
	switch {
	case len(indexes) == 0:
		return op.Invalid("there are no n-grams")
	case o.weights == nil:
		return nil
	case len(o.weights) != len(indexes):
		return op.Invalid("%d weights for %d n-grams", len(o.weights), len(indexes))
	case !inOrder:
		// The standard has a weight for each n-gram, ONNX Runtime one for each column.
		return op.NotCovered("weights of n-grams that are not in the order of their columns")
	}
	return nil
}

func (o *vectorizer) Infer(in, out []*op.Value) error {
	if o.texts != nil {
		if err := op.Want(in[0], "input", tensor.Bytes); err != nil {
			return err
		}
	} else if err := op.Want(in[0], "input", tensor.Int64, tensor.Int32); err != nil {
		return err
	}
	switch in[0].Rank() {
	case 1:
		return out[0].Set(tensor.FP32, int64(o.columns))
	case 2:
		return out[0].Set(tensor.FP32, in[0].Shape[0], int64(o.columns))
	}
	return op.Invalid("input of shape %v", in[0].Shape)
}

func (o *vectorizer) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	rows, cols := 1, in[0].Len()
	if in[0].Rank() == 2 {
		rows, cols = int(in[0].Shape[0]), int(in[0].Shape[1])
	}
	items, counts := make([]int32, in[0].Len()), op.Floats(out[0])
	read := o.reader(in[0], items)
	return func() error {
		read()
		clear(counts)
		for i := range rows {
			row := counts[i*o.columns : (i+1)*o.columns]
			o.count(row, items[i*cols:(i+1)*cols])
			o.weigh(row)
		}
		return nil
	}, nil
}

// count adds up the n-grams of a row.
func (o *vectorizer) count(counts []float32, items []int32) {
	shortest := o.shortest
	for step := 1; step <= o.skips+1; step++ {
		for first := 0; first+step*(shortest-1) < len(items); first++ {
			node := int32(0)
			for size, at := 1, first; size <= o.longest && at < len(items); size, at = size+1, at+step {
				var ok bool
				if node, ok = o.next[edge{node, items[at]}]; !ok {
					break
				}
				if column := o.column[node]; size >= shortest && column >= 0 {
					counts[column]++
				}
			}
		}
		// Single items have nothing between them to skip, and count once.
		if shortest == 1 {
			if shortest++; shortest > o.longest {
				return
			}
		}
	}
}

func (o *vectorizer) weigh(counts []float32) {
	for i, n := range counts {
		if o.binary && n > 0 {
			counts[i] = 1
		}
		if o.weights != nil {
			counts[i] *= o.weights[i]
		}
	}
}

// Rowwise implements op.Rowwiser.
func (o *vectorizer) Rowwise(in []*op.Value, carries []bool) bool {
	return carries[0] && in[0].Rank() == 2
}

// Cost implements op.Coster.
func (o *vectorizer) Cost(in, out []*op.Value) float64 {
	return 40*float64(in[0].Len()*(1+o.skips)) + 0.3*float64(out[0].Len())
}
