// SPDX-License-Identifier: Apache-2.0

package training

import (
	"errors"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/source"
	"github.com/millrace-ml/millrace/training/learn"
)

// writePredictions writes what each candidate predicted for the rows it was judged by, so
// that the evaluator can compare candidates: what is carried, the fold, the label (the
// class's number), and score_CANDIDATE, or score_CANDIDATE_CLASS for several classes.
func (b *builder) writePredictions(scores []CandidateScore) (err error) {
	scores = slices.DeleteFunc(slices.Clone(scores), func(s CandidateScore) bool { return s.Error != "" })
	columns := []source.ParquetColumn{{Name: "fold", Type: column.String, Required: true}, {Name: "label", Type: column.Float64, Required: true}}
	carried := b.data.Table.Carried.Columns
	for _, c := range carried {
		if c.Name != "fold" && c.Name != "label" {
			columns = append(columns, source.ParquetColumn{Name: c.Name, Type: c.Type})
		}
	}
	for _, s := range scores {
		for _, name := range b.scoreNames(s.Name) {
			columns = append(columns, source.ParquetColumn{Name: name, Type: column.Float64, Required: true})
		}
	}
	w, err := source.NewParquetWriter(b.Predictions, columns, source.WriterOptions{Workers: b.Workers})
	if err != nil {
		return err
	}
	for i := range b.folds {
		if err := w.Write(b.predictionsOf(i, columns, scores)); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	return w.Close()
}

func (b *builder) scoreNames(candidate string) []string {
	if b.task != learn.Multiclass {
		return []string{"score_" + candidate}
	}
	names := make([]string, len(b.data.Table.Classes))
	for i, class := range b.data.Table.Classes {
		names[i] = "score_" + candidate + "_" + class
	}
	return names
}

// predictionsOf is the batch of a fold, in the columns' order.
func (b *builder) predictionsOf(fold int, columns []source.ParquetColumn, scores []CandidateScore) *column.Batch {
	f := &b.folds[fold]
	test := b.testOf(f)
	rows := test.Rows()
	batch := &column.Batch{Rows: rows, Columns: make([]column.Column, 0, len(columns))}
	name, label := column.Column{Name: "fold", Type: column.String}, column.Column{Name: "label", Type: column.Float64}
	for row := range rows {
		name.AppendText(f.name)
		label.AppendNumber(float64(test.Labels[row]))
	}
	batch.Columns = append(batch.Columns, name, label)
	for _, c := range test.Carried.Columns {
		if c.Name != "fold" && c.Name != "label" {
			batch.Columns = append(batch.Columns, c)
		}
	}
	outputs := test.Outputs()
	for _, s := range scores {
		for k, name := range b.scoreNames(s.Name) {
			c := column.Column{Name: name, Type: column.Float64}
			for row := range rows {
				c.AppendNumber(float64(s.predictions[fold][row*outputs+k]))
			}
			batch.Columns = append(batch.Columns, c)
		}
	}
	return batch
}
