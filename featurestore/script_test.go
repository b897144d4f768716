// SPDX-License-Identifier: Apache-2.0

package featurestore_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/definition"
)

const (
	hour = time.Hour
	day  = 24 * time.Hour
	// knownAfter is that of the label.
	knownAfter = 2 * day
	// scriptBegin is when a script's clock starts, in microseconds.
	scriptBegin = int64(1_600_000_000_000_000)
)

// script is a small world: definitions drawn at random, and what happens to them.
type script struct {
	rng      *rand.Rand
	yaml     string
	catalog  *definition.Catalog
	views    []slowView
	features []scriptFeature // of the service, in order
	ttl      time.Duration
	ops      []op
}

// scriptFeature says what a value of the service is.
type scriptFeature struct {
	view, feature, k int // a view's value; view is -1 for others
	offset           int // of the value in the view's row
	other            string
	fallback         float64 // the service's default, NaN for none
}

// op is one thing that happens at a moment, in microseconds.
type op struct {
	clock    int64
	events   []slowEvent
	profiles []slowProfile
	// fresh events are whole and no repetition; nothing else of the gap refers to them.
	fresh bool
	// users and shops are asked for, if there are any.
	users []int64
	shops []string
}

const scriptHead = `
entities:
  user: {key: user_id, type: int64}
  shop: {key: shop_id, type: string}
sources:
  events:
    push: true
    id: event_id
    timestamp: at
    fields:
      event_id: string
      at: timestamp
      user_id: int64
      shop_id: string
      amount: float64
      channel: string
      label: {type: float64, late: true, known_after: 2d}
  profiles:
    push: true
    timestamp: at
    fields: {at: timestamp, user_id: int64, country: string, age: float64}
`

// newScript draws a world with a number of steps.
func newScript(t *testing.T, seed uint64, steps int) *script {
	t.Helper()
	s := &script{rng: rand.New(rand.NewPCG(seed, 4))}
	var b strings.Builder
	b.WriteString(scriptHead + "views:\n")
	for i := range 3 + s.rng.IntN(2) {
		s.drawView(&b, i)
	}
	s.ttl = []time.Duration{0, 3 * hour, day}[s.rng.IntN(3)]
	b.WriteString("lookups:\n  profile: {entity: user, source: profiles, fields: [country, age]")
	if s.ttl > 0 {
		fmt.Fprintf(&b, ", ttl: %s", definition.FormatDuration(s.ttl))
	}
	b.WriteString("}\nservices:\n  all:\n    entities: [user, shop]\n    request: {x: float64}\n    features:\n")
	s.drawService(&b)
	s.yaml = b.String()
	s.parse(t)
	s.draw(steps)
	return s
}

// parse makes a catalogue of its own, as each start of a process does.
func (s *script) parse(t *testing.T) *definition.Catalog {
	t.Helper()
	c, err := definition.Parse("script.yaml", []byte(s.yaml))
	if err != nil {
		t.Fatalf("%v\n%s", err, s.yaml)
	}
	s.catalog = c
	for i := range s.views {
		s.views[i].latenessMax = c.Views[i].Window.Definition().LatenessMax
	}
	return c
}

