// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/parquet-go/parquet-go"

	"github.com/millrace-ml/millrace/evaluation/monitor"
)

// referenceWriter writes a reference for monitors: the columns, the score, and the label
// where it is known. The file is there as a whole, or not at all.
type referenceWriter struct {
	path   string
	file   *os.File
	out    *parquet.GenericWriter[any]
	leaves []int // of the columns, the score and the label
	places parquet.Row
	rows   int
}

// referenceGroupRows bounds the rows that are held before they are written.
const referenceGroupRows = 65_536

func newReferenceWriter(path string, columns []monitor.Column) (*referenceWriter, error) {
	root := parquet.Group{}
	names := make([]string, 0, len(columns)+2)
	for _, c := range columns {
		node := parquet.Leaf(parquet.DoubleType)
		if c.Text {
			node = parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
		}
		root[c.Name] = parquet.Optional(node)
		names = append(names, c.Name)
	}
	for _, name := range []string{monitor.ScoreColumn, monitor.LabelColumn} {
		if _, taken := root[name]; taken {
			return nil, fmt.Errorf("a feature is called %s, which is the name of another column of a reference", name)
		}
		root[name] = parquet.Optional(parquet.Leaf(parquet.DoubleType))
		names = append(names, name)
	}
	schema := parquet.NewSchema("reference", root)
	w := &referenceWriter{path: path, places: make(parquet.Row, len(names))}
	for _, name := range names {
		leaf, _ := schema.Lookup(name) // it was put there above
		w.leaves = append(w.leaves, int(leaf.ColumnIndex))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	var err error
	if w.file, err = os.Create(path + ".new"); err != nil {
		return nil, err
	}
	w.out = parquet.NewGenericWriter[any](w.file, schema, parquet.Compression(&parquet.Zstd), parquet.CreatedBy("millrace", "1", ""), parquet.MaxRowsPerRowGroup(referenceGroupRows))
	return w, nil
}

// number sets a column of the row to come; NaN is null.
func (w *referenceWriter) number(column int, x float64) {
	v, level := parquet.DoubleValue(x), 1
	if math.IsNaN(x) {
		v, level = parquet.NullValue(), 0
	}
	w.places[w.leaves[column]] = v.Level(0, level, w.leaves[column])
}

// text sets a column of the row to come; empty is null.
func (w *referenceWriter) text(column int, text string) {
	v, level := parquet.ByteArrayValue([]byte(text)), 1
	if text == "" {
		v, level = parquet.NullValue(), 0
	}
	w.places[w.leaves[column]] = v.Level(0, level, w.leaves[column])
}

// end ends a row, all columns of which were set but the last two.
func (w *referenceWriter) end(score, label float64) error {
	w.number(len(w.leaves)-2, score)
	w.number(len(w.leaves)-1, label)
	w.rows++
	if _, err := w.out.WriteRows([]parquet.Row{w.places}); err != nil {
		return err
	}
	if w.rows%referenceGroupRows == 0 {
		return w.out.Flush()
	}
	return nil
}

// close puts the file in its place, unless what was to be written failed.
func (w *referenceWriter) close(failed error) error {
	err := failed
	if err == nil {
		err = w.out.Close()
	}
	if err == nil {
		err = w.file.Sync()
	}
	err = errors.Join(err, w.file.Close())
	if err == nil {
		err = os.Rename(w.path+".new", w.path)
	}
	if err != nil {
		if gone := os.Remove(w.path + ".new"); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		return err
	}
	return syncDir(filepath.Dir(w.path))
}
