// SPDX-License-Identifier: Apache-2.0

package payments

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Payment is one card payment.
type Payment struct {
	// ID counts from 1, At is in whole seconds.
	ID int64
	At time.Time
	// Customer and Terminal count from 0.
	Customer, Terminal int64
	// Amount is positive, in whole cents.
	Amount float64
	Fraud  bool
	// Scenario is the kind of fraud, 0 for none, and 3 more than a Pattern. It explains the label and is never a feature.
	Scenario int64
}

// World makes payments day by day.
type World struct {
	options   Options
	customers []customer
	terminals []terminal
	day       int
	next      int64 // id
	payments  []Payment
	random    *rand.Rand // of the day
	left      float64    // share of the first three kinds that is left today
}

// customer is a holder of a card and its habits.
type customer struct {
	near []int32 // terminals, nearest first
	// perDay is the mean number of payments on a weekday, weekend the share of it on
	// Saturdays and Sundays.
	perDay, weekend float64
	// amount is the mean of the logarithm, spread its deviation.
	amount, spread float64
	// hour is around which payments happen, width how far from it, in hours.
	hour, width float64
	// stolenUntil is the day from which on the card is the customer's alone again.
	stolenUntil int
}

// terminal is where cards are used.
type terminal struct {
	x, y       float64
	brokenTill int
	rate       float64 // share of frauds while it is compromised
}

// What happens in a day, per terminal, customer and payment, at the start of a world.
const (
	terminalsBroken = 2.0 / 10_000
	customersStolen = 3.0 / 5_000
	highAmounts     = 1.0 / 1_800
	brokenDaysMax   = 28
	stolenDaysMax   = 14
	stolenShare     = 1.0 / 3
	nearMax         = 24
	cells           = 32 // of the map, each way
	mapSide         = 100.0
)

// NewWorld draws customers and terminals.
func NewWorld(o Options) (*World, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	w := &World{options: o, next: 1}
	r := rand.New(rand.NewPCG(o.Seed, 0))
	w.terminals = make([]terminal, o.Terminals)
	for i := range w.terminals {
		w.terminals[i] = terminal{x: mapSide * r.Float64(), y: mapSide * r.Float64()}
	}
	places := newPlaces(w.terminals)
	w.customers = make([]customer, o.Customers)
	for i := range w.customers {
		w.customers[i] = w.newCustomer(r, places)
	}
	return w, nil
}

func (w *World) newCustomer(r *rand.Rand, places *places) customer {
	mean := 5 + 95*r.Float64()
	spread := 0.3 + 0.25*r.Float64()
	return customer{
		near:    places.nearest(mapSide*r.Float64(), mapSide*r.Float64(), 4+r.IntN(nearMax-3)),
		perDay:  4 * r.Float64(),
		weekend: 0.6 + 0.6*r.Float64(),
		amount:  math.Log(mean) - spread*spread/2,
		spread:  spread,
		hour:    9 + 9*r.Float64(),
		width:   2 + 3*r.Float64(),
	}
}

// shift goes from 0 at the start towards 1: how far fraud has adapted.
func shift(day int) float64 { return 1 - math.Exp(-float64(day)/180) }

// NextDay returns the payments of the next day in the order of time, nil after the last
// day. They are good until the next call. A day may have none: then the slice is empty.
func (w *World) NextDay() []Payment {
	if w.day == w.options.Days {
		return nil
	}
	// A generator for each day: what a day has does not depend on how others were drawn.
	w.random = rand.New(rand.NewPCG(w.options.Seed, uint64(w.day)+1))
	if w.payments = w.payments[:0]; w.payments == nil {
		w.payments = []Payment{}
	}
	w.left = w.kindsLeft()
	w.breakAndSteal()
	for i := range w.customers {
		w.spend(i)
	}
	w.defraudByPatterns()
	slices.SortStableFunc(w.payments, func(a, b Payment) int { return a.At.Compare(b.At) })
	for i := range w.payments {
		w.payments[i].ID = w.next
		w.next++
	}
	w.day++
	return w.payments
}

