// SPDX-License-Identifier: Apache-2.0

package aggregate

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// simulate draws items and the votes of voters with known confusions, each voting with a
// probability.
func simulate(seed uint64, n int, priors []float64, confusions [][][]float64, share float64) (truth []int, votes [][]int) {
	r := rand.New(rand.NewPCG(seed, 8))
	draw := func(p []float64) int {
		u := r.Float64()
		for j, x := range p {
			if u -= x; u < 0 {
				return j
			}
		}
		return len(p) - 1
	}
	for range n {
		t := draw(priors)
		row := make([]int, len(confusions))
		for v := range row {
			if row[v] = Abstain; r.Float64() < share {
				row[v] = draw(confusions[v][t])
			}
		}
		truth, votes = append(truth, t), append(votes, row)
	}
	return truth, votes
}

func accuracy(truth []int, rows [][]float64) float64 {
	right := 0
	for i, j := range Best(rows) {
		if j == truth[i] {
			right++
		}
	}
	return float64(right) / float64(len(truth))
}

// three voters: good, middling, and one who swaps two labels.
var three = [][][]float64{
	{{0.9, 0.05, 0.05}, {0.05, 0.9, 0.05}, {0.05, 0.05, 0.9}},
	{{0.7, 0.2, 0.1}, {0.1, 0.7, 0.2}, {0.2, 0.1, 0.7}},
	{{0.8, 0.1, 0.1}, {0.1, 0.1, 0.8}, {0.1, 0.8, 0.1}},
	{{0.6, 0.2, 0.2}, {0.2, 0.6, 0.2}, {0.2, 0.2, 0.6}},
}

