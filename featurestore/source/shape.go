// SPDX-License-Identifier: Apache-2.0

package source

import (
	"strconv"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// RowNumber is the name of the column that Options.RowNumbers adds. No field can have
// it.
const RowNumber = "#row"

// rowBits are the bits of a row number that count rows; those above have the file.
const rowBits = 40

// AppendRowID appends the id of a row of a source without ids: which of its files it is
// in and which row of that file it is, both from 1. It stays the same as long as no file
// is added before it.
func AppendRowID(to []byte, number int64) []byte {
	to = strconv.AppendInt(to, number>>rowBits, 10)
	to = append(to, ':')
	return strconv.AppendInt(to, number&(1<<rowBits-1), 10)
}

// shape is what the batches of a source look like.
type shape struct {
	source  *definition.Source
	wanted  []int // fields to be read, in their order
	numbers bool
}

func newShape(s *definition.Source, o *Options) shape {
	sh := shape{source: s, numbers: o.RowNumbers}
	for i := range s.Fields {
		want := o.Fields == nil
		for _, f := range o.Fields {
			want = want || f == i
		}
		if want {
			sh.wanted = append(sh.wanted, i)
		}
	}
	return sh
}

// required says that a null is a bad row.
func (sh *shape) required(field int) bool {
	s := sh.source
	return s.Fields[field].Required || field == s.ID || field == s.Timestamp
}

// prepare makes a batch empty and of this shape; it keeps what memory it has.
func (sh *shape) prepare(b *column.Batch) {
	n := len(sh.source.Fields)
	if sh.numbers {
		n++
	}
	if len(b.Columns) != n {
		b.Columns = append(b.Columns[:0:0], make([]column.Column, n)...)
	}
	b.Reset()
	for i := range sh.source.Fields {
		f := &sh.source.Fields[i]
		b.Columns[i].Name, b.Columns[i].Type = f.Name, f.Type
	}
	if sh.numbers {
		b.Columns[n-1].Name, b.Columns[n-1].Type = RowNumber, column.Int64
	}
	for i := range b.Columns {
		b.Columns[i].Nulls = nil // a column says by it that it has none
	}
}