// breakAndSteal compromises terminals and customers from today on.
func (w *World) breakAndSteal() {
	r, s, left := w.random, shift(w.day), w.left
	for range w.poisson(terminalsBroken * (1 - 0.6*s) * left * float64(len(w.terminals))) {
		t := &w.terminals[r.IntN(len(w.terminals))]
		t.brokenTill = max(t.brokenTill, w.day+brokenDaysMax/2+r.IntN(brokenDaysMax/2)+1)
		t.rate = 0.8 + 0.2*r.Float64()
	}
	for range w.poisson(customersStolen * (1 + s) * left * float64(len(w.customers))) {
		c := &w.customers[r.IntN(len(w.customers))]
		c.stolenUntil = max(c.stolenUntil, w.day+stolenDaysMax/2+r.IntN(stolenDaysMax/2)+1)
	}
}

// spend adds a customer's payments of the day.
func (w *World) spend(i int) {
	c, r := &w.customers[i], w.random
	date := w.options.Start.AddDate(0, 0, w.day)
	mean := c.perDay
	if d := date.Weekday(); d == time.Saturday || d == time.Sunday {
		mean *= c.weekend
	}
	for range w.poisson(mean) {
		hour := c.hour + c.width*r.NormFloat64()
		if r.IntN(12) == 0 {
			hour = 24 * r.Float64() // now and then at any hour
		}
		second := int(math.Mod(hour+48, 24) * 3600)
		p := Payment{
			At:       date.Add(time.Duration(second) * time.Second),
			Customer: int64(i),
			Terminal: int64(c.near[w.nearness(len(c.near))]),
			Amount:   math.Exp(c.amount + c.spread*r.NormFloat64()),
		}
		w.defraud(c, &p)
		p.Amount = max(0.01, math.Round(100*p.Amount)/100)
		w.payments = append(w.payments, p)
	}
}

// defraud turns a payment into a fraud, if it is its turn.
func (w *World) defraud(c *customer, p *Payment) {
	r, s := w.random, shift(w.day)
	t := &w.terminals[p.Terminal]
	switch {
	case t.brokenTill > w.day && r.Float64() < t.rate:
		p.Scenario = 2
	case c.stolenUntil > w.day && r.Float64() < stolenShare:
		p.Scenario = 3
		p.Amount *= 5 - 2.2*s + r.Float64()
	case r.Float64() < highAmounts*(1+s)*w.left:
		p.Scenario = 1
		p.Amount = 220 + (200-120*s)*r.ExpFloat64()
	}
	p.Fraud = p.Scenario != 0
}

// nearness draws a place in a list of terminals: near ones more often.
func (w *World) nearness(n int) int {
	u := w.random.Float64()
	return min(int(u*u*float64(n)), n-1)
}

// poisson draws a count. Above 30 it is a rounded normal one.
func (w *World) poisson(mean float64) int { return poissonOf(w.random, mean) }

func poissonOf(r *rand.Rand, mean float64) int {
	if mean > 30 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	limit, product, n := math.Exp(-mean), 1.0, -1
	for product >= limit {
		product *= r.Float64()
		n++
	}
	return n
}

// places finds terminals near a point.
type places struct {
	terminals []terminal
	cells     [cells * cells][]int32
}

func newPlaces(terminals []terminal) *places {
	p := &places{terminals: terminals}
	for i, t := range terminals {
		c := cell(t.y)*cells + cell(t.x)
		p.cells[c] = append(p.cells[c], int32(i))
	}
	return p
}

func cell(at float64) int { return min(int(at/mapSide*cells), cells-1) }

// nearest returns up to n terminals near a point, at least one, nearest first: those of
// the smallest square of cells around it that has enough.
func (p *places) nearest(x, y float64, n int) []int32 {
	var found []int32
	for reach := 1; len(found) < min(n, len(p.terminals)); reach++ {
		found = found[:0]
		for cy := max(0, cell(y)-reach); cy <= min(cells-1, cell(y)+reach); cy++ {
			for cx := max(0, cell(x)-reach); cx <= min(cells-1, cell(x)+reach); cx++ {
				found = append(found, p.cells[cy*cells+cx]...)
			}
		}
	}
	distance := func(i int32) float64 {
		return math.Hypot(p.terminals[i].x-x, p.terminals[i].y-y)
	}
	slices.SortFunc(found, func(a, b int32) int { return cmp.Or(cmp.Compare(distance(a), distance(b)), cmp.Compare(a, b)) })
	return slices.Clone(found[:min(n, len(found))])
}
