// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"fmt"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source/internal/pages"
)

// input is an open part. Pieces are taken by one goroutine at a time and filled by any.
type input interface {
	// next returns the next piece, of at most so many rows; io.EOF at the end.
	next() (piece, error)
	// progress is which share of it next has handed out, and rows how many it has; -1 if
	// that is not known.
	progress() float64
	// absent marks the fields that it does not have.
	absent() []bool
	// close comes after the last fill.
	close() error
}

// piece is a slice that is still to be read.
type piece interface {
	// fill appends the rows to a batch that is empty and sets its Rows.
	fill(b *column.Batch, w *worker) error
}

// worker is the memory of a goroutine that fills batches.
type worker struct {
	rejects rejects
	pages   pages.Scratch
	json    []jsonValue
}

func (sh *shape) open(ctx context.Context, p *part, o *Options, rows int) (input, error) {
	var in input
	var err error
	switch p.in.Format {
	case definition.CSV:
		in, err = openCSV(sh, p, rows)
	case definition.JSONLines:
		in, err = openJSON(sh, p, rows)
	case definition.Parquet:
		in, err = openParquet(sh, p, rows)
	default:
		in, err = openQuery(ctx, sh, p, o, rows)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	return in, nil
}

// binding is where a field is in an input.
type binding struct {
	field  int
	column int // of the input
	unit   epoch
}

// bind finds the columns of the wanted fields by name. find returns -1 and what to say
// of a column that is not there.
func (sh *shape) bind(p *part, find func(name string) (int, string)) (bound []binding, absent []bool, err error) {
	absent = make([]bool, len(sh.source.Fields))
	for _, i := range sh.wanted {
		f := &sh.source.Fields[i]
		name, unit, missing := columnName(f.Name, p.in.Columns)
		if missing {
			absent[i] = true
			continue
		}
		if unit != 0 {
			if place, _ := find(p.in.Columns[f.Name]); place >= 0 { // a column of that very name
				name, unit = p.in.Columns[f.Name], 0
			} else if f.Type != column.Timestamp {
				return nil, nil, fmt.Errorf("%w: field %s is %s; %s is for timestamps", ErrInput, f.Name, f.Type, p.in.Columns[f.Name])
			}
		}
		place, why := find(name)
		if place < 0 {
			return nil, nil, fmt.Errorf("%w: field %s: no column %q%s; say columns: {%s: ITS NAME}, or \"-\" if this input does not have it", ErrInput, f.Name, name, why, f.Name)
		}
		bound = append(bound, binding{field: i, column: place, unit: unit})
	}
	return bound, absent, nil
}

// listed is what there is instead, for a message.
func listed(names []string) string {
	const most = 20
	if len(names) == 0 {
		return "; it has none"
	}
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	return fmt.Sprintf("; there are %q%s", names, more)
}

// addNulls fills the columns of wanted fields that the input does not have.
func addNulls(b *column.Batch, wanted []int, absent []bool) {
	for _, i := range wanted {
		if absent[i] {
			for range b.Rows {
				b.Columns[i].AppendNull()
			}
		}
	}
}
