// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/featurestore/column"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// bindColumn makes a column of the wire one of a type. Integers are taken for
// numbers, and whole numbers for integers. The memory of the message is used where
// the types agree.
func bindColumn(path string, from *millracev1.Column, into *column.Column, name string, t column.Type, rows int) error {
	*into = column.Column{Name: name, Type: t}
	if from == nil {
		return nil
	}
	kinds, n := 0, 0
	for _, length := range []int{len(from.Numbers), len(from.Integers), len(from.Texts), len(from.Bools)} {
		if length > 0 {
			kinds, n = kinds+1, length
		}
	}
	if kinds == 0 && len(from.Nulls) == 0 && rows > 0 {
		return fmt.Errorf("%s.%s: has no values; leave the column out if all are null", path, name)
	}
	if kinds > 1 {
		return fmt.Errorf("%s.%s: has values of %d kinds; give one of numbers, integers, texts and bools", path, name, kinds)
	}
	if kinds == 1 && n != rows {
		return fmt.Errorf("%s.%s: has %d values for %d rows", path, name, n, rows)
	}
	if len(from.Nulls) > rows {
		return fmt.Errorf("%s.%s: nulls: %d of them for %d rows", path, name, len(from.Nulls), rows)
	}
	if kinds == 0 {
		return bindNulls(path, from, into, rows)
	}
	if err := convert(path, from, into); err != nil {
		return err
	}
	return bindNulls(path, from, into, rows)
}

// convert takes over the values.
func convert(path string, from *millracev1.Column, into *column.Column) error {
	wrong := func(kind string) error {
		return fmt.Errorf("%s.%s: has %s, the type is %s", path, into.Name, kind, into.Type)
	}
	switch into.Type {
	case column.String:
		if into.Texts = from.Texts; len(from.Texts) == 0 {
			return wrong("no texts")
		}
	case column.Bool:
		if len(from.Bools) == 0 {
			return wrong("no bools")
		}
		into.Numbers = make([]float64, len(from.Bools))
		for i, b := range from.Bools {
			if b {
				into.Numbers[i] = 1
			}
		}
	case column.Float64:
		into.Numbers = from.Numbers
		if len(from.Integers) > 0 {
			into.Numbers = make([]float64, len(from.Integers))
			for i, v := range from.Integers {
				into.Numbers[i] = float64(v)
			}
		}
		if len(into.Numbers) == 0 {
			return wrong("no numbers")
		}
	case column.Int64, column.Timestamp:
		into.Ints = from.Integers
		if len(from.Numbers) > 0 {
			return wholeNumbers(path, from, into)
		}
		if len(into.Ints) == 0 {
			return wrong("no integers")
		}
	}
	return nil
}

func wholeNumbers(path string, from *millracev1.Column, into *column.Column) error {
	null := map[uint32]bool{}
	for _, row := range from.Nulls {
		null[row] = true
	}
	into.Ints = make([]int64, len(from.Numbers))
	for i, x := range from.Numbers {
		if null[uint32(i)] {
			continue
		}
		if x != math.Trunc(x) || math.Abs(x) > column.IntegerMax {
			return fmt.Errorf("%s.%s[%d]: %v is not a whole number that a float64 holds exactly; send integers", path, into.Name, i, x)
		}
		into.Ints[i] = int64(x)
	}
	return nil
}

// bindNulls marks the rows that are null.
func bindNulls(path string, from *millracev1.Column, into *column.Column, rows int) error {
	if len(from.Nulls) == 0 {
		return nil
	}
	if into.Len() == 0 {
		for range rows {
			into.AppendNull()
		}
	}
	for _, row := range from.Nulls {
		if int(row) >= rows {
			return fmt.Errorf("%s.%s: nulls: row %d of %d", path, into.Name, row, rows)
		}
		switch into.Type {
		case column.Bool, column.Float64:
			into.Numbers[row] = math.NaN()
			continue
		}
		if into.Nulls == nil {
			into.Nulls = make([]bool, rows)
		}
		into.Nulls[row] = true
	}
	return nil
}

// wireRows is the number of values of a column.
func wireRows(c *millracev1.Column) int {
	return max(len(c.Numbers), len(c.Integers), len(c.Texts), len(c.Bools))
}

// byName finds columns; it refuses what is unknown or given twice.
func byName(path string, columns []*millracev1.Column, place func(name string) int, n int) ([]*millracev1.Column, error) {
	found := make([]*millracev1.Column, n)
	for _, c := range columns {
		i := place(c.GetName())
		if i < 0 {
			return nil, fmt.Errorf("%s.%s: no such field", path, c.GetName())
		}
		if found[i] != nil {
			return nil, fmt.Errorf("%s.%s: given twice", path, c.GetName())
		}
		found[i] = c
	}
	return found, nil
}