func TestKnownConfusionsAreFound(t *testing.T) {
	priors := []float64{0.5, 0.3, 0.2}
	truth, votes := simulate(1, 4000, priors, three, 0.9)
	m, err := DawidSkene(votes, 3, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for r := range three {
		for j := range three[r] {
			for l, want := range three[r][j] {
				if got := m.Confusions[r][j][l]; math.Abs(got-want) > 0.06 {
					t.Errorf("voter %d, truth %d, vote %d: %.3f, want %.2f", r, j, l, got, want)
				}
			}
		}
	}
	for j, want := range priors {
		if math.Abs(m.Priors[j]-want) > 0.03 {
			t.Errorf("prior %d: %.3f, want %v", j, m.Priors[j], want)
		}
	}
	majority, err := Majority(votes, 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := accuracy(truth, m.Probabilities), accuracy(truth, majority); a < b+0.05 {
		t.Errorf("accuracy %.3f, majority has %.3f", a, b)
	}
	if !m.Converged {
		t.Error("did not converge")
	}
	for i := 1; i < len(m.Objective); i++ {
		if m.Objective[i] < m.Objective[i-1]-1e-6 {
			t.Errorf("round %d lowers the objective: %v after %v", i, m.Objective[i], m.Objective[i-1])
		}
	}
	again, err := m.Infer(votes[:10])
	if err != nil || math.Abs(again[0][0]-m.Probabilities[0][0]) > 1e-4 {
		t.Errorf("inferred %v, want %v, %v", again[0], m.Probabilities[0], err)
	}
	if a := m.Accuracy(); math.Abs(a[0]-0.9) > 0.04 || a[2] > 0.6 {
		t.Errorf("accuracies are %v", a)
	}
}

// TestAsObvious holds the model to one written down from the formulas: products of
// probabilities, no logarithms.
func TestAsObvious(t *testing.T) {
	const k, rounds = 3, 12
	_, votes := simulate(2, 60, []float64{0.4, 0.4, 0.2}, three, 0.7)
	for _, abstaining := range []bool{false, true} {
		o := Options{RoundsMax: rounds, Tolerance: 1e-300, Abstaining: abstaining}
		m, err := DawidSkene(votes, k, o)
		if err != nil {
			t.Fatal(err)
		}
		o.ensureDefaults()
		want := obvious(votes, k, m.prior(votes, 4, &o), m.Rounds, abstaining)
		for i := range want {
			for j := range want[i] {
				if math.Abs(want[i][j]-m.Probabilities[i][j]) > 1e-9 {
					t.Fatalf("abstaining %v: item %d is %v, want %v", abstaining, i, m.Probabilities[i], want[i])
				}
			}
		}
	}
}

func obvious(votes [][]int, k int, prior [][][]float64, rounds int, abstaining bool) [][]float64 {
	q, _ := Majority(votes, k, nil)
	says := func(i, r, l int) bool { return votes[i][r] == l || abstaining && l == k && votes[i][r] == Abstain }
	for range rounds {
		priors := make([]float64, k)
		theta := func(r, j, l int) float64 {
			up, down := prior[r][j][l], 0.0
			for x := range prior[r][j] {
				down += prior[r][j][x]
				for i := range votes {
					if says(i, r, x) {
						down += q[i][j]
						if x == l {
							up += q[i][j]
						}
					}
				}
			}
			return up / down
		}
		tables := make([][][]float64, len(prior))
		for r := range prior {
			tables[r] = make([][]float64, k)
			for j := range k {
				for l := range prior[r][j] {
					tables[r][j] = append(tables[r][j], theta(r, j, l))
				}
			}
		}
		for j := range k {
			priors[j] = 1
			for i := range votes {
				priors[j] += q[i][j]
			}
			priors[j] /= float64(len(votes) + k)
		}
		for i := range votes {
			sum := 0.0
			for j := range k {
				q[i][j] = priors[j]
				for r := range prior {
					for l := range prior[r][j] {
						if says(i, r, l) {
							q[i][j] *= tables[r][j][l]
						}
					}
				}
				sum += q[i][j]
			}
			for j := range k {
				q[i][j] /= sum
			}
		}
	}
	return q
}

// TestFewVotesDoNotExplode has one item and one vote: the prior keeps the result modest.
func TestFewVotesDoNotExplode(t *testing.T) {
	m, err := DawidSkene([][]int{{1, Abstain}, {Abstain, Abstain}}, 2, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p := m.Probabilities[0][1]; p < 0.6 || p > 0.95 {
		t.Errorf("one vote gives %v", p)
	}
	if p := m.Probabilities[1]; math.Abs(p[0]-m.Priors[0]) > 1e-9 {
		t.Errorf("no vote gives %v, want the priors %v", p, m.Priors)
	}
}

// TestAbstainingTells has a function that speaks only of one class, at random otherwise.
func TestAbstainingTells(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	var truth []int
	var votes [][]int
	for range 1500 {
		y, row := r.IntN(2), []int{Abstain, Abstain, Abstain}
		for f, hit := range []float64{0.6, 0.5, 0.55} { // each votes 1, mostly where that is right
			if y == 1 && r.Float64() < hit || y == 0 && r.Float64() < 0.05 {
				row[f] = 1
			}
		}
		truth, votes = append(truth, y), append(votes, row)
	}
	m, err := DawidSkene(votes, 2, Options{Abstaining: true})
	if err != nil {
		t.Fatal(err)
	}
	if a := accuracy(truth, m.Probabilities); a < 0.85 {
		t.Errorf("accuracy %v", a)
	}
}

func TestMajorityAndRule(t *testing.T) {
	votes := [][]int{{0, 1, 1}, {0, 1, Abstain}, {Abstain, Abstain, Abstain}, {0, Abstain, Abstain}}
	rows, err := Majority(votes, 2, []float64{3, 1, 1})
	if err != nil || !reflect.DeepEqual(rows, [][]float64{{0.6, 0.4}, {0.75, 0.25}, {0.5, 0.5}, {1, 0}}) {
		t.Fatalf("%v, %v", rows, err)
	}
	got, err := Rule{Votes: 2, Probability: 0.7}.Decide(votes, rows)
	if err != nil {
		t.Fatal(err)
	}
	for i, says := range []string{"probability 0.600", "", "0 votes", "1 votes"} {
		if !strings.Contains(got[i].Review, says) || (says == "") != (got[i].Review == "") {
			t.Errorf("item %d: %+v, want %q", i, got[i], says)
		}
	}
	if got, _ := (Rule{}).Decide(votes[2:3], rows[2:3]); got[0].Review != "a tie" {
		t.Errorf("%+v", got)
	}
	if got, _ := (Rule{Margin: 0.6}).Decide(votes[1:2], rows[1:2]); !strings.Contains(got[0].Review, "more likely than the next") {
		t.Errorf("%+v", got)
	}
}

func TestFunctions(t *testing.T) {
	f, err := Compile([]Function{{"high", "amount > 220", 1}, {"night", "hour <= 6", 1}, {"small", "amount < 10", 0}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	votes, sums, err := f.Vote([]map[string]any{{"amount": 300, "hour": 3}, {"amount": 5, "hour": 4}, {"amount": 50, "hour": 12}, {"hour": 12}})
	if err != nil || !reflect.DeepEqual(votes, [][]int{{1, 1, -1}, {-1, 1, 0}, {-1, -1, -1}, {-1, -1, -1}}) {
		t.Fatalf("%v, %v", votes, err)
	}
	if s := sums[1]; s.Name != "night" || s.Coverage != 0.5 || s.Overlap != 0.5 || s.Conflict != 0.25 || s.Errors != 0 {
		t.Errorf("%+v", s)
	}
	if s := sums[0]; s.Errors != 1 || !strings.Contains(s.FirstError, "item 3") {
		t.Errorf("%+v", s)
	}
	for _, bad := range []Function{{"x", "amount >", 1}, {"x", "true", 2}} {
		if _, err := Compile([]Function{bad}, 2); !errors.Is(err, ErrInvalid) || !strings.Contains(fmt.Sprint(err), "functions[0]") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestInvalid(t *testing.T) {
	tests := []struct {
		votes  [][]int
		labels int
		says   string
	}{
		{nil, 2, "0 items"}, {[][]int{{0}}, 1, "1 labels"}, {[][]int{{}}, 2, "0 voters"},
		{[][]int{{0}, {0, 1}}, 2, "votes[1]: 2 voters"}, {[][]int{{2}}, 2, "votes[0][0]: 2"}, {[][]int{{-2}}, 2, "votes[0][0]: -2"},
	}
	for _, test := range tests {
		for _, run := range []func() error{
			func() error { _, err := Majority(test.votes, test.labels, nil); return err },
			func() error { _, err := DawidSkene(test.votes, test.labels, Options{}); return err },
		} {
			if err := run(); !errors.Is(err, ErrInvalid) || !strings.Contains(fmt.Sprint(err), test.says) {
				t.Errorf("%v, want %q", err, test.says)
			}
		}
	}
	if _, err := DawidSkene([][]int{{0}}, 2, Options{Accuracy: 1}); !errors.Is(err, ErrInvalid) {
		t.Errorf("accuracy 1: %v", err)
	}
}
