// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/training/learn"
)

// Follower is a model that predicts a row by the labels of the rows before it, as they
// come to be known in a stream.
type Follower interface {
	// Follow writes the raw scores of the rows of a table as if each came after the label
	// of the row before it, in order of time, was known. The first row follows the
	// training rows.
	Follow(t *learn.Table, to []float32)
}

type lastTrainer struct{}

// last predicts that the label stays as it was.
type last struct {
	task    learn.Task
	outputs int
	label   float32 // of the latest training row
	stays   float64 // how often a label was that of the row before
}

var (
	_ learn.Model = (*last)(nil)
	_ Follower    = (*last)(nil)
)

// staysMin keeps the prediction with the last label where labels rather change.
const staysMin = 0.51

// Fit implements learn.Trainer.
func (lastTrainer) Fit(_ context.Context, train, _ *learn.Table, _ learn.FitOptions) (learn.Model, error) {
	if err := checkTable(train); err != nil {
		return nil, err
	}
	order := byTime(train)
	same := 1.0 // one of each, so that neither is certain
	for i, row := range order[1:] {
		if train.Labels[row] == train.Labels[order[i]] {
			same++
		}
	}
	stays := max(same/float64(len(order)+1), staysMin)
	return &last{train.Task, train.Outputs(), train.Labels[order[len(order)-1]], stays}, nil
}

// byTime orders rows by time, those of one time, or all if there are no times, as they are.
func byTime(t *learn.Table) []int {
	order := make([]int, t.Rows())
	for i := range order {
		order[i] = i
	}
	if t.Times != nil {
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(t.Times[a], t.Times[b]) })
	}
	return order
}

// Outputs implements learn.Model.
func (m *last) Outputs() int { return m.outputs }

// Predict implements learn.Model: without labels of later rows it is the last one of
// training. Follow is what the baseline is for.
func (m *last) Predict(_ [][]float32, to []float32) {
	for at := 0; at < len(to); at += m.outputs {
		m.write(m.label, to[at:at+m.outputs])
	}
}

// Follow implements Follower.
func (m *last) Follow(t *learn.Table, to []float32) {
	label := m.label
	for _, row := range byTime(t) {
		m.write(label, to[row*m.outputs:(row+1)*m.outputs])
		label = t.Labels[row]
	}
}

// write gives the scores of a row whose last label is known.
func (m *last) write(label float32, to []float32) {
	switch m.task {
	case learn.Regression:
		to[0] = label
	case learn.Binary:
		to[0] = float32(logit(m.stays) * float64(2*label-1))
	default:
		rest := math.Log((1 - m.stays) / float64(max(len(to)-1, 1)))
		for k := range to {
			to[k] = float32(rest)
		}
		to[int(label)] = float32(math.Log(m.stays))
	}
}

// Export implements learn.Model.
func (m *last) Export(*learn.Graph) (string, error) {
	return "", fmt.Errorf("last_label %w: no request has the label of the row before; it is for comparison only", ErrNotExported)
}

// Importance implements learn.Model.
func (m *last) Importance() []float64 { return nil }

// Describe implements learn.Model.
func (m *last) Describe() string {
	return fmt.Sprintf("the label before, which stayed the same in %.1f %% of rows", 100*m.stays)
}
