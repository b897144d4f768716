// SPDX-License-Identifier: Apache-2.0

package client

import (
	"time"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// Columns are values by name, a value for each row. All columns have as many.
type Columns struct{ columns []*millracev1.Column }

// Ints adds a column. The slice is kept, as in the methods below.
func (c *Columns) Ints(name string, values ...int64) *Columns {
	return c.add(&millracev1.Column{Name: name, Integers: values})
}

// Floats adds a column.
func (c *Columns) Floats(name string, values ...float64) *Columns {
	return c.add(&millracev1.Column{Name: name, Numbers: values})
}

// Texts adds a column.
func (c *Columns) Texts(name string, values ...string) *Columns {
	return c.add(&millracev1.Column{Name: name, Texts: values})
}

// Bools adds a column.
func (c *Columns) Bools(name string, values ...bool) *Columns {
	return c.add(&millracev1.Column{Name: name, Bools: values})
}

// Times adds a column of timestamps, to the microsecond.
func (c *Columns) Times(name string, values ...time.Time) *Columns {
	micros := make([]int64, len(values))
	for i, t := range values {
		micros[i] = t.UnixMicro()
	}
	return c.Ints(name, micros...)
}

// Nulls makes rows of the column added last null; their values do not count.
func (c *Columns) Nulls(rows ...int) *Columns {
	if n := len(c.columns); n > 0 {
		last := c.columns[n-1]
		for _, row := range rows {
			last.Nulls = append(last.Nulls, uint32(row))
		}
	}
	return c
}

func (c *Columns) add(column *millracev1.Column) *Columns {
	c.columns = append(c.columns, column)
	return c
}

// Rows is the length of the columns, that of the first.
func (c *Columns) Rows() int {
	if len(c.columns) == 0 {
		return 0
	}
	return columnRows(c.columns[0])
}

func columnRows(c *millracev1.Column) int {
	return max(len(c.Numbers), len(c.Integers), len(c.Texts), len(c.Bools))
}

// check finds columns of other lengths, and nulls beyond them.
func (c *Columns) check(call, path string, rows int) error {
	for _, column := range c.columns {
		if n := columnRows(column); n != rows {
			return invalidRequest(call, path+"."+column.Name, "%s.%s: has %d values for %d rows", path, column.Name, n, rows)
		}
		for _, row := range column.Nulls {
			if int(row) >= rows {
				return invalidRequest(call, path+"."+column.Name, "%s.%s: nulls: there is no row %d of %d", path, column.Name, row, rows)
			}
		}
	}
	return nil
}
