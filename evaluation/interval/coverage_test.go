// SPDX-License-Identifier: Apache-2.0

package interval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/millrace-ml/millrace/evaluation/metric"
)

// Simulations: samples are drawn from a known distribution again and again, and it is
// counted how often intervals cover the true value and how often tests reject what is
// true. MILLRACE_SIMULATION=10 repeats everything ten times as often, which narrows what
// is allowed.

// repeats is how often a simulation is repeated.
func repeats(t *testing.T, n int) int {
	t.Helper()
	if times, err := strconv.Atoi(os.Getenv("MILLRACE_SIMULATION")); err == nil && times > 0 {
		return n * times
	}
	if testing.Short() {
		return n / 4
	}
	return n
}

// rate checks that k of n is a rate between low and high, by four binomial errors.
func rate(t *testing.T, what string, k, n int, low, high float64) {
	t.Helper()
	got, slack := float64(k)/float64(n), func(p float64) float64 { return 4 * math.Sqrt(p*(1-p)/float64(n)) }
	t.Logf("%s: %.4f of %d", what, got, n)
	if got < low-slack(low) || got > high+slack(high) {
		t.Errorf("%s: %.4f of %d, want %v to %v", what, got, n, low, high)
	}
}

// clustered makes rows in clusters: the rows of one share what they are like, so that they
// say less than as many rows on their own.
func clustered(random *rand.Rand, clusters int) (labels, a, b []float64, cluster []int32) {
	for c := range clusters {
		risk, level := random.NormFloat64(), 1.5*random.NormFloat64()
		for range 2 + random.IntN(9) {
			label := 0.0
			if random.NormFloat64()+risk > 0.5 {
				label = 1
			}
			labels = append(labels, label)
			a = append(a, label+level+0.5*random.NormFloat64())
			b = append(b, label+level+0.8*random.NormFloat64())
			cluster = append(cluster, int32(c))
		}
	}
	return labels, a, b, cluster
}

// trueAUCAndAP computes the values of infinitely many rows with normal scores, positives
// being moved up by shift, by sums over a grid.
func trueAUCAndAP(shift, rate float64) (auc, ap float64) {
	const step = 1e-3
	for x := -8.0; x < 8+shift; x += step {
		density := step * normal.Prob(x-shift)
		auc += density * normal.CDF(x)
		positives, negatives := rate*normal.CDF(shift-x), (1-rate)*normal.CDF(-x)
		ap += density * positives / (positives + negatives)
	}
	return auc, ap
}

// TestCoverage checks 95 % intervals of a mean of skewed values, of AUC and of AP.
func TestCoverage(t *testing.T) {
	const shift = 1.3
	for _, c := range []struct {
		rows, samples int
		rate          float64 // of positives
		low           float64 // coverage that is enough, as small samples tell little
	}{{200, 400, 0.3, 0.94}, {200, 300, 0.1, 0.94}, {1000, 200, 0.1, 0.94}, {5000, 60, 0.05, 0.95}} {
		random := rand.New(rand.NewPCG(uint64(c.rows), 17))
		trueAUC, trueAP := trueAUCAndAP(shift, c.rate)
		truth := []float64{1, trueAUC, trueAP}
		samples := repeats(t, c.samples)
		covered := map[Method]*[3]int{Adjusted: {}, Percentile: {}}
		for sample := range samples {
			values, labels, scores := make([]float64, c.rows), make([]float64, c.rows), make([]float64, c.rows)
			for i := range values {
				values[i] = random.ExpFloat64()
				if random.Float64() < c.rate {
					labels[i] = 1
				}
				scores[i] = shift*labels[i] + random.NormFloat64()
			}
			order := newRanking(labels, scores)
			draws := bootstrap(t, Design{Rows: c.rows}, Options{Draws: 400, Seed: uint64(sample)}, mean(values), auc{order}, ap{order})
			for method, counts := range covered {
				draws.method = method
				for i, value := range truth {
					if interval := draws.Interval(i); interval.Low <= value && value <= interval.High {
						counts[i]++
					}
				}
			}
		}
		for i, name := range []string{"mean", "AUC", "AP"} {
			name = fmt.Sprintf("%s of %d rows, %v positive: ", name, c.rows, c.rate)
			rate(t, name+"it covers", covered[Adjusted][i], samples, c.low, 0.965)
			t.Logf("%spercentiles cover %.4f", name, float64(covered[Percentile][i])/float64(samples))
		}
	}
}

// TestClusterCoverage checks that intervals by cluster cover, and that those by row do not
// where rows of a cluster are alike.
func TestClusterCoverage(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 17))
	labels, a, _, _ := clustered(random, 60_000)
	truth := auc{newRanking(labels, a)}.Value(nil) // to 0.001, a tenth of what it varies by
	samples := repeats(t, 250)
	byCluster, byRow, byDeLong := 0, 0, 0
	for sample := range samples {
		labels, a, _, cluster := clustered(random, 120)
		statistic := []metric.Statistic{auc{newRanking(labels, a)}}
		in := func(low, high float64) int { return class(low <= truth && truth <= high) }
		o := Options{Draws: 300, Seed: uint64(sample)}
		whole := bootstrap(t, Design{Rows: len(labels), Clusters: cluster}, o, statistic...).Interval(0)
		rows := bootstrap(t, Design{Rows: len(labels)}, o, statistic...).Interval(0)
		byCluster += in(whole.Low, whole.High)
		byRow += in(rows.Low, rows.High)
		one, err := AUCOf(labels, a, cluster)
		if err != nil {
			t.Fatal(err)
		}
		byDeLong += in(one.Interval(0.95))
	}
	rate(t, "the bootstrap of clusters covers", byCluster, samples, 0.935, 0.96)
	rate(t, "DeLong's interval by cluster covers", byDeLong, samples, 0.94, 0.96)
	rate(t, "the bootstrap of rows covers", byRow, samples, 0, 0.8)
}

