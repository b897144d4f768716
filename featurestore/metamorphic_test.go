// SPDX-License-Identifier: Apache-2.0

package featurestore_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/online"
)

// variation is another way to live through the same script, with the same answers.
type variation struct {
	name string
	// slow ones are left out under the race detector, with which Pebble checks itself.
	slow bool
	// options changes how the store is kept.
	options func(o *online.Options)
	// between is called before an operation.
	between func(p *player, rng *rand.Rand, o *op)
	// order changes the order of the operations between two reads.
	order func(rng *rand.Rand, gap []op)
	// after looks at the store at the end.
	after func(t *testing.T, s featurestore.Stats)
}

var variations = []variation{
	{name: "one shard", options: func(o *online.Options) { o.Shards = 1 }},
	{name: "16 shards", options: func(o *online.Options) { o.Shards = 16 }},
	{name: "1024 shards", options: func(o *online.Options) { o.Shards = 1024 }},
	{name: "restarts", between: sometimes(40, func(p *player, _ *op) { p.close(); p.open() })},
	{name: "crashes", between: sometimes(40, func(p *player, _ *op) { p.crash() })},
	{name: "checkpoints", between: sometimes(8, func(p *player, _ *op) { p.checkpoint() })},
	{name: "crashes, checkpoints and compactions", between: func(p *player, rng *rand.Rand, o *op) {
		sometimes(40, func(p *player, _ *op) { p.crash() })(p, rng, o)
		sometimes(10, func(p *player, _ *op) { p.checkpoint() })(p, rng, o)
		sometimes(80, func(p *player, _ *op) { p.compact() })(p, rng, o)
	}},
	{name: "other shards at each start", between: sometimes(60, func(p *player, o *op) {
		p.close()
		p.online.Shards = 1 << (o.clock % 10)
		p.open()
	})},
	{name: "states lost", between: sometimes(100, func(p *player, _ *op) { p.loseStates() })},
	{name: "little memory", slow: true, options: func(o *online.Options) { o.MemoryBytesMax, o.Shards = online.MemoryBytesMin, 2 },
		between: sometimes(25, func(p *player, o *op) { p.noise(o.clock) }),
		after: func(t *testing.T, s featurestore.Stats) {
			if s.Online.Evicted == 0 || s.Online.Loads == 0 {
				t.Errorf("%d entities evicted, %d loaded; the bound on memory was not felt", s.Online.Evicted, s.Online.Loads)
			}
		}},
	{name: "everything twice", between: sometimes(1, func(p *player, o *op) {
		if len(o.users) == 0 {
			p.play(o)
		}
	})},
	{name: "repeated later", between: func(p *player, rng *rand.Rand, o *op) {
		if n := len(p.played); n > 0 && len(p.played[n-1].profiles) == 0 {
			p.again(p.played[n-1-rng.IntN(min(n, 20))], o.clock)
		}
	}},
	{name: "another order of arrival", order: shuffleFresh},
	{name: "steps of the clock", between: sometimes(3, func(p *player, o *op) {
		p.clock.Store(o.clock + int64(time.Hour/time.Microsecond))
		p.store.Stats()
		p.clock.Store(o.clock - int64(time.Hour/time.Microsecond))
		p.readAt(o.clock)
	})},
}

// sometimes does something before one of so many operations.
func sometimes(of int, do func(p *player, o *op)) func(*player, *rand.Rand, *op) {
	return func(p *player, rng *rand.Rand, o *op) {
		if rng.IntN(of) == 0 {
			do(p, o)
		}
	}
}

