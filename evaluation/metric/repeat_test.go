// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
)

// testClasses are the classes of random multi-class samples; examples of names use b.
var testClasses = []string{"a", "b", "c", "d"}

// randomSample is a sample of a task with ties among scores. Its column unit has groups of
// rows, day a period, amount a number with nulls, country a text with nulls.
func randomSample(rng *rand.Rand, task Task, rows int, weighted bool) *Sample {
	s := &Sample{Task: task, Outputs: 1, Labels: make([]float64, rows)}
	if task == Multiclass {
		s.Outputs, s.Classes = len(testClasses), testClasses
	}
	s.Scores = make([]float64, rows*s.Outputs)
	tied := 1 + rng.IntN(20)
	for i := range rows {
		scores := s.Scores[i*s.Outputs : (i+1)*s.Outputs]
		for k := range scores {
			scores[k] = float64(rng.IntN(tied+1)) / float64(tied)
		}
		switch task {
		case Binary:
			s.Labels[i] = float64(rng.IntN(2))
		case Multiclass:
			s.Labels[i] = float64(rng.IntN(s.Outputs))
			sum := 0.0
			for k := range scores {
				scores[k] += 0.01
				sum += scores[k]
			}
			for k := range scores {
				scores[k] /= sum
			}
		case Regression:
			s.Labels[i], scores[0] = math.Round(rng.NormFloat64()*4)/2, rng.NormFloat64()
		case Ranking:
			s.Labels[i] = float64(max(0, rng.IntN(6)-2))
			s.Queries = append(s.Queries, int32(rng.IntN(1+rows/5)))
		}
		if weighted {
			s.Weights = append(s.Weights, 0.1+rng.Float64())
		}
	}
	s.Columns = randomColumns(rng, rows)
	return s
}

func randomColumns(rng *rand.Rand, rows int) *column.Batch {
	b := &column.Batch{Rows: rows, Columns: []column.Column{
		{Name: "unit", Type: column.Int64}, {Name: "day", Type: column.Int64},
		{Name: "amount", Type: column.Float64}, {Name: "country", Type: column.String}, {Name: "at", Type: column.Timestamp},
	}}
	for range rows {
		b.Columns[0].AppendInt(int64(rng.IntN(1 + rows/2)))
		b.Columns[1].AppendInt(int64(rng.IntN(4)))
		if rng.IntN(10) == 0 {
			b.Columns[2].AppendNull()
			b.Columns[3].AppendNull()
		} else {
			b.Columns[2].AppendNumber(rng.ExpFloat64() * 100)
			b.Columns[3].AppendText([]string{"FR", "NL"}[rng.IntN(2)])
		}
		b.Columns[4].AppendInt(int64(rng.IntN(40*86400)) * 1e6)
	}
	return b
}

// repeated is the sample with each row as often as it counts. A copy of a query, or of a
// unit, is another query or unit.
func repeated(s *Sample, counts []uint8) *Sample {
	out := &Sample{Task: s.Task, Outputs: s.Outputs, Classes: s.Classes, Columns: &column.Batch{}}
	for _, c := range s.Columns.Columns {
		out.Columns.Columns = append(out.Columns.Columns, column.Column{Name: c.Name, Type: c.Type})
	}
	for i, n := range counts {
		for again := range int(n) {
			out.Labels = append(out.Labels, s.Labels[i])
			out.Scores = append(out.Scores, s.Scores[i*s.Outputs:(i+1)*s.Outputs]...)
			if s.Weights != nil {
				out.Weights = append(out.Weights, s.Weights[i])
			}
			if s.Queries != nil {
				out.Queries = append(out.Queries, s.Queries[i]*256+int32(again))
			}
			out.Columns.Rows++
			for k := range out.Columns.Columns {
				copyValue(&out.Columns.Columns[k], &s.Columns.Columns[k], i, again)
			}
		}
	}
	return out
}

func copyValue(to, from *column.Column, i, again int) {
	switch {
	case from.Null(i):
		to.AppendNull()
	case from.Name == "unit":
		to.AppendInt(from.Ints[i]*256 + int64(again))
	case from.Type == column.String:
		to.AppendText(from.Texts[i])
	case from.Type == column.Float64:
		to.AppendNumber(from.Numbers[i])
	default:
		to.AppendInt(from.Ints[i])
	}
}