// TestFalseAlarms checks how often tests at 5 % see a difference between models that are
// equally good, and that they see one that is there.
func TestFalseAlarms(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 17))
	samples := repeats(t, 400)
	delong, paired, better, seen := 0, 0, 0, 0
	for sample := range samples {
		labels, a, b := make([]float64, 300), make([]float64, 300), make([]float64, 300)
		worse := make([]float64, 300)
		for i := range labels {
			labels[i] = float64(class(random.Float64() < 0.3))
			shared := random.NormFloat64()
			a[i] = labels[i] + shared + 0.7*random.NormFloat64()
			b[i] = labels[i] + shared + 0.7*random.NormFloat64()
			worse[i] = 0.4*labels[i] + shared + 0.7*random.NormFloat64()
		}
		c, err := DeLong(labels, a, b, nil)
		if err != nil {
			t.Fatal(err)
		}
		delong += class(c.P < 0.05)
		draws := bootstrap(t, Design{Rows: 300}, Options{Draws: 400, Seed: uint64(sample)},
			auc{newRanking(labels, a)}, auc{newRanking(labels, b)}, auc{newRanking(labels, worse)})
		paired += class(draws.PEqual(0, 1) < 0.05)
		better += class(draws.P(0, 1, 0) < 0.05)
		seen += class(draws.PEqual(0, 2) < 0.05)
	}
	rate(t, "DeLong's false alarms", delong, samples, 0.045, 0.055)
	rate(t, "the paired bootstrap's false alarms", paired, samples, 0.035, 0.055)
	rate(t, "false claims of being better", better, samples, 0.04, 0.055)
	rate(t, "differences that are seen", seen, samples, 0.8, 1)
}

// TestFewPositives checks the paired bootstrap where it is hardest: 20 positives decide.
func TestFewPositives(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 17))
	samples := repeats(t, 400)
	alarms, strict, plain := [2]int{}, [2]int{}, [2]int{}
	for sample := range samples {
		labels, a, b := make([]float64, 200), make([]float64, 200), make([]float64, 200)
		for i := range labels {
			labels[i] = float64(class(random.Float64() < 0.1))
			shared := random.NormFloat64()
			a[i] = 2*labels[i] + shared + 0.7*random.NormFloat64()
			b[i] = 2*labels[i] + shared + 0.7*random.NormFloat64()
		}
		first, second := newRanking(labels, a), newRanking(labels, b)
		draws := bootstrap(t, Design{Rows: 200}, Options{Draws: 400, Seed: uint64(sample)}, ap{first}, ap{second}, auc{first}, auc{second})
		for i := range alarms {
			p := draws.PEqual(2*i, 2*i+1)
			alarms[i] += class(p < 0.05)
			strict[i] += class(p < 0.005)
			draws.method = Percentile
			plain[i] += class(draws.PEqual(2*i, 2*i+1) < 0.05)
			draws.method = Adjusted
		}
	}
	for i, name := range []string{"AP", "AUC"} {
		rate(t, name+": false alarms at 5 %", alarms[i], samples, 0.025, 0.055)
		rate(t, name+": false alarms at 0.5 %", strict[i], samples, 0, 0.006)
		t.Logf("%s: with plain percentiles %.4f", name, float64(plain[i])/float64(samples))
	}
}

// TestFamilyWiseError checks Holm's correction: 8 true hypotheses and 4 false ones, in
// tests that depend on each other.
func TestFamilyWiseError(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 17))
	trials := repeats(t, 20_000)
	adjusted, plain, found := 0, 0, 0
	for range trials {
		shared, p := random.NormFloat64(), make([]float64, 12)
		for i := range p {
			z := 0.5*shared + math.Sqrt(0.75)*random.NormFloat64()
			if i >= 8 {
				z += 4
			}
			p[i] = normal.CDF(-z)
		}
		holm := Holm(p)
		any, anyPlain := false, false
		for i := range 8 {
			any, anyPlain = any || holm[i] < 0.05, anyPlain || p[i] < 0.05
		}
		adjusted, plain = adjusted+class(any), plain+class(anyPlain)
		found += class(holm[8] < 0.05)
	}
	rate(t, "a false claim with Holm's correction", adjusted, trials, 0.02, 0.05)
	rate(t, "a false claim without", plain, trials, 0.2, 0.4)
	rate(t, "a true difference found", found, trials, 0.85, 1)
}

// TestMcNemarLevel checks the false alarms of the three variants.
func TestMcNemarLevel(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 17))
	trials := repeats(t, 2000)
	few, many, byCluster := 0, 0, 0
	for range trials {
		answer := func(n int) (a, b []bool) {
			for range n {
				a, b = append(a, random.IntN(5) > 0), append(b, random.IntN(5) > 0)
			}
			return a, b
		}
		a, b := answer(50)
		small, _ := McNemar(a, b, nil)
		few += class(small.P < 0.05)
		a, b = answer(400)
		large, _ := McNemar(a, b, nil)
		many += class(large.P < 0.05)
		a, b = answer(80)
		var manyA, manyB []bool
		var clusters []int32
		for i := range a {
			for range 1 + random.IntN(4) {
				manyA, manyB, clusters = append(manyA, a[i]), append(manyB, b[i]), append(clusters, int32(i))
			}
		}
		whole, _ := McNemar(manyA, manyB, clusters)
		byCluster += class(whole.P < 0.05)
	}
	rate(t, "exact", few, trials, 0.01, 0.05)
	rate(t, "corrected", many, trials, 0.03, 0.05)
	rate(t, "clustered", byCluster, trials, 0.04, 0.06)
}
