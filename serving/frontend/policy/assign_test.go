// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"math"
	"strconv"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/window"
)

// experiment has arms with these shares.
func experiment(t *testing.T, salt string, shares ...float64) *Policy {
	t.Helper()
	text := "decisions:\n  pay:\n    service: fraud\n    decisions: [ok]\n    thresholds: {default: [{decision: ok}]}\n" +
		"    unit: customer_id\n    experiment:\n      salt: " + salt + "\n      arms:\n"
	for i, s := range shares {
		text += fmt.Sprintf("        - {name: arm%d, share: %v}\n", i, s)
	}
	return parseOne(t, text)
}

// chiSquare is the statistic of counts against what is expected.
func chiSquare(counts []int, expected []float64) float64 {
	sum := 0.
	for i, n := range counts {
		d := float64(n) - expected[i]
		sum += d * d / expected[i]
	}
	return sum
}

// chiSquareLimit is about the 0.9999 quantile of a chi-square distribution (Wilson and
// Hilferty 1931). The units are fixed, so a test passes always or never.
func chiSquareLimit(freedom int) float64 {
	k := float64(freedom)
	c := 1 - 2/(9*k) + 3.719*math.Sqrt(2/(9*k))
	return k * c * c * c
}

var unitKinds = map[string]func(i int) string{
	"numbers":    strconv.Itoa,
	"far apart":  func(i int) string { return strconv.Itoa(i * 4096) },
	"texts":      func(i int) string { return "customer-" + strconv.Itoa(i) },
	"last digit": func(i int) string { return strconv.Itoa(i) + "0000000000000000000" },
}

// TestArmsGetTheirShares: for units of several kinds, each arm gets what it should.
func TestArmsGetTheirShares(t *testing.T) {
	const units = 100_000
	shares := []float64{0.5, 0.25, 0.1, 0.1, 0.03, 0.02}
	p := experiment(t, "2026-q4", shares...)
	for name, unit := range unitKinds {
		counts, expected := make([]int, len(shares)), make([]float64, len(shares))
		for i := range units {
			arm, propensity := p.Assign(unit(i))
			if propensity != shares[arm] {
				t.Fatalf("arm %d has propensity %v", arm, propensity)
			}
			counts[arm]++
		}
		for i, s := range shares {
			expected[i] = s * units
		}
		if x := chiSquare(counts, expected); x > chiSquareLimit(len(shares)-1) {
			t.Errorf("%s: chi square %.1f of %v", name, x, counts)
		}
	}
}

// TestBucketsAreEven: the buckets under the arms are, too.
func TestBucketsAreEven(t *testing.T) {
	const units = 500_000
	p := experiment(t, "2026-q4", 0.5, 0.5)
	counts, expected := make([]int, buckets), make([]float64, buckets)
	for i := range units {
		counts[bucketOf(p, strconv.Itoa(i))]++
	}
	for i := range expected {
		expected[i] = float64(units) / buckets
	}
	if x := chiSquare(counts, expected); x > chiSquareLimit(buckets-1) {
		t.Errorf("chi square %.1f, at most %.1f was expected", x, chiSquareLimit(buckets-1))
	}
}

func bucketOf(p *Policy, unit string) uint64 { return bucket(window.KeyOf(unit), p.salt) }

// pinned are buckets of units under the salt 2026-q4, as a program in another language
// computes them from the formula.
var pinned = map[string]uint64{
	"": 1357, "7": 4859, "1234567890123": 5716, "customer-7": 8784, "é": 9480,
}

// TestSaltsAreIndependent: the arm under one salt tells nothing of the arm under another.
func TestSaltsAreIndependent(t *testing.T) {
	const units, arms = 100_000, 4
	salts := []string{"2026-q3", "2026-q4", "a", "b", "aa"}
	for i, one := range salts {
		for _, other := range salts[i+1:] {
			p, q := experiment(t, one, 0.25, 0.25, 0.25, 0.25), experiment(t, other, 0.25, 0.25, 0.25, 0.25)
			counts, expected := make([]int, arms*arms), make([]float64, arms*arms)
			for u := range units {
				a, _ := p.AssignInt(int64(u))
				b, _ := q.AssignInt(int64(u))
				counts[a*arms+b]++
			}
			for i := range expected {
				expected[i] = float64(units) / arms / arms
			}
			if x := chiSquare(counts, expected); x > chiSquareLimit(arms*arms-1) {
				t.Errorf("salts %s and %s: chi square %.1f of %v", one, other, x, counts)
			}
		}
	}
}

// TestAssignIsStable pins buckets: a release that draws units anew breaks experiments.
func TestAssignIsStable(t *testing.T) {
	p := experiment(t, "2026-q4", 0.5, 0.5)
	for unit, want := range pinned {
		if got := bucketOf(p, unit); got != want {
			t.Errorf("unit %q is in bucket %d, not %d", unit, got, want)
		}
	}
	for _, v := range []int64{0, 7, -7, math.MaxInt64, math.MinInt64} {
		a, _ := p.AssignInt(v)
		b, _ := p.Assign(strconv.FormatInt(v, 10))
		again, _ := experiment(t, "2026-q4", 0.5, 0.5).AssignInt(v)
		if a != b || a != again {
			t.Errorf("unit %d is in arms %d, %d and %d", v, a, b, again)
		}
	}
}

// TestArmsAtTheEdge: an arm without a share gets no unit, a lone arm all.
func TestArmsAtTheEdge(t *testing.T) {
	p := experiment(t, "x", 0, 0.9999, 0, 0.0001, 0)
	counts := make([]int, 5)
	for i := range 100_000 {
		arm, _ := p.AssignInt(int64(i))
		counts[arm]++
	}
	if counts[0]+counts[2]+counts[4] > 0 || counts[3] == 0 || counts[3] > 50 {
		t.Errorf("units are %v", counts)
	}
	if arm, propensity := experiment(t, "x", 1).Assign("u"); arm != 0 || propensity != 1 {
		t.Errorf("arm %d, propensity %v", arm, propensity)
	}
	if arm, propensity := parseOne(t, factsPolicy).AssignInt(3); arm != 0 || propensity != 1 {
		t.Errorf("without an experiment: arm %d, propensity %v", arm, propensity)
	}
}

// TestShadowsSample: each shadow sees its share, whatever arm and other shadows do.
func TestShadowsSample(t *testing.T) {
	const ids = 100_000
	p := parseOne(t, `
decisions:
  pay:
    service: fraud
    decisions: [ok]
    thresholds: {default: [{decision: ok}]}
    unit: customer_id
    experiment: {salt: s, arms: [{name: a, share: 0.5}, {name: b, share: 0.5}]}
    shadow: [{model: one, share: 0.5}, {model: two, share: 0.5}, {model: all}, {model: {version: 7}, share: 0.0001}]
`)
	counts, expected := make([]int, 8), make([]float64, 8)
	few := 0
	for i := range ids {
		id := strconv.Itoa(i)
		place, _ := p.Assign(id)
		for s := range 2 {
			place *= 2
			if p.Shadows[s].Sampled(id) {
				place++
			}
		}
		counts[place]++
		if !p.Shadows[2].Sampled(id) {
			t.Fatalf("id %s is not seen by the shadow that sees all", id)
		}
		if p.Shadows[3].Sampled(id) {
			few++
		}
	}
	for i := range expected {
		expected[i] = ids / 8
	}
	if x := chiSquare(counts, expected); x > chiSquareLimit(7) || few == 0 || few > 50 {
		t.Errorf("chi square %.1f of %v, %d of the rarest", x, counts, few)
	}
}
