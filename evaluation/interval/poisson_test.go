// SPDX-License-Identifier: Apache-2.0

package interval

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// TestTables checks that the two tables together give Poisson's probabilities.
func TestTables(t *testing.T) {
	got := [countMax + 1]float64{}
	open := 0.0
	for _, entry := range poisson {
		if entry == more {
			open++
		} else {
			got[entry] += 1.0 / 256
		}
	}
	before := 0.0
	for k, bound := range leftover {
		got[k] += open / 256 * (math.Ldexp(float64(bound), -64) - before)
		before = math.Ldexp(float64(bound), -64)
	}
	got[countMax] += open / 256 * (1 - before)
	for k := range got {
		want := distuv.Poisson{Lambda: 1}.Prob(float64(k))
		if math.Abs(got[k]-want) > 1e-15 {
			t.Errorf("the chance of %d is %v, want %v", k, got[k], want)
		}
	}
	if open != 3 {
		t.Errorf("%v bytes are settled with further bits, want 3", open)
	}
}

// chiSquared fails the test if counts seen are far from those expected.
func chiSquared(t *testing.T, what string, seen, expected []float64) {
	t.Helper()
	sum := 0.0
	for i := range seen {
		sum += (seen[i] - expected[i]) * (seen[i] - expected[i]) / expected[i]
	}
	if p := (distuv.ChiSquared{K: float64(len(seen) - 1)}).Survival(sum); p < 1e-4 {
		t.Errorf("%s: saw %v, expected %v: p = %v", what, seen, expected, p)
	}
}

func TestPoissonDistribution(t *testing.T) {
	const n = 1<<20 + 3
	counts := make([]uint8, n)
	total := fillPoisson(counts, newSource(7, 0))
	sum, seen, expected := 0, make([]float64, 8), make([]float64, 8)
	for _, c := range counts {
		sum += int(c)
		seen[min(c, 7)]++
	}
	rest := 1.0
	for k := range 7 {
		p := distuv.Poisson{Lambda: 1}.Prob(float64(k))
		expected[k], rest = n*p, rest-p
	}
	expected[7] = n * rest
	chiSquared(t, "counts", seen, expected)
	if sum != total {
		t.Errorf("the sum is %d, said to be %d", sum, total)
	}
}

// TestMultinomial checks that draws of few units are exact: the whole distribution of the
// counts of two units out of four.
func TestMultinomial(t *testing.T) {
	const n, draws = 4, 200_000
	s, err := newSampler(&Design{Rows: n})
	if err != nil {
		t.Fatal(err)
	}
	b := s.newBuffers()
	seen := map[[2]uint8]float64{}
	for draw := range draws {
		s.draw(b, 3, draw)
		if sum := int(b.rows[0]) + int(b.rows[1]) + int(b.rows[2]) + int(b.rows[3]); sum != n {
			t.Fatalf("draw %d has %d rows", draw, sum)
		}
		seen[[2]uint8{b.rows[0], b.rows[3]}]++
	}
	var saw, expected []float64
	factorial := []float64{1, 1, 2, 6, 24}
	for i := range n + 1 {
		for j := range n + 1 - i {
			// i of one unit, j of another, the rest of the other two
			p := factorial[n] / (factorial[i] * factorial[j] * factorial[n-i-j]) * math.Pow(2, float64(n-i-j)) / math.Pow(4, n)
			saw = append(saw, seen[[2]uint8{uint8(i), uint8(j)}])
			expected = append(expected, draws*p)
		}
	}
	chiSquared(t, "counts of two units", saw, expected)
}

// TestSpread checks moments of large draws, of a unit and of the sum over a part: with
// Poisson counts alone the latter would be wrong.
func TestSpread(t *testing.T) {
	const n, draws = 1000, 4000
	s, err := newSampler(&Design{Rows: n})
	if err != nil {
		t.Fatal(err)
	}
	b := s.newBuffers()
	sums := make([]float64, draws)
	for draw := range draws {
		s.draw(b, 11, draw)
		for _, c := range b.rows[:700] {
			sums[draw] += float64(c)
		}
	}
	m, v := 0.0, 0.0
	for _, sum := range sums {
		m += sum / draws
	}
	for _, sum := range sums {
		v += (sum - m) * (sum - m) / (draws - 1)
	}
	wantV := 1000 * 0.7 * 0.3
	if math.Abs(m-700) > 4*math.Sqrt(wantV/draws) || math.Abs(v/wantV-1) > 4*math.Sqrt(2.0/draws) {
		t.Errorf("the sum over 700 of 1000 rows has mean %v and variance %v, want 700 and %v", m, v, wantV)
	}
}
