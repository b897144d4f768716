// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

// reference computes training sets of the world the obvious way: for every row it goes
// over all events.
type reference struct {
	world     *world
	asOf      int64
	hindsight bool
}

const delay = 6 * hour

// known is when the fraud that a record tells of became known.
func (p *payment) known() int64 {
	if p.sequence > 0 {
		return p.arrival
	}
	return max(p.arrival, p.at+delay)
}

// events are the payments that count: of those with one id and time the first to arrive,
// with the last fraud that became known in time. Those that came too late for a view, or
// are from the future, are no events for it.
func (r *reference) events(latenessMax int64) (all []payment) {
	var seen []payment
	for _, p := range r.world.payments {
		if p.arrival > r.asOf {
			continue
		}
		if p.known() > r.asOf && p.sequence == 0 {
			if p.amends {
				continue
			}
			p.fraud = math.NaN()
		}
		i := slices.IndexFunc(seen, func(o payment) bool { return o.id == p.id && o.at == p.at })
		switch {
		case i < 0 && !p.amends && p.arrival-p.at <= latenessMax:
			seen = append(seen, p)
		case i >= 0 && !math.IsNaN(p.fraud) && p.arrival <= p.at+delay:
			seen[i].fraud = p.fraud
		}
	}
	return seen
}

// labelled are the rows: each event once, with the last fraud known by as-of.
func (r *reference) labelled() (rows []payment, unlabelled int) {
	last := map[[2]int64]payment{}
	for _, p := range r.world.payments {
		key := [2]int64{p.id, p.at}
		if o, there := last[key]; !math.IsNaN(p.fraud) && p.arrival <= r.asOf && p.known() <= r.asOf && (!there || p.known() >= o.known()) {
			last[key] = p
		}
	}
	var done []payment
	for _, p := range r.world.payments {
		if p.amends || p.arrival > r.asOf || slices.ContainsFunc(done, func(o payment) bool { return o.id == p.id && o.at == p.at }) {
			continue
		}
		done = append(done, p)
		if p.customer == "" || p.shop == "" {
			continue
		}
		l, there := last[[2]int64{p.id, p.at}]
		if !there {
			unlabelled++
			continue
		}
		p.fraud = l.fraud
		rows = append(rows, p)
	}
	return rows, unlabelled
}

// window returns the events of (floor(t-delay-length), t-delay] that a row at t may see,
// newest first.
func (r *reference) window(events []payment, t, delay, length, hop int64, which func(*payment) bool) (in []payment) {
	edge := t - delay
	tail := (edge - length) / hop * hop
	for _, p := range events {
		if p.at > tail && p.at <= edge && (r.hindsight || p.arrival <= t) && which(&p) {
			in = append(in, p)
		}
	}
	slices.SortFunc(in, func(a, b payment) int {
		return cmp.Or(cmp.Compare(b.at, a.at), cmp.Compare(hashed(b.id), hashed(a.id)))
	})
	return in
}