// randomCounts draws rows, or groups of rows together, up to three times each.
func randomCounts(rng *rand.Rand, rows int, group func(i int) int64) []uint8 {
	counts, of := make([]uint8, rows), map[int64]uint8{}
	for i := range counts {
		n := uint8(rng.IntN(4))
		if group != nil {
			if known, ok := of[group(i)]; ok {
				n = known
			}
			of[group(i)] = n
		}
		counts[i] = n
	}
	return counts
}

// testDefinitions are definitions of all kinds; those that suit a task are tested with it.
var testDefinitions = []Definition{
	{Name: "u1", Expression: "sum(amount * label) / sum(amount) + 2 * mean(score) - count(label == 1) / count()"},
	{Name: "u2", Expression: "quantile(amount, 0.9) + max(amount) - min(amount) + quantile(score * 2, 0.5)"},
	{Name: "u3", Expression: "roc_auc() - 0.5 * average_precision() + f1(0.3) ** 2 + precision_at(5)"},
	{Name: "u4", Expression: `metric("recall@fpr=0.2") ?? -1`, Where: `country == "NL"`},
	{Name: "u5", Expression: "mean(abs(label - score))", By: "date(at)", Where: "amount > 20"},
	{Name: "u6", Expression: "precision_at(3)", By: "country", Better: "lower"},
	{Name: "u7", Expression: "precision_at(4)", By: "day", Unit: "unit", Better: "higher"},
	{Name: "u8", Expression: "precision_at(4)", By: "day", Unit: "unit", Once: true, Better: "higher"},
	{Name: "u9", Expression: "recall_at(3) + mean(score) + roc_auc()", By: "day", Unit: "unit", Once: true, Where: "amount > 10"},
	{Name: "v1", Expression: "average_precision() + count()", Unit: "unit"},
	{Name: "v2", Expression: "ndcg_at(3) + mean(label)", By: "country"},
	{Name: "v3", Expression: `f1_macro() + mean(score_1) + mean(predicted == label)`, By: "day"},
	{Name: "v4", Expression: "max(rmse(), mae()) / min(1, pinball(0.9), mean(weight))", Where: "day != 2"},
}

// allMetrics are all metrics, by all examples of their names, and the definitions.
func allMetrics(t testing.TB) []Metric {
	t.Helper()
	var list []Metric
	for _, d := range Describe() {
		for _, text := range d.Examples {
			m, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, m)
		}
	}
	for _, d := range testDefinitions {
		m, err := New(d)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

func suiting(t testing.TB, s *Sample) (list []Metric) {
	t.Helper()
	for _, m := range allMetrics(t) {
		d, ok := m.(*defined)
		scoreMissing := ok && s.Task == Multiclass && d.d.Name != "v3" || ok && s.Task != Multiclass && d.d.Name == "v3"
		if m.Suits(s.Task) && !scoreMissing {
			list = append(list, m)
		}
	}
	return list
}

func closeTo(a, b, tolerance float64) bool {
	if math.IsNaN(a) || math.IsNaN(b) {
		return math.IsNaN(a) && math.IsNaN(b)
	}
	return math.Abs(a-b) <= tolerance*max(1, math.Abs(a), math.Abs(b))
}

// TestCountsAreRepeatedRows holds every metric, with random draws, to the same metric of a
// sample in which rows are repeated.
func TestCountsAreRepeatedRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	found := map[string]int{}
	for round := range 120 {
		task, rows := Task(round%4), 1+rng.IntN(60)
		s := randomSample(rng, task, rows, round%3 == 0)
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		for _, m := range suiting(t, s) {
			group := drawnTogether(s, m)
			counts := randomCounts(rng, rows, group)
			got, want := valueOf(t, m, s, counts), math.NaN()
			if again := repeated(s, counts); again.Rows() > 0 {
				want = valueOf(t, m, again, nil)
				if rows > 1 {
					reversed(again)
					if other := valueOf(t, m, again, nil); !closeTo(other, want, 1e-12) {
						t.Errorf("round %d, %v, %s: %v, but %v with the rows in reverse", round, task, m.Name(), want, other)
					}
				}
			} else if zero := map[string]bool{"v1": true, "u1": true}[m.Name()]; zero {
				continue
			}
			if !closeTo(got, want, 1e-12) {
				t.Errorf("round %d, %v, %s: %v by counts, %v by repeated rows", round, task, m.Name(), got, want)
			}
			if !math.IsNaN(got) {
				found[m.Name()+fmt.Sprint(task)]++
			}
		}
	}
	for _, task := range []Task{Binary, Multiclass, Regression, Ranking} {
		for _, m := range suiting(t, randomSample(rng, task, 9, false)) {
			if n := found[m.Name()+fmt.Sprint(task)]; n < 10 {
				t.Errorf("%v, %s was defined for %d samples only, which tests little", task, m.Name(), n)
			}
		}
	}
}

