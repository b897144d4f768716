// SPDX-License-Identifier: Apache-2.0

package column

import (
	"math"
	"slices"
	"testing"
)

func TestSelect(t *testing.T) {
	b := &Batch{Rows: 3, Columns: []Column{{Name: "n", Type: Float64}, {Name: "i", Type: Int64}, {Name: "t", Type: String}, {Name: "none", Type: Int64}}}
	for row := range 3 {
		if row == 1 {
			for i := range b.Columns[:3] {
				b.Columns[i].AppendNull()
			}
			continue
		}
		b.Columns[0].AppendNumber(float64(row))
		b.Columns[1].AppendInt(int64(row))
		b.Columns[2].AppendText(string(rune('a' + row)))
	}
	s := b.Select([]int32{2, 1, 2})
	if s.Rows != 3 || s.Columns[0].Numbers[0] != 2 || !math.IsNaN(s.Columns[0].Numbers[1]) {
		t.Errorf("numbers %v", s.Columns[0].Numbers)
	}
	if !slices.Equal(s.Columns[2].Texts, []string{"c", "", "c"}) || s.Columns[2].Null(0) || !s.Columns[1].Null(1) || s.Columns[1].Ints[2] != 2 {
		t.Errorf("%+v", s.Columns)
	}
	if s.Columns[3].Len() != 0 || s.Column("none").Type != Int64 {
		t.Errorf("a column without values has %d", s.Columns[3].Len())
	}
}
