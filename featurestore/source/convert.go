// SPDX-License-Identifier: Apache-2.0

package source

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/source/internal/pages"
)

// convert appends the values from one row of a page to another.
type convert func(c *column.Column, v *pages.Values, from, to int, bad *rejects)

// converter returns nil if a column of that kind does not suit a field.
func converter(k pages.Kind, t column.Type, unit epoch) convert {
	switch {
	case t == column.Timestamp && unit != 0:
		if k == pages.Ints {
			return epochs64(unit)
		}
		if k == pages.Floats {
			return epochsFloat(unit)
		}
		return nil
	case t == column.Timestamp && k == pages.Times, t == column.Int64 && k == pages.Ints:
		return ints
	case t == column.Int64 && k == pages.Uints:
		return uints
	case t == column.Int64 && k == pages.Floats:
		return wholes
	case t == column.Float64 && k == pages.Floats, t == column.Bool && k == pages.Bools:
		return floats
	case t == column.Float64 && k == pages.Ints:
		return intsAsFloats
	case t == column.Float64 && k == pages.Uints:
		return uintsAsFloats
	case t == column.Bool && k == pages.Ints:
		return intsAsBools
	case t == column.String && k == pages.Texts:
		return texts
	}
	return nil
}

// nulls takes over the marks of nulls, for columns that have marks.
func nulls(c *column.Column, v *pages.Values, from, to, before int) {
	if len(v.Nulls) == 0 && len(c.Nulls) == 0 {
		return
	}
	if len(c.Nulls) < before { // the first nulls of the column
		c.Nulls = append(c.Nulls, make([]bool, before-len(c.Nulls))...)
	}
	if len(v.Nulls) == 0 {
		c.Nulls = append(c.Nulls, make([]bool, to-from)...)
		return
	}
	c.Nulls = append(c.Nulls, v.Nulls[from:to]...)
}

func ints(c *column.Column, v *pages.Values, from, to int, _ *rejects) {
	nulls(c, v, from, to, len(c.Ints))
	c.Ints = append(c.Ints, v.Ints[from:to]...)
}

func uints(c *column.Column, v *pages.Values, from, to int, bad *rejects) {
	for i, x := range v.Ints[from:to] {
		if x < 0 {
			bad.row(len(c.Ints)+i, c.Name, strconv.FormatUint(uint64(x), 10)+" "+errInt.Error())
		}
	}
	ints(c, v, from, to, bad)
}

func wholes(c *column.Column, v *pages.Values, from, to int, bad *rejects) {
	before := len(c.Ints)
	nulls(c, v, from, to, before)
	for i, x := range v.Numbers[from:to] {
		whole := int64(0)
		switch {
		case x != x: // NaN stands for null where whole numbers had to become floats
			markNull(c, before+i)
		case x != math.Trunc(x) || math.Abs(x) > column.IntegerMax:
			bad.row(before+i, c.Name, strconv.FormatFloat(x, 'g', -1, 64)+" is not a whole number within 2^53")
		default:
			whole = int64(x)
		}
		c.Ints = append(c.Ints, whole)
	}
	if len(c.Nulls) > 0 && len(c.Nulls) < len(c.Ints) {
		c.Nulls = append(c.Nulls, make([]bool, len(c.Ints)-len(c.Nulls))...)
	}
}

// markNull marks value i; those before it that have no mark are not null.
func markNull(c *column.Column, i int) {
	if len(c.Nulls) <= i {
		c.Nulls = append(c.Nulls, make([]bool, i+1-len(c.Nulls))...)
	}
	c.Nulls[i] = true
}

func floats(c *column.Column, v *pages.Values, from, to int, _ *rejects) {
	before := len(c.Numbers)
	c.Numbers = append(c.Numbers, v.Numbers[from:to]...)
	nullNumbers(c, v, from, to, before)
}

// nullNumbers makes nulls NaN.
func nullNumbers(c *column.Column, v *pages.Values, from, to, before int) {
	if len(v.Nulls) == 0 {
		return
	}
	for i, null := range v.Nulls[from:to] {
		if null {
			c.Numbers[before+i] = math.NaN()
		}
	}
}

func intsAsFloats(c *column.Column, v *pages.Values, from, to int, _ *rejects) {
	before := len(c.Numbers)
	for _, x := range v.Ints[from:to] {
		c.Numbers = append(c.Numbers, float64(x))
	}
	nullNumbers(c, v, from, to, before)
}

func uintsAsFloats(c *column.Column, v *pages.Values, from, to int, _ *rejects) {
	before := len(c.Numbers)
	for _, x := range v.Ints[from:to] {
		c.Numbers = append(c.Numbers, float64(uint64(x)))
	}
	nullNumbers(c, v, from, to, before)
}

func intsAsBools(c *column.Column, v *pages.Values, from, to int, bad *rejects) {
	for i, x := range v.Ints[from:to] {
		if x != 0 && x != 1 {
			bad.row(len(c.Numbers)+i, c.Name, fmt.Sprintf("%d %v", x, errBool))
		}
	}
	intsAsFloats(c, v, from, to, bad)
}

func texts(c *column.Column, v *pages.Values, from, to int, _ *rejects) {
	nulls(c, v, from, to, len(c.Texts))
	c.Texts = append(c.Texts, v.Texts[from:to]...)
}

func epochs64(unit epoch) convert {
	return func(c *column.Column, v *pages.Values, from, to int, _ *rejects) {
		nulls(c, v, from, to, len(c.Ints))
		c.Ints = slices.Grow(c.Ints, to-from)
		for _, x := range v.Ints[from:to] {
			c.Ints = append(c.Ints, toMicros(x, 0, unit))
		}
	}
}

func epochsFloat(unit epoch) convert {
	return func(c *column.Column, v *pages.Values, from, to int, _ *rejects) {
		before := len(c.Ints)
		nulls(c, v, from, to, before)
		for i, x := range v.Numbers[from:to] {
			if x != x {
				markNull(c, before+i)
			}
			c.Ints = append(c.Ints, floatToMicros(x, unit))
		}
		if len(c.Nulls) > 0 && len(c.Nulls) < len(c.Ints) {
			c.Nulls = append(c.Nulls, make([]bool, len(c.Ints)-len(c.Nulls))...)
		}
	}
}

// floatToMicros rounds to the nearest microsecond, since a float of that size holds little
// more. It is 0 for NaN, whose row is null.
func floatToMicros(x float64, unit epoch) int64 {
	if x != x {
		return 0
	}
	micros := math.Round(x * (float64(unit) / 1000))
	if math.Abs(micros) > float64(timeMax) {
		return badTime
	}
	return int64(micros)
}
