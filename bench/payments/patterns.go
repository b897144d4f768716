// SPDX-License-Identifier: Apache-2.0

package payments

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Pattern is a way of defrauding that begins on some day. A model that learnt from days
// before does not know it: by all it has seen, such payments are good ones.
type Pattern uint8

const (
	// Testing tries stolen cards: at night many cards pay next to nothing at a terminal
	// that was clean until then.
	Testing Pattern = iota + 1
	// Dormant takes cards that are seldom used, and pays with them several times within two
	// hours of an afternoon, about as much as their owners do.
	Dormant
	// Vouchers buys what can be sold again: late in the evening, for 40 to 100, with cards
	// that are not looked at until morning.
	Vouchers
)

var patternNames = [...]string{Testing: "testing", Dormant: "dormant", Vouchers: "vouchers"}

// String is the name of the pattern.
func (p Pattern) String() string {
	if p == 0 || int(p) >= len(patternNames) {
		return fmt.Sprintf("Pattern(%d)", uint8(p))
	}
	return patternNames[p]
}

// Change is a day, counted from 0, from which on there is another pattern. What there was
// before fades to a share of what it was, at each change: the first three kinds to
// KindsLeft, patterns to PatternsLeft.
type Change struct {
	Day     int
	Pattern Pattern
}

// How a world changes.
const (
	// ChangesMax bounds Options.Changes.
	ChangesMax = 1000
	// KindsLeft and PatternsLeft are shares that are left at a change of what there was.
	KindsLeft    = 0.6
	PatternsLeft = 0.35
	// patternPerDay is how many frauds of a pattern there are in a day for each customer.
	patternPerDay = 1.0 / 50
	// burst is how many payments belong together, at least, and how many more at most.
	burst, burstMore = 3, 5
	// patternStream keeps the draws of patterns apart from those of all else in a day.
	patternStream = 0x70617474
	// scenarioPatterns is that of the first pattern.
	scenarioPatterns = 4
	// dormantPerDay is below how many payments a day a card is seldom used.
	dormantPerDay = 0.8
)

// Recurring are changes from a day on, every so many days until the end, through all
// patterns again and again.
func Recurring(first, every, days int) []Change {
	var all []Change
	for day := first; day < days && every > 0 && len(all) < ChangesMax; day += every {
		all = append(all, Change{Day: day, Pattern: Testing + Pattern(len(all)%(len(patternNames)-1))})
	}
	return all
}

// validateChanges says what is wrong with them.
func validateChanges(changes []Change) (all []error) {
	if len(changes) > ChangesMax {
		return []error{fmt.Errorf("there are %d changes: give at most %d", len(changes), ChangesMax)}
	}
	for i, c := range changes {
		if c.Pattern == 0 || int(c.Pattern) >= len(patternNames) {
			all = append(all, fmt.Errorf("changes[%d]: there is no pattern %d", i, c.Pattern))
		}
		if c.Day < 0 || i > 0 && c.Day <= changes[i-1].Day {
			all = append(all, fmt.Errorf("changes[%d]: day %d is not after the one before", i, c.Day))
		}
	}
	return all
}

// kindsLeft is what share is left of the first three kinds today.
func (w *World) kindsLeft() float64 {
	left := 1.0
	for _, c := range w.options.Changes {
		if c.Day > w.day {
			break
		}
		left = max(left*KindsLeft, 0.2) // some of it goes on for good
	}
	return left
}

// defraudByPatterns adds the frauds of the patterns there are today. Their draws are their
// own.
func (w *World) defraudByPatterns() {
	changes := w.options.Changes
	if len(changes) == 0 || changes[0].Day > w.day {
		return
	}
	strength := map[Pattern]float64{}
	for _, c := range changes {
		if c.Day > w.day {
			break
		}
		for p := range strength {
			strength[p] *= PatternsLeft
		}
		strength[c.Pattern] = 1
	}
	r := rand.New(rand.NewPCG(w.options.Seed^patternStream, uint64(w.day)+1))
	for p := Testing; int(p) < len(patternNames); p++ {
		bursts := patternPerDay * float64(len(w.customers)) * strength[p] / (burst + burstMore/2.0)
		for range poissonOf(r, bursts) {
			w.burst(r, p)
		}
	}
}

// burst adds payments that belong together.
func (w *World) burst(r *rand.Rand, p Pattern) {
	date := w.options.Start.AddDate(0, 0, w.day)
	payments := burst + r.IntN(burstMore+1)
	who, where := r.IntN(len(w.customers)), int64(r.IntN(len(w.terminals)))
	hour := 0.0
	switch p {
	case Testing:
		hour = 5 * r.Float64()
	case Dormant:
		who, hour = w.dormant(r), 11+6*r.Float64()
	case Vouchers:
		hour = 21 + r.Float64()
	}
	for range payments {
		at := hour + 1.9*r.Float64()
		if p != Dormant {
			who = r.IntN(len(w.customers))
		} else {
			where = int64(r.IntN(len(w.terminals)))
		}
		one := Payment{
			At:       date.Add(time.Duration(min(at, 23.999)*3600) * time.Second),
			Customer: int64(who), Terminal: where, Fraud: true, Scenario: scenarioPatterns - 1 + int64(p),
		}
		one.Amount = max(0.01, math.Round(100*w.amountOf(r, p, &w.customers[who]))/100)
		w.payments = append(w.payments, one)
	}
}

func (w *World) amountOf(r *rand.Rand, p Pattern, c *customer) float64 {
	switch p {
	case Testing:
		return 0.4 + 2*r.Float64()
	case Dormant:
		return math.Exp(c.amount+c.spread*c.spread/2) * (0.7 + 0.8*r.Float64())
	}
	return 40 + 60*r.Float64()
}

// dormant draws a customer who seldom pays, of a bounded number of draws the one who pays
// least.
func (w *World) dormant(r *rand.Rand) int {
	best := r.IntN(len(w.customers))
	for range 20 {
		if w.customers[best].perDay < dormantPerDay {
			break
		}
		if i := r.IntN(len(w.customers)); w.customers[i].perDay < w.customers[best].perDay {
			best = i
		}
	}
	return best
}
