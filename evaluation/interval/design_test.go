// SPDX-License-Identifier: Apache-2.0

package interval

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestBadDesigns(t *testing.T) {
	for _, c := range []struct {
		design Design
		says   string
	}{
		{Design{}, "0 rows"},
		{Design{Rows: -1}, "-1 rows"},
		{Design{Rows: RowsMax + 1}, "rows, 1 to"},
		{Design{Rows: 2, Clusters: []int32{1}}, "1 rows have a cluster"},
		{Design{Rows: 2, Clusters: []int32{1, -5}}, "row 1 has cluster -5"},
		{Design{Rows: 2, Strata: []int32{1, 2, 3}}, "3 rows have a stratum"},
		{Design{Rows: 2, Strata: []int32{-1, 0}}, "row 0 has stratum -1"},
		{Design{Rows: 3, Clusters: []int32{4, 9, 9}, Strata: []int32{0, 0, 1}}, "cluster 9 has rows of several strata"},
	} {
		err := c.design.Validate()
		if !errors.Is(err, ErrDesign) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %q", c.design, err, c.says)
		}
	}
	for _, o := range []Options{{Draws: -1}, {Draws: DrawsMax + 1}, {Level: 1}, {Level: -0.5}, {Workers: -1}, {Method: 9}} {
		o.EnsureDefaults()
		if err := o.Validate(); !errors.Is(err, ErrDesign) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestCompact(t *testing.T) {
	for _, numbers := range [][]int32{{7, 3, 7, 0, 3}, {2147483647, 5, 2147483647, 1 << 20, 5}} {
		dense, groups, err := compact(numbers, len(numbers), "cluster")
		if err != nil || groups != 3 {
			t.Fatalf("%v: %d groups, %v", numbers, groups, err)
		}
		for i := range numbers {
			for j := range numbers {
				if (numbers[i] == numbers[j]) != (dense[i] == dense[j]) {
					t.Errorf("%v became %v", numbers, dense)
				}
			}
			if dense[i] < 0 || dense[i] >= 3 {
				t.Errorf("%v became %v", numbers, dense)
			}
		}
	}
}

// TestUnits checks that rows of a cluster have one count, and that each stratum keeps its
// number of clusters.
func TestUnits(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const rows = 500
	d := Design{Rows: rows, Clusters: make([]int32, rows), Strata: make([]int32, rows)}
	for row := range rows {
		d.Clusters[row] = int32(random.IntN(90)) * 3
		d.Strata[row] = d.Clusters[row] % 7
	}
	s, err := newSampler(&d)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int32]map[int32]bool{}
	for row := range rows {
		if want[d.Strata[row]] == nil {
			want[d.Strata[row]] = map[int32]bool{}
		}
		want[d.Strata[row]][d.Clusters[row]] = true
	}
	b := s.newBuffers()
	different := 0
	for draw := range 50 {
		s.draw(b, 5, draw)
		count := map[int32]uint8{}
		for row, cluster := range d.Clusters {
			if c, ok := count[cluster]; ok && c != b.rows[row] {
				t.Fatalf("draw %d: rows of cluster %d count %d and %d times", draw, cluster, c, b.rows[row])
			}
			count[cluster] = b.rows[row]
		}
		for stratum, clusters := range want {
			sum := 0
			for cluster := range clusters {
				sum += int(count[cluster])
			}
			if sum != len(clusters) {
				t.Errorf("draw %d: stratum %d has %d clusters, want %d", draw, stratum, sum, len(clusters))
			}
		}
		for _, c := range count {
			if c != 1 {
				different++
			}
		}
	}
	if different < 50*50 {
		t.Errorf("%d counts of 4500 are not 1: these are no draws", different)
	}
}

func TestOneRow(t *testing.T) {
	s, err := newSampler(&Design{Rows: 1})
	if err != nil {
		t.Fatal(err)
	}
	b := s.newBuffers()
	for draw := range 100 {
		if s.draw(b, 0, draw); b.rows[0] != 1 {
			t.Fatalf("draw %d of one row has it %d times", draw, b.rows[0])
		}
	}
}
