// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// deals calls visit with each way to deal n of the pooled values out, as masks.
func deals(all, n int, visit func(current func(i int) bool)) int {
	count := 0
	for mask := range 1 << all {
		ones := 0
		for i := range all {
			ones += mask >> i & 1
		}
		if ones == n {
			count++
			visit(func(i int) bool { return mask>>i&1 == 1 })
		}
	}
	return count
}

// TestExactByDealing compares p-values with those found by dealing the rows out in all ways.
func TestExactByDealing(t *testing.T) {
	for _, pooled := range [][]float64{
		{1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
		{0, 0, 0, 1, 1, 2, 3, 3, 3, 7},
		{0, 0, 0, 0, 0, 0, 0, 1, 1, 5, 6, 6},
	} {
		for _, n := range []int{2, 4, 6} {
			r := rand.New(rand.NewPCG(7, uint64(n)))
			r.Shuffle(len(pooled), func(i, j int) { pooled[i], pooled[j] = pooled[j], pooled[i] })
			own := NewReference(pooled[n:]).Against(pooled[:n])
			ks, err := own.Test(KS, 0)
			if err != nil {
				t.Fatal(err)
			}
			out, err := own.OutOfRange()
			if err != nil {
				t.Fatal(err)
			}
			ties := len(own.groups) < len(pooled)
			var ksMore, outMore float64
			count := deals(len(pooled), n, func(current func(int) bool) {
				var cur, ref []float64
				for i, v := range pooled {
					if current(i) {
						cur = append(cur, v)
					} else {
						ref = append(ref, v)
					}
				}
				dealt := NewReference(ref).Against(cur)
				a, _ := dealt.Test(KS, 0)
				b, _ := dealt.OutOfRange()
				ksMore += half(a.Statistic - ks.Statistic)
				outMore += half(b.Statistic - out.Statistic)
			})
			if want := ksMore / float64(count); ks.Method != Exact || math.Abs(ks.P-want) > 1e-12 {
				t.Errorf("%v, %d current: p of KS is %v (%s), want %v", pooled, n, ks.P, ks.Method, want)
			}
			if want := outMore / float64(count); !ties && math.Abs(out.P-want) > 1e-9 {
				t.Errorf("%v, %d current: p of range is %v, want %v", pooled, n, out.P, want)
			}
		}
	}
}

// half counts what is more, and half of what is equal.
func half(d float64) float64 {
	switch {
	case d > 1e-12:
		return 1
	case d < -1e-12:
		return 0
	}
	return 0.5
}

// TestUnseenByDealing compares the p-value of unseen categories with that of all deals. The
// first two have categories of one row only, for which it is exact.
func TestUnseenByDealing(t *testing.T) {
	for k, categories := range [][]int{{0, 1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 5}, {0, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2}, {0, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8}} {
		for _, n := range []int{2, 4, 7} {
			own := tableOf(categories, func(i int) bool { return i < n })
			result, err := own.UnseenRows(0)
			if err != nil {
				t.Fatal(err)
			}
			more := 0.0
			count := deals(len(categories), n, func(current func(int) bool) {
				dealt, err := tableOf(categories, current).UnseenRows(0)
				if err != nil {
					t.Fatal(err)
				}
				more += half(dealt.Statistic - result.Statistic)
			})
			slack := 0.12
			if k < 2 && n < 5 {
				slack = 1e-9
			}
			if want := more / float64(count); math.Abs(result.P-want) > slack {
				t.Errorf("%v, %d current: p %v (%s), want %v", categories, n, result.P, result.Method, want)
			}
		}
	}
}

func tableOf(categories []int, current func(int) bool) Table {
	table := Table{make([]int, 10), make([]int, 10)}
	for i, c := range categories {
		if current(i) {
			table.Current[c]++
		} else {
			table.Reference[c]++
		}
	}
	return table
}

var someTables = []Table{
	{[]int{10, 20, 20}, []int{12, 30, 8}},
	{[]int{30, 3, 17}, []int{25, 2, 23}},
	{[]int{50, 100, 50}, []int{20, 60, 20}},
	{[]int{20, 10, 12, 8}, []int{10, 10, 5, 5}},
	{[]int{3, 2, 1, 1, 2}, []int{2, 4, 0, 3, 1}},
}

// TestMoments compares the exact moments with those of all tables, the projected ones with
// the exact ones where both can be had, and the level that the gamma distribution attains
// with what was asked.
func TestMoments(t *testing.T) {
	for _, table := range someTables {
		s, err := table.totals()
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range []Test{PSI, JensenShannon, GTest, ChiSquared} {
			term := termOf(test, s.m, s.n, len(s.pooled))
			list := s.outcomes(term)
			total, mean, variance, third := 0.0, 0.0, 0.0, 0.0
			for _, o := range list {
				total += o.chance
				mean += o.chance * o.statistic
			}
			for _, o := range list {
				d := o.statistic - mean
				variance += o.chance * d * d
				third += o.chance * d * d * d
			}
			got, ok := s.moments(term)
			if !ok || math.Abs(total-1) > 1e-9 || !near(got.mean, mean, 1e-8) || !near(got.variance, variance, 1e-8) || !near(got.third, third, 1e-7) {
				t.Errorf("%v %s: moments %+v, want %v %v %v (all chances: %v)", table, test, got, mean, variance, third, total)
			}
			level, tail := 0.0, newTail(got)
			for _, o := range list {
				if tail.above(o.statistic) <= 0.05 {
					level += o.chance
				}
			}
			if slices.Min(s.pooled) > 10 && (level < 0.03 || level > 0.07) {
				t.Errorf("%v %s: the 5 %% level is attained at %.2f %%", table, test, 100*level)
			}
		}
	}
	s, _ := Table{[]int{100, 200, 300, 50, 350}, []int{30, 70, 90, 20, 90}}.totals()
	term := termOf(PSI, s.m, s.n, 5)
	exact, ok := s.moments(term)
	if about := s.projected(term); !ok || !near(about.mean, exact.mean, 0.02) || !near(about.variance, exact.variance, 0.1) {
		t.Errorf("projected moments %+v, want about %+v", about, exact)
	}
}

func near(got, want, relative float64) bool {
	return math.Abs(got-want) <= relative*math.Abs(want)
}

// TestBridge compares the limit for many rows with the exact p-value, with ties and without,
// and with Kolmogorov's series.
func TestBridge(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, world := range []string{"normal", "integers", "zeros"} {
		ref, cur := sample(r, worlds[world], 1500), sample(r, worlds[world], 1200)
		for i := range cur {
			cur[i] += 0.06
			if world != "normal" {
				cur[i] = worlds[world](r)
				if i%15 == 0 {
					cur[i]++
				}
			}
		}
		n := NewReference(ref).Against(cur)
		groups := coarsen(n.groups, gridGroups, 2700)
		most := farthest(groups, 1200, 1500)
		at, ok := lattice(groups, 1200, 1500, most)
		if !ok {
			t.Fatal("the exact p-value takes too long")
		}
		z := float64(most) / (1200 * 1500) * math.Sqrt(1200*1500/2700.)
		if p := bridge(groups, 2700, z); !near(p, at, 0.15) {
			t.Errorf("%s: z %v has p %v by the limit and %v exactly", world, z, p, at)
		}
	}
	fine := make([]group, 100)
	for i := range fine {
		fine[i].all = 10
	}
	for _, z := range []float64{1, 1.63, 2.5} {
		series := 2 * (math.Exp(-2*z*z) - math.Exp(-8*z*z))
		if p := bridge(fine, 1000, z); p > series || p < 0.4*series {
			t.Errorf("bridge(%v) = %v, want a little less than %v", z, p, series)
		}
	}
}

// TestOrder holds that rows in another order, and sides that change places, give the same.
func TestOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	ref, cur := sample(r, worlds["zeros"], 300), sample(r, worlds["zeros"], 200)
	cur[3] = math.NaN()
	a := NewReference(ref).Against(cur)
	shuffled := slices.Clone(cur)
	r.Shuffle(len(cur), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	b, c := NewReference(ref).Against(shuffled), NewReference(cur).Against(ref)
	for _, test := range []Test{PSI, JensenShannon, GTest, ChiSquared, KS, CvM} {
		x, err := a.Test(test, 0)
		if err != nil {
			t.Fatal(err)
		}
		y, _ := b.Test(test, 0)
		z, _ := c.Test(test, 0)
		if x != y {
			t.Errorf("%s: %+v, shuffled %+v", test, x, y)
		}
		if !near(z.P, x.P, 1e-6) || !near(z.Statistic, x.Statistic, 1e-9) {
			t.Errorf("%s: %+v, with the sides changed %+v", test, x, z)
		}
		if (x.P <= DefaultLevel) != (x.Statistic >= x.Threshold) {
			t.Errorf("%s: p %v, statistic %v and threshold %v do not agree", test, x.P, x.Statistic, x.Threshold)
		}
	}
}

// TestShiftOfOneOfFifty is the promise of the monitor: half a standard deviation in one of
// 50 columns of 1,000 rows is found after correction.
func TestShiftOfOneOfFifty(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	found, rounds := 0, 20
	for range rounds {
		p := make([]float64, 50)
		for i := range p {
			n := NewReference(sample(r, worlds["normal"], 1000)).Against(sample(r, func(r *rand.Rand) float64 {
				shift := 0.0
				if i == 17 {
					shift = 0.5
				}
				return r.NormFloat64() + shift
			}, 1000))
			result, err := n.Test(CvM, 0)
			if err != nil {
				t.Fatal(err)
			}
			p[i] = result.P
		}
		if adjusted := BenjaminiHochberg(p); adjusted[17] <= 0.01 && slices.Index(adjusted, slices.Min(adjusted)) == 17 {
			found++
		}
	}
	if found < rounds*95/100 {
		t.Errorf("found %d of %d", found, rounds)
	}
}

func TestBad(t *testing.T) {
	nan := math.NaN()
	for name, err := range map[string]error{
		"no reference":  second(NewReference(nil).Against([]float64{1}).Test(KS, 0)),
		"no current":    second(NewReference([]float64{1}).Against([]float64{nan}).Test(CvM, 0)),
		"categorical":   second(NewReference([]float64{1}).Against([]float64{1}).Test(Missing, 0)),
		"level":         second(NewReference([]float64{1}).Against([]float64{1}).Test(PSI, 2)),
		"negative":      second(Table{[]int{1, -1}, []int{1, 1}}.Test(PSI, 0)),
		"lengths":       second(Table{[]int{1}, []int{1, 1}}.Test(PSI, 0)),
		"test of table": second(Table{[]int{1, 2}, []int{1, 1}}.Test(KS, 0)),
		"empty range":   second(NewReference(nil).Against(nil).OutOfRange()),
		"empty missing": second(MissingRate(0, 0, 0, 0)),
		"empty unseen":  second(Table{}.UnseenRows(0)),
		"scores":        second(ScoreShift([]float64{1}, nil, []float64{1})),
	} {
		if !errors.Is(err, ErrData) {
			t.Errorf("%s: error %v, want ErrData", name, err)
		}
	}
	n := NewReference([]float64{2, 2, 2}).Against([]float64{2, 2})
	for _, test := range []Test{PSI, KS, CvM} {
		if r, err := n.Test(test, 0); err != nil || r.P != 1 || r.Method != Degenerate {
			t.Errorf("%s of a constant: %+v, %v", test, r, err)
		}
	}
	infinite := NewReference([]float64{1, 2, 3}).Against([]float64{math.Inf(1), 2})
	if r, err := infinite.Test(KS, 0); err != nil || !(r.P > 0) {
		t.Errorf("KS with an infinite value: %+v, %v", r, err)
	}
	if e := infinite.Effect(); !math.IsNaN(e) {
		t.Errorf("the effect of an infinite value is %v", e)
	}
}

func second[T any](_ T, err error) error { return err }

func TestRank(t *testing.T) {
	columns := []Impact{{"a", 0.1, 2, 0}, {"b", 0.5, 1, 0}, {"c", 0.5, 1, -0.3}, {"d", 0, 9, 0}}
	Rank(columns)
	if got := columns[0].Column + columns[1].Column + columns[2].Column + columns[3].Column; got != "cbad" {
		t.Errorf("order %s", got)
	}
	plain := []Impact{{"a", 0, 1, 0}, {"b", 0, 2, 0}}
	if Rank(plain); plain[0].Column != "b" {
		t.Errorf("without importance: %+v", plain)
	}
}

// TestScoreShift has scores that are the column, so that the score shifts as it does.
func TestScoreShift(t *testing.T) {
	var ref, cur, scores []float64
	for i := range 1000 {
		ref = append(ref, float64(i%4))
		scores = append(scores, float64(i%4)/4)
		cur = append(cur, float64(i%2)+2)
	}
	if got, err := ScoreShift(ref, scores, cur); err != nil || !near(got, 0.625-0.375, 1e-9) {
		t.Errorf("shift %v, %v", got, err)
	}
}

// TestThin makes an autocorrelated stream: all rows of an entity are alike. Thinned, it
// keeps the level; as it is, it does not.
func TestThin(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 11))
	side := func() (values, thinned []float64) {
		var entities []int64
		var keys []uint64
		for e := range 100 {
			level := r.NormFloat64()
			for range 10 {
				values, entities, keys = append(values, level+0.1*r.NormFloat64()), append(entities, int64(e)), append(keys, r.Uint64())
			}
		}
		for _, i := range Thin(entities, keys) {
			thinned = append(thinned, values[i])
		}
		return values, thinned
	}
	asIs, thin := 0, 0
	for range 200 {
		a, ta := side()
		b, tb := side()
		if x, _ := NewReference(a).Against(b).Test(CvM, 0); x.P <= 0.05 {
			asIs++
		}
		if x, _ := NewReference(ta).Against(tb).Test(CvM, 0); x.P <= 0.05 {
			thin++
		}
	}
	if asIs < 60 || thin > 22 {
		t.Errorf("at the 5 %% level %d of 200 alarm as they are and %d thinned", asIs, thin)
	}
	if kept := Thin([]int64{1, -1, -1, 1}, []uint64{5, 1, 2, 3}); !slices.Equal(kept, []int{1, 2, 3}) {
		t.Errorf("kept %v", kept)
	}
}