// drawnTogether numbers the rows that are drawn together for a metric, nil for none.
func drawnTogether(s *Sample, m Metric) func(i int) int64 {
	d, ok := m.(*defined)
	switch {
	case s.Task == Ranking:
		return func(i int) int64 { return int64(s.Queries[i]) }
	case ok && d.d.Unit != "":
		return func(i int) int64 { return s.Columns.Column("unit").Ints[i] }
	}
	return nil
}

// TestWeightsAreRepeatedRows holds every metric of rows with whole weights to the same
// metric of a sample in which rows are repeated.
func TestWeightsAreRepeatedRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 2))
	for round := range 60 {
		s := randomSample(rng, Task(round%4), 2+rng.IntN(50), false)
		for _, m := range suiting(t, s) {
			counts := randomCounts(rng, s.Rows(), drawnTogether(s, m))
			heavy := *s
			heavy.Weights = make([]float64, s.Rows())
			for i := range counts {
				counts[i]++
				heavy.Weights[i] = float64(counts[i])
			}
			if m.Name() == "v4" { // reads the weights themselves
				continue
			}
			got, want := valueOf(t, m, &heavy, nil), valueOf(t, m, repeated(s, counts), nil)
			if !closeTo(got, want, 1e-12) {
				t.Errorf("round %d, %v, %s: %v by weights, %v by repeated rows", round, s.Task, m.Name(), got, want)
			}
		}
	}
}

func valueOf(t testing.TB, m Metric, s *Sample, counts []uint8) float64 {
	t.Helper()
	stat, err := m.Prepare(s)
	if err != nil {
		t.Fatalf("%s: %v", m.Name(), err)
	}
	return stat.Value(counts)
}

// reversed puts the rows in the opposite order.
func reversed(s *Sample) {
	rows := s.Rows()
	for i, j := 0, rows-1; i < j; i, j = i+1, j-1 {
		s.Labels[i], s.Labels[j] = s.Labels[j], s.Labels[i]
		for k := range s.Outputs {
			a, b := i*s.Outputs+k, j*s.Outputs+k
			s.Scores[a], s.Scores[b] = s.Scores[b], s.Scores[a]
		}
		if s.Weights != nil {
			s.Weights[i], s.Weights[j] = s.Weights[j], s.Weights[i]
		}
		if s.Queries != nil {
			s.Queries[i], s.Queries[j] = s.Queries[j], s.Queries[i]
		}
		for k := range s.Columns.Columns {
			swapValues(&s.Columns.Columns[k], i, j)
		}
	}
}

func swapValues(c *column.Column, i, j int) {
	if c.Numbers != nil {
		c.Numbers[i], c.Numbers[j] = c.Numbers[j], c.Numbers[i]
	}
	if c.Ints != nil {
		c.Ints[i], c.Ints[j] = c.Ints[j], c.Ints[i]
	}
	if c.Texts != nil {
		c.Texts[i], c.Texts[j] = c.Texts[j], c.Texts[i]
	}
	if c.Nulls != nil {
		c.Nulls[i], c.Nulls[j] = c.Nulls[j], c.Nulls[i]
	}
}
