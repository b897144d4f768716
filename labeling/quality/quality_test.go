// SPDX-License-Identifier: Apache-2.0

package quality

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

// golden is what testdata/golden.py wrote.
type golden struct {
	Labels           []int
	Probabilities    [][]float64
	Thresholds       []float64
	Counts           [][]int
	Joint            [][]float64
	OffDiagonal      []int     `json:"off_diagonal"`
	Flipped          []int     `json:"flipped"`
	NormalizedMargin []float64 `json:"normalized_margin"`
	SelfConfidence   []float64 `json:"self_confidence"`
	ByClass          []int     `json:"by_class"`
	ByNoiseRate      []int     `json:"by_noise_rate"`
}

func readGolden(t *testing.T) golden {
	t.Helper()
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func find(t *testing.T, g *golden, o Options) *Report {
	t.Helper()
	r, err := Find(g.Labels, g.Probabilities, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func near(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Abs(x-y) < 1e-9 })
}

func items(r *Report) []int {
	var all []int
	for _, issue := range r.Issues {
		all = append(all, issue.Item)
	}
	slices.Sort(all)
	return all
}

// TestAsCleanlab compares with the authors' own implementation, by its numbers in testdata.
func TestAsCleanlab(t *testing.T) {
	g := readGolden(t)
	r := find(t, &g, Options{})
	if !near(r.Thresholds, g.Thresholds) || !near(r.Scores, g.NormalizedMargin) {
		t.Error("thresholds or scores differ")
	}
	total := 0.0
	for i := range g.Counts {
		if !slices.Equal(r.Counts[i], g.Counts[i]) || !near(r.Joint[i], g.Joint[i]) {
			t.Errorf("row %d is %v and %v, want %v and %v", i, r.Counts[i], r.Joint[i], g.Counts[i], g.Joint[i])
		}
		for _, q := range r.Joint[i] {
			total += q
		}
	}
	if math.Abs(total-1) > 1e-9 {
		t.Errorf("the joint sums to %v", total)
	}
	if !slices.Equal(items(r), g.OffDiagonal) {
		t.Errorf("issues %v, want %v", items(r), g.OffDiagonal)
	}
	if self := find(t, &g, Options{Score: SelfConfidence}); !near(self.Scores, g.SelfConfidence) {
		t.Error("self-confidences differ")
	}
	// The package rounds the joint to whole counts before it prunes, so a few differ.
	for rule, want := range map[Rule][]int{ByClass: g.ByClass, ByNoiseRate: g.ByNoiseRate} {
		got := items(find(t, &g, Options{Rule: rule}))
		if d := distance(got, want); d > 3 {
			t.Errorf("%s: %v, want about %v", rule, got, want)
		}
	}
}

// distance is how many are in one list only.
func distance(a, b []int) (n int) {
	for _, x := range a {
		if !slices.Contains(b, x) {
			n++
		}
	}
	for _, x := range b {
		if !slices.Contains(a, x) {
			n++
		}
	}
	return n
}

// TestFindsWhatWasFlipped looks at what the rules are for: most of the issues are flipped
// labels, most of these are found, and the noise is estimated about right.
func TestFindsWhatWasFlipped(t *testing.T) {
	g := readGolden(t)
	for _, rule := range []Rule{Confident, ByClass, ByNoiseRate, Both} {
		r := find(t, &g, Options{Rule: rule})
		hits := 0
		for i, issue := range r.Issues {
			if slices.Contains(g.Flipped, issue.Item) {
				hits++
			}
			if i > 0 && issue.Score < r.Issues[i-1].Score || issue.Suggested == issue.Given {
				t.Errorf("%s: issue %d is %+v", rule, i, issue)
			}
		}
		if 10*hits < 6*len(r.Issues) || 10*hits < 6*len(g.Flipped) {
			t.Errorf("%s: %d of %d issues are among the %d flipped", rule, hits, len(r.Issues), len(g.Flipped))
		}
		if want := float64(len(g.Flipped)) / float64(len(g.Labels)); math.Abs(r.Noise-want) > 0.08 {
			t.Errorf("%s: noise %v, want about %v", rule, r.Noise, want)
		}
		if all := r.Rank(g.Labels, g.Probabilities); len(all) != len(g.Labels) || all[0].Score > all[1].Score {
			t.Errorf("%s: rank begins with %+v", rule, all[:2])
		}
	}
}

func TestALabelThatNobodyGave(t *testing.T) {
	r, err := Find([]int{0, 1, 0}, [][]float64{{0.9, 0.05, 0.05}, {0.1, 0.8, 0.1}, {0.1, 0.1, 0.8}}, Options{})
	if err != nil || len(r.Issues) != 0 || !math.IsInf(r.Thresholds[2], 1) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestInvalid(t *testing.T) {
	row := [][]float64{{0.5, 0.5}}
	tests := []struct {
		labels []int
		rows   [][]float64
		o      Options
		says   string
	}{
		{nil, nil, Options{}, "0 labels"},
		{[]int{0}, nil, Options{}, "0 rows"},
		{[]int{2}, row, Options{}, "labels[0]: 2 is not in 0 to 1"},
		{[]int{0}, [][]float64{{1}}, Options{}, "probabilities[0]: 1 labels"},
		{[]int{0, 0}, [][]float64{{0.5, 0.5}, {1}}, Options{}, "probabilities[1]: 1 labels"},
		{[]int{0}, [][]float64{{0.5, math.NaN()}}, Options{}, "probabilities[0][1]"},
		{[]int{0}, [][]float64{{0.5, 0.6}}, Options{}, "sum is 1.1"},
		{[]int{0}, row, Options{Rule: "x"}, "rule"},
		{[]int{0}, row, Options{Score: "x"}, "score"},
	}
	for i, test := range tests {
		if _, err := Find(test.labels, test.rows, test.o); !errors.Is(err, ErrInvalid) || !strings.Contains(fmt.Sprint(err), test.says) {
			t.Errorf("%d: %v, want %q", i, err, test.says)
		}
	}
}