func (p *player) checkpoint() {
	p.t.Helper()
	if err := p.store.Checkpoint(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
}

func (p *player) compact() {
	p.t.Helper()
	if err := p.store.Log().Compact(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
}

// noise pushes an event for each of many other users.
func (p *player) noise(clock int64) {
	p.t.Helper()
	p.clock.Store(clock)
	events := make([]slowEvent, 1500)
	for part := range 4 {
		for i := range events {
			events[i] = slowEvent{id: fmt.Sprint("noise", i, clock), time: clock, user: int64(1000 + part*len(events) + i), amount: float64(i), channel: "pos", label: math.NaN()}
		}
		p.checkpoint() // what is not stored cannot be evicted
		p.push("events", eventsOf(events))
	}
}

// again pushes events that were pushed before as they were, where that changes nothing:
// not if there is another version of one of them.
func (p *player) again(o *op, clock int64) {
	p.clock.Store(clock)
	if !o.fresh {
		return
	}
	events := slices.Clone(o.events)
	for i := range events {
		events[i].label = math.NaN() // it may have been amended since
	}
	p.push("events", eventsOf(events))
}

// readAt reads at a moment that is not the clock's, for its side effects.
func (p *player) readAt(clock int64) {
	kept := len(p.answers)
	p.read(&op{clock: clock, users: []int64{1}, shops: []string{"s1"}})
	p.answers = p.answers[:kept]
}

// shuffleFresh changes the order of whole events among themselves. Those come last that
// nothing else of the gap can refer to.
func shuffleFresh(rng *rand.Rand, gap []op) {
	var fresh []int
	for i := range gap {
		if gap[i].fresh {
			fresh = append(fresh, i)
		} else if len(gap[i].events) > 0 {
			fresh = fresh[:0] // what refers to an event comes behind it
		}
	}
	rng.Shuffle(len(fresh), func(i, j int) {
		a, b := &gap[fresh[i]], &gap[fresh[j]]
		a.events, b.events = b.events, a.events
	})
	for _, i := range fresh {
		events := gap[i].events
		rng.Shuffle(len(events), func(a, b int) { events[a], events[b] = events[b], events[a] })
		for _, e := range events {
			gap[i].clock = max(gap[i].clock, e.time)
		}
	}
	for i := 1; i < len(gap); i++ {
		gap[i].clock = max(gap[i].clock, gap[i-1].clock)
	}
}

// run lives through the script in another way.
func (v *variation) run(t *testing.T, seed uint64, steps int) []answer {
	t.Helper()
	p := newPlayer(t, newScript(t, seed, steps))
	if v.options != nil {
		v.options(&p.online)
	}
	p.open()
	rng := rand.New(rand.NewPCG(seed, 5))
	ops := p.script.ops
	for i, gap := 0, 0; v.order != nil && i < len(ops); i++ {
		if len(ops[i].users) > 0 {
			v.order(rng, ops[gap:i])
			gap = i + 1
		}
	}
	for i := range ops {
		if v.between != nil {
			v.between(p, rng, &ops[i])
		}
		p.play(&ops[i])
		if len(ops[i].users) == 0 {
			p.played = append(p.played, &ops[i])
		}
	}
	if v.after != nil {
		v.after(t, p.store.Stats())
	}
	p.close()
	return p.answers
}

// TestVariations lives through scripts in many ways and wants the same answers, bit for
// bit.
func TestVariations(t *testing.T) {
	seeds, steps := 1, 400
	if testing.Short() || raceEnabled {
		seeds, steps = 1, 150
	}
	for seed := uint64(100); seed < uint64(100+seeds); seed++ {
		want := (&variation{}).run(t, seed, steps)
		for _, v := range variations {
			t.Run(fmt.Sprintf("%s/%d", v.name, seed), func(t *testing.T) {
				if v.slow && raceEnabled {
					t.Skip("it takes too long with the race detector")
				}
				got := v.run(t, seed, steps)
				if len(got) != len(want) {
					t.Fatalf("%d answers, want %d", len(got), len(want))
				}
				for i := range got {
					g, w := &got[i], &want[i]
					if !slices.EqualFunc(g.numbers, w.numbers, same) || !slices.Equal(g.status, w.status) || g.country != w.country {
						t.Fatalf("answer %d, user %d, shop %s:\n%v %v %s, want\n%v %v %s", i, g.user, g.shop, g.numbers, g.status, g.country, w.numbers, w.status, w.country)
					}
				}
			})
		}
	}
}
