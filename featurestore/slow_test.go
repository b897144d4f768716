// SPDX-License-Identifier: Apache-2.0

package featurestore_test

import (
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/featurestore/window"
)

// slowEvent is an event as it was pushed; NaN and the empty text are null.
type slowEvent struct {
	id      string
	time    int64
	arrival int64
	user    int64 // 0 is null
	shop    string
	amount  float64
	channel string
	label   float64
	amends  bool // it has id, time, keys and label alone
}

// slowFeature is a feature as the generator of definitions made it.
type slowFeature struct {
	name, function, column string // column is one of slowColumns, empty for none
	filter                 string // one of slowFilters, empty for none
	window, hop, delay     time.Duration
	k, exactMax            int
	quantile               float64
	halfLife               time.Duration
	fallback               float64 // the default of the feature, NaN for null
}

// slowView is a view likewise.
type slowView struct {
	name         string
	byUser       bool
	byShop       bool
	filter       string
	maxAge       time.Duration
	latenessMax  time.Duration
	features     []slowFeature
	lateShortest time.Duration // shortest delay of a feature on the label
}

// slowFilters are filters by their text. A null is false.
var slowFilters = map[string]func(e *slowEvent) bool{
	"":                       func(*slowEvent) bool { return true },
	"amount > 50":            func(e *slowEvent) bool { return e.amount > 50 },
	"channel == 'web'":       func(e *slowEvent) bool { return e.channel == "web" },
	"not (channel == 'web')": func(e *slowEvent) bool { return e.channel != "" && e.channel != "web" },
	"amount < 20 or channel in ['pos', 'atm']": func(e *slowEvent) bool {
		return e.amount < 20 || e.channel == "pos" || e.channel == "atm"
	},
	"is_null(amount)": func(e *slowEvent) bool { return math.IsNaN(e.amount) },
}

// slowColumns are what is aggregated, by field or expression.
var slowColumns = map[string]func(e *slowEvent) float64{
	"amount":                       func(e *slowEvent) float64 { return e.amount },
	"label":                        func(e *slowEvent) float64 { return e.label },
	"channel == 'web' ? 1 : 0":     func(e *slowEvent) float64 { return truth(e.channel == "web") },
	"amount * 2 - 7":               func(e *slowEvent) float64 { return e.amount*2 - 7 },
	"log(amount)":                  func(e *slowEvent) float64 { return finite(math.Log(e.amount)) },
	"hour(at) >= 12 ? amount : -1": func(e *slowEvent) float64 { return pick(time.UnixMicro(e.time).UTC().Hour() >= 12, e.amount, -1) },
}

func truth(b bool) float64 { return pick(b, 1, 0) }

func pick(b bool, x, y float64) float64 {
	if b {
		return x
	}
	return y
}

func finite(x float64) float64 {
	if math.IsInf(x, 0) {
		return math.NaN()
	}
	return x
}

// slow keeps everything that was pushed, and goes through all that an entity has for each
// query.
type slow struct {
	byUser map[int64][]slowEvent
	byShop map[string][]slowEvent
}

func (s *slow) add(e slowEvent) {
	if s.byUser == nil {
		s.byUser, s.byShop = map[int64][]slowEvent{}, map[string][]slowEvent{}
	}
	s.byUser[e.user] = append(s.byUser[e.user], e)
	s.byShop[e.shop] = append(s.byShop[e.shop], e)
}

// value computes all values of a view for an entity at a moment, which is now.
func (s *slow) view(v *slowView, user int64, shop string, at int64) (values []float64, status []window.Status) {
	events := s.known(v, user, shop, at)
	newest := int64(math.MinInt64)
	for _, e := range events {
		newest = max(newest, e.time)
	}
	for i := range v.features {
		f := &v.features[i]
		got := f.compute(events, at)
		for k := range max(1, f.k) {
			x, st := f.fallback, window.Null
			if k < len(got) {
				x, st = got[k], window.Present
			}
			switch {
			case len(events) == 0:
				x, st = f.fallback, window.NotFound
			case v.maxAge > 0 && at-newest > v.maxAge.Microseconds():
				st = window.OutsideMaxAge
			}
			values, status = append(values, x), append(status, st)
		}
	}
	return values, status
}

