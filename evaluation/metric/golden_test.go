// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// goldenCase is a case of testdata/golden.json, which golden.py writes.
type goldenCase struct {
	Name    string              `json:"name"`
	Task    string              `json:"task"`
	Outputs int                 `json:"outputs"`
	Labels  []float64           `json:"labels"`
	Scores  []float64           `json:"scores"`
	Weights []float64           `json:"weights"`
	Queries []int32             `json:"queries"`
	Metrics map[string]*float64 `json:"metrics"`
}

func (c *goldenCase) sample(t testing.TB) *Sample {
	t.Helper()
	s := &Sample{Outputs: c.Outputs, Labels: c.Labels, Scores: c.Scores, Weights: c.Weights, Queries: c.Queries}
	for s.Task = Binary; s.Task.String() != c.Task; s.Task++ {
		if s.Task > Ranking {
			t.Fatalf("unknown task %s", c.Task)
		}
	}
	if err := s.Validate(); err != nil {
		t.Fatalf("%s, %s: %v", c.Task, c.Name, err)
	}
	return s
}

// TestScikitLearn compares with values of scikit-learn, on random and on degenerate samples.
func TestScikitLearn(t *testing.T) {
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Versions map[string]string `json:"versions"`
		Cases    []goldenCase      `json:"cases"`
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, c := range golden.Cases {
		s := c.sample(t)
		for text, value := range c.Metrics {
			m, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			want := math.NaN()
			if value != nil {
				want = *value
			}
			if got := valueOf(t, m, s, nil); !near(got, want) {
				t.Errorf("%s, %s: %s is %v, scikit-learn has %v", c.Task, c.Name, text, got, want)
			}
			compared++
		}
	}
	if compared < 500 {
		t.Errorf("only %d values were compared", compared)
	}
}

// near is equality to 1e-9, relative.
func near(a, b float64) bool {
	if math.IsNaN(a) || math.IsNaN(b) {
		return math.IsNaN(a) && math.IsNaN(b)
	}
	return math.Abs(a-b) <= 1e-9*math.Abs(b)+1e-15
}
