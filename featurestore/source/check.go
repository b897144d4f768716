// SPDX-License-Identifier: Apache-2.0

package source

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

const (
	// idBytesMax bounds the id of an event, as the event log does.
	idBytesMax = 256
	// timeMax bounds times: the year 20237, up to which windows are exact.
	timeMax = int64(1) << 59
)

// check rejects the rows whose values their fields do not allow. absent marks fields
// that the input does not have.
func (sh *shape) check(b *column.Batch, absent []bool, r *rejects) {
	for _, i := range sh.wanted {
		if absent[i] && i != sh.source.ID && i != sh.source.Timestamp {
			continue
		}
		c, f := &b.Columns[i], &sh.source.Fields[i]
		if sh.required(i) {
			checkNulls(c, f, r)
		}
		switch f.Type {
		case column.Float64:
			checkFloats(c, f, r)
		case column.Int64:
			checkInts(c, f, r)
		case column.String:
			checkTexts(c, f, r)
			if i == sh.source.ID {
				checkIDs(c, f, r)
			}
		case column.Timestamp:
			checkTimes(c, f, r, i == sh.source.Timestamp || i == sh.source.Arrival)
		}
	}
}

func checkNulls(c *column.Column, f *definition.Field, r *rejects) {
	const message = "is null, and the field is required"
	if c.Type == column.Bool || c.Type == column.Float64 {
		for i, v := range c.Numbers {
			if v != v {
				r.row(i, f.Name, message)
			}
		}
		return
	}
	for i, null := range c.Nulls {
		if null {
			r.row(i, f.Name, message)
		}
	}
}

// checkFloats refuses what is infinite too: it would stay in every sum.
func checkFloats(c *column.Column, f *definition.Field, r *rejects) {
	least, most := -math.MaxFloat64, math.MaxFloat64
	if !math.IsNaN(f.Min) {
		least = max(least, f.Min)
	}
	if !math.IsNaN(f.Max) {
		most = min(most, f.Max)
	}
	for i, v := range c.Numbers {
		if v < least || v > most {
			r.row(i, f.Name, outOfRange(strconv.FormatFloat(v, 'g', -1, 64), f))
		}
	}
}

func checkInts(c *column.Column, f *definition.Field, r *rejects) {
	if math.IsNaN(f.Min) && math.IsNaN(f.Max) {
		return
	}
	for i, v := range c.Ints {
		if x := float64(v); (x < f.Min || x > f.Max) && !c.Null(i) { // a NaN compares false
			r.row(i, f.Name, outOfRange(strconv.FormatInt(v, 10), f))
		}
	}
}

func outOfRange(value string, f *definition.Field) string {
	low, high := !math.IsNaN(f.Min), !math.IsNaN(f.Max)
	switch {
	case low && high:
		return fmt.Sprintf("%s is not between %g and %g", value, f.Min, f.Max)
	case low:
		return fmt.Sprintf("%s is below %g", value, f.Min)
	case high:
		return fmt.Sprintf("%s is above %g", value, f.Max)
	}
	return value + " is not a finite number"
}

func checkTexts(c *column.Column, f *definition.Field, r *rejects) {
	for i, v := range c.Texts {
		if !utf8.ValidString(v) {
			r.row(i, f.Name, strconv.Quote(clip(v))+" is not UTF-8")
			continue
		}
		if len(f.Values) > 0 && !slices.Contains(f.Values, v) && !c.Null(i) {
			r.row(i, f.Name, fmt.Sprintf("%q is not one of %q", clip(v), f.Values))
		}
	}
}

func checkIDs(c *column.Column, f *definition.Field, r *rejects) {
	for i, v := range c.Texts {
		if (v == "" || len(v) > idBytesMax) && !c.Null(i) {
			r.row(i, f.Name, fmt.Sprintf("%q: an id has 1 to %d bytes", clip(v), idBytesMax))
		}
	}
}

func checkTimes(c *column.Column, f *definition.Field, r *rejects, ofEvent bool) {
	least := -timeMax
	if ofEvent {
		least = 0 // the event log takes no earlier ones
	}
	for i, v := range c.Ints {
		if (v < least || v > timeMax) && !c.Null(i) {
			r.row(i, f.Name, timeMessage(v, ofEvent))
		}
	}
}

func timeMessage(v int64, ofEvent bool) string {
	if v == badTime || v > timeMax || v < -timeMax {
		return "is a time beyond what can be held, the year 20237"
	}
	if ofEvent {
		return time.UnixMicro(v).UTC().Format(time.RFC3339) + " is before 1970"
	}
	return time.UnixMicro(v).UTC().Format(time.RFC3339) + " is out of range"
}
