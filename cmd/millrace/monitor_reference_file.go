// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// referenceWriter writes a reference for monitors row by row: the columns, the score, and the
// label where it is known. The file is there as a whole, or not at all.
type referenceWriter struct {
	out   *source.ParquetWriter
	batch column.Batch
	rows  int
}

// referenceBatch is how many rows are handed on at once.
const referenceBatch = 4096

func newReferenceWriter(path string, columns []monitor.Column) (*referenceWriter, error) {
	w := &referenceWriter{}
	for _, c := range columns {
		one := column.Column{Name: c.Name, Type: column.Float64}
		if c.Text {
			one.Type = column.String
		}
		w.batch.Columns = append(w.batch.Columns, one)
	}
	var err error
	w.out, err = openReference(path, &w.batch)
	return w, err
}

// openReference adds the columns of score and label to those of a batch, and begins the file
// of all of them.
func openReference(path string, b *column.Batch) (*source.ParquetWriter, error) {
	for _, name := range []string{monitor.ScoreColumn, monitor.LabelColumn} {
		if slices.ContainsFunc(b.Columns, func(c column.Column) bool { return c.Name == name }) {
			return nil, fmt.Errorf("a feature is called %s, which is the name of another column of a reference", name)
		}
		b.Columns = append(b.Columns, column.Column{Name: name, Type: column.Float64})
	}
	columns := make([]source.ParquetColumn, len(b.Columns))
	for i, c := range b.Columns {
		columns[i] = source.ParquetColumn{Name: c.Name, Type: c.Type}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return source.NewParquetWriter(path, columns, source.WriterOptions{Workers: 1})
}

// number sets a column of the row to come; NaN is null.
func (w *referenceWriter) number(column int, x float64) { w.batch.Columns[column].AppendNumber(x) }

// text sets a column of the row to come; empty is null.
func (w *referenceWriter) text(column int, text string) {
	if text == "" {
		w.batch.Columns[column].AppendNull()
		return
	}
	w.batch.Columns[column].AppendText(clonedText(text))
}

// end ends a row, all columns of which were set but the last two.
func (w *referenceWriter) end(score, label float64) error {
	n := len(w.batch.Columns)
	w.number(n-2, score)
	w.number(n-1, label)
	w.batch.Rows++
	if w.rows++; w.batch.Rows < referenceBatch {
		return nil
	}
	return w.flush()
}

func (w *referenceWriter) flush() error {
	err := w.out.Write(&w.batch)
	for i := range w.batch.Columns {
		c := &w.batch.Columns[i]
		*c = column.Column{Name: c.Name, Type: c.Type, Numbers: c.Numbers[:0], Texts: c.Texts[:0], Nulls: c.Nulls[:0]}
	}
	w.batch.Rows = 0
	return err
}

// close puts the file in its place, unless what was to be written failed.
func (w *referenceWriter) close(failed error) error {
	if failed == nil {
		failed = w.flush()
	}
	if failed != nil {
		return errors.Join(failed, w.out.Abort())
	}
	return w.out.Close()
}