// known are the entity's events that had arrived, the first of each time and id, with
// the labels that came in time; by time, then id.
func (s *slow) known(v *slowView, user int64, shop string, at int64) (known []slowEvent) {
	events := s.byUser[user]
	if !v.byUser {
		events = s.byShop[shop]
	}
	for _, e := range events {
		if e.arrival > at || v.byShop && e.shop != shop {
			continue
		}
		there := slices.IndexFunc(known, func(o slowEvent) bool { return o.time == e.time && o.id == e.id })
		switch {
		case e.amends || there >= 0:
			if there >= 0 && !math.IsNaN(e.label) && e.arrival <= e.time+v.lateShortest.Microseconds() && (e.amends || slowFilters[v.filter](&e)) {
				known[there].label = e.label
			}
		case slowFilters[v.filter](&e) && e.arrival-e.time <= v.latenessMax.Microseconds() && e.time <= at:
			known = append(known, e)
		}
	}
	slices.SortFunc(known, func(a, b slowEvent) int {
		if a.time < b.time || a.time == b.time && window.KeyOf(a.id) < window.KeyOf(b.id) {
			return -1
		}
		return 1
	})
	return known
}

// compute returns the feature's values; what is missing is null.
func (f *slowFeature) compute(events []slowEvent, at int64) []float64 {
	edge := at - f.delay.Microseconds()
	tail, hop := edge-f.window.Microseconds(), f.hop.Microseconds()
	tail -= (tail%hop + hop) % hop
	var values []float64
	var times []int64
	shops := map[string]bool{}
	for i := range events {
		e := &events[i]
		if e.time <= tail || e.time > edge || !slowFilters[f.filter](e) {
			continue
		}
		if e.shop != "" {
			shops[e.shop] = true
		}
		x := 0.0
		if c := slowColumns[f.column]; c != nil {
			x = c(e)
		}
		if !math.IsNaN(x) {
			values, times = append(values, x), append(times, e.time)
		}
	}
	if f.column == "shop_id" {
		return []float64{float64(len(shops))}
	}
	return f.aggregate(values, times, edge)
}

func (f *slowFeature) aggregate(values []float64, times []int64, edge int64) []float64 {
	n := float64(len(values))
	switch f.function {
	case "count":
		return []float64{n}
	case "sum":
		return []float64{slowSum(values)}
	case "distinct":
		slices.Sort(values)
		return []float64{float64(len(slices.Compact(values)))}
	case "decayed_sum":
		for i := range values {
			values[i] *= math.Exp2(-float64(edge-times[i]) / float64(f.halfLife.Microseconds()))
		}
		return []float64{slowSum(values)}
	}
	if len(values) == 0 {
		return nil
	}
	switch f.function {
	case "mean":
		return []float64{slowSum(values) / n}
	case "variance":
		return []float64{slowVariance(values)}
	case "stddev":
		return []float64{math.Sqrt(slowVariance(values))}
	case "min":
		return []float64{slices.Min(values)}
	case "max":
		return []float64{slices.Max(values)}
	case "first":
		return values[:1]
	case "last":
		return values[len(values)-1:]
	case "last_k":
		slices.Reverse(values)
		return values[:min(f.k, len(values))]
	case "quantile":
		slices.Sort(values)
		return []float64{values[max(1, int(math.Ceil(f.quantile*n)))-1]}
	}
	panic("no function " + f.function)
}

// slowSum rounds once: 2,000 bits hold every sum of values here.
func slowSum(values []float64) float64 {
	sum := new(big.Float).SetPrec(2000)
	for _, x := range values {
		sum.Add(sum, big.NewFloat(x))
	}
	x, _ := sum.Float64()
	return x
}

func slowVariance(values []float64) float64 {
	mean, sum := slowSum(values)/float64(len(values)), 0.0
	for _, x := range values {
		sum += (x - mean) * (x - mean)
	}
	return sum / float64(len(values))
}

// agrees compares a value with the slow one, as closely as the function promises.
func (f *slowFeature) agrees(got, want float64) bool {
	switch f.function {
	case "variance", "stddev", "decayed_sum":
		return math.Abs(got-want) <= 1e-9*max(1, math.Abs(want)) || math.IsNaN(got) && math.IsNaN(want)
	case "quantile":
		return math.Abs(got-want) <= 0.0081*math.Abs(want) || math.IsNaN(got) && math.IsNaN(want)
	}
	return got == want || math.IsNaN(got) && math.IsNaN(want)
}

// slowProfile is an event of the looked-up source.
type slowProfile struct {
	id            string
	time, arrival int64
	user          int64
	country       string  // empty is null
	age           float64 // NaN is null
}

// newestProfile is the newest of a user by a moment, nil for none.
func newestProfile(all []slowProfile, user, at int64) (best *slowProfile) {
	for i := range all {
		p := &all[i]
		if p.user != user || p.arrival > at || p.time > at {
			continue
		}
		if best == nil || p.time > best.time || p.time == best.time &&
			(p.arrival > best.arrival || p.arrival == best.arrival && window.KeyOf(p.id) > window.KeyOf(best.id)) {
			best = p
		}
	}
	return best
}
