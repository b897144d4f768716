// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"
	"time"
)

const (
	// BatchRowsMax is the largest Options.BatchRows.
	BatchRowsMax = 1 << 20
	// BadListMax is how many bad rows Reader.Bad lists.
	BadListMax = 100
	// WorkersMax bounds the goroutines of a reader.
	WorkersMax = 256
	// LineBytesMax bounds a line of JSON, and a record of CSV with its line breaks.
	LineBytesMax = 4 << 20

	batchRowsNext     = 8192
	batchRowsParallel = 1 << 16
)

// Options say how a source is read. The zero value is sensible.
type Options struct {
	// BatchRows bounds the rows of a batch, at most BatchRowsMax: 0 is 8192, and 65536
	// for ReadParallel. Less memory, more overhead.
	BatchRows int
	// BadRowsMax is how many bad rows are left out before reading ends with ErrBadRows:
	// 0 is none, negative any number.
	BadRowsMax int64
	// Fields are the places of the fields to read, nil for all. The columns of the others
	// are empty; those that Parquet does not need are not even read. Rules of fields that
	// are not read are not applied.
	Fields []int
	// Input says whether an input of the source is read, by its place; nil is all.
	Input func(i int) bool
	// RowNumbers adds a column named RowNumber, Int64, behind the fields: which file and
	// which row of it. See AppendRowID.
	RowNumbers bool
	// Parallel is how many goroutines read ahead of Next; 0 is none, at most WorkersMax.
	// ReadParallel does not look at it.
	Parallel int
	// Columns renames columns for OpenFile, as definition.Input.Columns does.
	Columns map[string]string
	// StatementTimeout bounds a PostgreSQL query: 0 is no bound of ours.
	StatementTimeout time.Duration
	// ConnectTimeout bounds connecting to PostgreSQL: 0 is 10 s.
	ConnectTimeout time.Duration
}

// EnsureDefaults replaces zero values by what they stand for. BatchRows stays 0, since
// that depends on who reads.
func (o *Options) EnsureDefaults() {
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 10 * time.Second
	}
}

// Validate reports everything that is wrong, for a source of so many fields.
func (o *Options) Validate(fields int) error {
	var wrong []error
	if o.BatchRows < 0 || o.BatchRows > BatchRowsMax {
		wrong = append(wrong, fmt.Errorf("batch rows %d: 0 to %d", o.BatchRows, BatchRowsMax))
	}
	if o.Parallel < 0 || o.Parallel > WorkersMax {
		wrong = append(wrong, fmt.Errorf("parallel %d: 0 to %d", o.Parallel, WorkersMax))
	}
	if o.StatementTimeout < 0 || o.ConnectTimeout < 0 {
		wrong = append(wrong, errors.New("a time-out is negative"))
	}
	seen := make([]bool, fields)
	for _, i := range o.Fields {
		if i < 0 || i >= fields || seen[i] {
			wrong = append(wrong, fmt.Errorf("field %d: it is there twice, or not one of %d", i, fields))
			continue
		}
		seen[i] = true
	}
	return errors.Join(wrong...)
}