func choose[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

func (s *script) drawView(b *strings.Builder, i int) {
	rng := s.rng
	v := slowView{name: fmt.Sprintf("v%d", i), byUser: i != 1, byShop: i == 1 || i == 2, maxAge: choose(rng, 0, 0, 5*hour, 2*day)}
	if rng.IntN(2) == 0 {
		v.filter = choose(rng, "amount > 50", "not (channel == 'web')", "amount < 20 or channel in ['pos', 'atm']", "is_null(amount)")
	}
	var entities []string
	if v.byUser {
		entities = append(entities, "user")
	}
	if v.byShop {
		entities = append(entities, "shop")
	}
	fmt.Fprintf(b, "  %s:\n    entities: [%s]\n    source: events\n", v.name, strings.Join(entities, ", "))
	if v.filter != "" {
		fmt.Fprintf(b, "    filter: %q\n", v.filter)
	}
	if v.maxAge > 0 {
		fmt.Fprintf(b, "    max_age: %s\n", definition.FormatDuration(v.maxAge))
	}
	b.WriteString("    features:\n")
	for k := range 5 + rng.IntN(4) {
		f := s.drawFeature(k)
		f.write(b)
		if f.column == "label" && (v.lateShortest == 0 || f.delay < v.lateShortest) {
			v.lateShortest = f.delay
		}
		v.features = append(v.features, f)
	}
	s.views = append(s.views, v)
}

func (s *script) drawFeature(k int) slowFeature {
	rng := s.rng
	f := slowFeature{
		name: fmt.Sprintf("f%d", k), fallback: math.NaN(),
		window: choose(rng, hour, 6*hour, day, 3*day), hop: choose(rng, time.Microsecond, time.Second, 10*time.Minute, hour),
		delay:    choose(rng, 0, 0, 0, time.Minute, 5*hour),
		function: choose(rng, "count", "sum", "mean", "min", "max", "variance", "stddev", "first", "last", "last_k", "distinct", "quantile", "decayed_sum"),
		column:   choose(rng, "amount", "amount", "channel == 'web' ? 1 : 0", "amount * 2 - 7", "log(amount)", "hour(at) >= 12 ? amount : -1"),
	}
	switch f.function {
	case "count":
		f.column = choose(rng, f.column, "", "")
	case "distinct":
		f.column, f.exactMax = choose(rng, "shop_id", "amount"), 256
	case "last_k":
		f.k = 1 + rng.IntN(4)
	case "quantile":
		f.quantile = choose(rng, 0, 0.5, 0.9, 1)
	case "decayed_sum":
		f.halfLife = f.window / 4
	}
	if rng.IntN(3) == 0 {
		f.filter = choose(rng, "amount > 50", "channel == 'web'", "is_null(amount)")
	}
	if k == 0 || f.function != "distinct" && rng.IntN(4) == 0 { // on the label
		f.column, f.filter, f.delay = "label", "", choose(rng, knownAfter, knownAfter+hour)
	}
	switch f.function {
	case "count", "sum", "distinct", "decayed_sum":
		f.fallback = 0
	default:
		if rng.IntN(3) == 0 {
			f.fallback = float64(1 + rng.IntN(9))
		}
	}
	if f.function == "distinct" && f.column == "label" {
		f.column = "amount"
		f.delay = 0
	}
	return f
}

func (f *slowFeature) write(b *strings.Builder) {
	fmt.Fprintf(b, "      %s: {function: %s, window: %s, hop: %s, delay: %s", f.name, f.function,
		definition.FormatDuration(f.window), definition.FormatDuration(f.hop), definition.FormatDuration(f.delay))
	switch f.column {
	case "":
	case "amount", "label", "shop_id":
		fmt.Fprintf(b, ", field: %s", f.column)
	default:
		fmt.Fprintf(b, ", expression: %q", f.column)
	}
	if f.filter != "" {
		fmt.Fprintf(b, ", filter: %q", f.filter)
	}
	switch f.function {
	case "last_k":
		fmt.Fprintf(b, ", k: %d", f.k)
	case "distinct":
		fmt.Fprintf(b, ", exact_max: %d", f.exactMax)
	case "quantile":
		fmt.Fprintf(b, ", quantile: %v", f.quantile)
	case "decayed_sum":
		fmt.Fprintf(b, ", half_life: %s", definition.FormatDuration(f.halfLife))
	}
	if !math.IsNaN(f.fallback) && f.fallback != 0 {
		fmt.Fprintf(b, ", default: %v", f.fallback)
	}
	b.WriteString("}\n")
}

// drawService writes a service of everything there is.
func (s *script) drawService(b *strings.Builder) {
	nan := math.NaN()
	for i := range s.views {
		offset := 0
		for k := range s.views[i].features {
			f := &s.views[i].features[k]
			own := nan
			if f.k == 0 && s.rng.IntN(4) == 0 {
				own = float64(10 + s.rng.IntN(9))
				fmt.Fprintf(b, "      - {from: v%d.%s, default: %v}\n", i, f.name, own)
			} else {
				fmt.Fprintf(b, "      - v%d.%s\n", i, f.name)
			}
			for j := range max(1, f.k) {
				s.features = append(s.features, scriptFeature{view: i, feature: k, k: j, offset: offset, fallback: own})
				offset++
			}
		}
	}
	b.WriteString("      - profile.age\n      - {from: profile.country, default: nowhere}\n      - x\n")
	b.WriteString("      - {name: sum, expression: \"x + profile__age\", default: -5}\n")
	for _, other := range []string{"age", "country", "x", "sum"} {
		s.features = append(s.features, scriptFeature{view: -1, other: other, fallback: nan})
	}
}

// draw makes the steps.
func (s *script) draw(steps int) {
	rng, clock, past := s.rng, scriptBegin, []slowEvent(nil)
	next := 0
	for range steps {
		clock += choose(rng, 1, int64(rng.IntN(2000)), 1_000_000, rng.Int64N(60_000_000), rng.Int64N(10*hour.Microseconds()))
		switch n := rng.IntN(10); {
		case n < 5:
			o := op{clock: clock, fresh: true}
			for range 1 + rng.IntN(3) {
				e := s.drawEvent(next, clock)
				next++
				o.events = append(o.events, e)
			}
			past = append(past, o.events...)
			s.ops = append(s.ops, o)
		case n < 7 && len(past) > 0:
			s.ops = append(s.ops, op{clock: clock, events: []slowEvent{s.drawAgain(past, clock)}})
		case n < 8:
			p := slowProfile{id: fmt.Sprint("p", next), time: clock - choose(rng, 0, rng.Int64N(day.Microseconds())), user: int64(1 + rng.IntN(4)), country: choose(rng, "", "NL", "FI"), age: choose(rng, math.NaN(), float64(rng.IntN(90)))}
			next++
			s.ops = append(s.ops, op{clock: clock, profiles: []slowProfile{p}})
		default:
			o := op{clock: clock}
			for range 12 {
				o.users, o.shops = append(o.users, int64(1+rng.IntN(5))), append(o.shops, fmt.Sprint("s", rng.IntN(4)))
			}
			s.ops = append(s.ops, o)
		}
	}
}

// drawEvent makes a whole event.
func (s *script) drawEvent(number int, clock int64) slowEvent {
	rng := s.rng
	e := slowEvent{
		id: fmt.Sprint("e", number), time: clock, user: int64(rng.IntN(5)), shop: choose(rng, "", "s0", "s1", "s2"),
		amount: choose(rng, math.NaN(), 0, 19.99, float64(rng.IntN(200)), math.Round(rng.NormFloat64()*1e4)/1e3, -1e12), channel: choose(rng, "web", "pos", "atm", "fax"),
		label: math.NaN(),
	}
	switch rng.IntN(5) {
	case 0: // late
		e.time -= rng.Int64N(2 * day.Microseconds())
	case 1: // of a whole hour, where edges are
		e.time -= e.time % hour.Microseconds()
	}
	if rng.IntN(10) == 0 {
		e.label = float64(rng.IntN(2))
	}
	return e
}

// drawAgain makes an event that refers to one before it: the label that came to be
// known, the event again, the event again but different.
func (s *script) drawAgain(past []slowEvent, clock int64) slowEvent {
	rng := s.rng
	e := past[rng.IntN(len(past))]
	if rng.IntN(3) > 0 {
		e = past[len(past)-1-rng.IntN(min(len(past), 12))]
	}
	switch rng.IntN(6) {
	case 0: // the same
	case 1:
		e.amount, e.label = float64(rng.IntN(100)), choose(rng, math.NaN(), 1)
	case 2:
		e.user, e.channel = 1+int64(rng.IntN(4)), "pos"
	case 3: // the label of what is not there
		e.id = fmt.Sprint("never", rng.IntN(1000))
		fallthrough
	default:
		e.amount, e.channel, e.label = math.NaN(), "", float64(rng.IntN(3))
		if rng.IntN(5) == 0 {
			e.user = 0
		}
	}
	return e
}