func (r *reference) row(p *payment) row {
	t := p.at
	all := r.events(12*hour + second)
	mine := func(o *payment) bool { return o.customer == p.customer }
	web := func(o *payment) bool { return mine(o) && o.channel == "web" }
	there := func(o *payment) bool { return o.shop == p.shop }
	f := map[string]float64{"amount": p.amount, "hour": float64(time.UnixMicro(t).UTC().Hour())}

	hour1, hour12 := r.window(all, t, 0, hour, second, mine), r.window(all, t, 0, 12*hour, second, mine)
	f["count_1h"], f["count_12h"] = float64(len(hour1)), float64(len(hour12))
	amounts := func(in []payment) (all []float64) {
		for _, o := range in {
			if !math.IsNaN(o.amount) {
				all = append(all, o.amount)
			}
		}
		return all
	}
	f["total_12h"] = 0
	for _, x := range amounts(hour12) {
		f["total_12h"] += x
	}
	f["largest_1h"] = math.NaN()
	if x := amounts(hour1); len(x) > 0 {
		f["largest_1h"] = slices.Max(x)
	}
	recent := append(amounts(hour12), math.NaN(), math.NaN())
	f["last_0"], f["last_1"] = recent[0], recent[1]

	shops := map[string]bool{}
	f["web_big"], f["web_doubled"] = 0, 0
	for _, o := range r.window(all, t, 0, 12*hour, second, web) {
		if o.amount > 50 {
			f["web_big"]++
		}
		if o.shop != "" {
			shops[o.shop] = true
		}
	}
	f["web_shops"] = float64(len(shops))
	for _, x := range amounts(r.window(all, t, 0, hour, second, web)) {
		f["web_doubled"] += 2 * x
	}

	risky := r.events(2*24*hour + delay + second)
	f["risk_12h"] = risk(r.window(risky, t, delay, 12*hour, second, there))
	days := r.window(risky, t, delay, 48*hour, second, there)
	f["risk_2d"], f["shop_count_2d"] = risk(days), float64(len(days))
	pair := func(o *payment) bool { return mine(o) && there(o) }
	f["pair_count"] = float64(len(r.window(r.events(24*hour+minute), t, 0, 24*hour, minute, pair)))

	out := row{id: p.id, at: t, customer: p.customer, shop: p.shop, features: f, fraud: p.fraud, weight: 1}
	r.lookups(&out)
	f["share"] = f["amount"] / f["limit"]
	return out
}

func risk(in []payment) float64 {
	n, frauds := 0.0, 0.0
	for _, o := range in {
		if !math.IsNaN(o.fraud) {
			n++
			frauds += o.fraud
		}
	}
	if n == 0 {
		return 0
	}
	return frauds / n
}

func (r *reference) lookups(out *row) {
	var best *profile
	for i := range r.world.profiles {
		q := &r.world.profiles[i]
		if cell(float64(q.customer)) != out.customer || q.at > out.at || q.arrival > r.asOf || !r.hindsight && q.arrival > out.at {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(q.at, best.at), cmp.Compare(q.arrival, best.arrival), cmp.Compare(hashedText(q.change), hashedText(best.change))) > 0 {
			best = q
		}
	}
	out.features["age"] = -1
	if best != nil {
		out.country = best.country
		if out.at-best.at <= 24*hour && !math.IsNaN(best.age) {
			out.features["age"] = best.age
		}
	}
	newest := int64(0)
	out.features["limit"] = math.NaN()
	for i, l := range r.world.limits {
		// Of rows of one moment, without ids, the one whose place in the file has the larger hash.
		if l.shop == out.shop && l.at <= out.at && (l.at > newest || l.at == newest && hashedRow(i) > hashedRow(r.limitAt(out, newest))) {
			newest, out.features["limit"] = l.at, l.limit
		}
	}
}

// limitAt is the place of the limit that was found.
func (r *reference) limitAt(out *row, at int64) int {
	return slices.IndexFunc(r.world.limits, func(l limit) bool {
		return l.shop == out.shop && l.at == at && l.limit == out.features["limit"]
	})
}

// rows computes the training set, by id.
func (r *reference) rows() (all []row, unlabelled int) {
	labelled, unlabelled := r.labelled()
	for i := range labelled {
		all = append(all, r.row(&labelled[i]))
	}
	return all, unlabelled
}

// differences of two rows, but for the last bits of sums.
func differences(a, b *row) (names []string) {
	if a.id != b.id || a.at != b.at || a.customer != b.customer || a.shop != b.shop || a.country != b.country || a.fraud != b.fraud || a.weight != b.weight {
		names = append(names, "row")
	}
	for _, name := range slices.Sorted(maps.Keys(b.features)) {
		x, there := a.features[name]
		y := b.features[name]
		if !there || math.IsNaN(x) != math.IsNaN(y) || math.Abs(x-y) > 1e-9*max(1, math.Abs(y)) {
			names = append(names, name)
		}
	}
	return names
}
