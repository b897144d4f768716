// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"fmt"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/column"
)

// Check says what is wrong with value row of a column of the field's type, empty for
// nothing: a required value that is null, a number out of range or infinite, a text
// that is not allowed.
func (f *Field) Check(c *column.Column, row int) string {
	if c.Len() == 0 || c.Null(row) {
		if f.Required {
			return "is required"
		}
		return ""
	}
	if f.Type == column.String {
		if text := c.Texts[row]; len(f.Values) > 0 && !slices.Contains(f.Values, text) {
			return fmt.Sprintf("%.64q is not one of %q", text, f.Values)
		}
		return ""
	}
	switch x := c.Number(row); {
	case math.IsInf(x, 0):
		return "is infinite"
	case x < f.Min:
		return fmt.Sprintf("%v is below the minimum of %v", x, f.Min)
	case x > f.Max:
		return fmt.Sprintf("%v is above the maximum of %v", x, f.Max)
	}
	return ""
}
