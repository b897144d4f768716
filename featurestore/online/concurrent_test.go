// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// crowd pushes events of shared and own entities from several goroutines.
type crowd struct {
	t      *testing.T
	log    *fakeLog
	tables []plan.Table
	keys   []string
	fs     *vfs.MemFS
	store  *Local
	clock  atomic.Int64
	stop   atomic.Bool
	pushed atomic.Int64
	evicts bool // memory is bounded
}

// push is one event of one goroutine: of an entity of its own, and of shared ones.
func (c *crowd) push(random *rand.Rand, own string, id uint64, outcomes []window.Outcome) {
	at := c.clock.Add(random.Int64N(second / 10))
	shared := c.keys[random.IntN(len(c.keys))]
	updates := []plan.Update{
		event(0, own, at, id, 1),
		event(2, shared, at, id, float64(id%2), 5),
		{Table: 1, Key: []byte(shared), Event: window.Event{Time: at, ID: id}, Row: []byte(own)},
	}
	err := c.store.Apply(context.Background(), updates, at, func() (uint64, error) {
		sequence, err := c.log.append(updates)
		runtime.Gosched() // others go between the log and the states
		return sequence, err
	}, outcomes)
	if err != nil {
		c.t.Error(err)
	}
	c.pushed.Add(1)
}

// pusher pushes, and checks that it can read each event of its own at once.
func (c *crowd) pusher(seed uint64, events int) {
	random := rand.New(rand.NewPCG(seed, 3))
	own := fmt.Sprintf("own%d", seed)
	reader := c.store.NewReader()
	outcomes := make([]window.Outcome, 3)
	for id := uint64(1); (id <= uint64(events) || id <= 100*uint64(events) && c.wantsLoads()) && !c.t.Failed(); id++ {
		c.push(random, own, id, outcomes)
		if got, _, _ := values(c.t, reader, 6, 0, own, c.clock.Load()+second); got[3] != float64(id) { // count of 10 minutes
			c.t.Errorf("%s has %v events right after number %d was pushed", own, got[3], id)
		}
	}
}

// wantsLoads reports whether entities were to be evicted and loaded again, and none was
// yet: when depends on who got how far.
func (c *crowd) wantsLoads() bool { return c.evicts && c.store.Stats().Loads == 0 }

// background checkpoints, sweeps, and takes copies as a crash would leave them.
func (c *crowd) background(random *rand.Rand, crashes int) {
	for i := 0; !c.stop.Load() && !c.t.Failed(); i++ {
		if err := c.store.Checkpoint(context.Background()); err != nil {
			c.t.Error(err)
		}
		c.store.sweep(50)
		if i < crashes {
			c.crash(random)
		}
	}
}

// crash opens what the disk and the log would have after one, while the store goes on.
func (c *crowd) crash(random *rand.Rand) {
	disk := c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: random.IntN(101), RNG: rand.New(rand.NewPCG(random.Uint64(), 1))})
	c.log.mu.Lock()
	kept := int(c.log.durable) + random.IntN(len(c.log.records)-int(c.log.durable)+1)
	log := &fakeLog{records: slices.Clone(c.log.records[:kept]), durable: uint64(kept)}
	c.log.mu.Unlock()
	o := quiet(log.options(Options{Dir: "store", Tables: c.tables, Shards: 4}))
	o.fs = disk
	l, err := OpenLocal(context.Background(), o)
	if err != nil {
		c.t.Error(err)
		return
	}
	defer l.Close()
	must(c.t, log.replay(l))
	c.verify(l, log)
}

// verify holds a store to the log.
func (c *crowd) verify(l *Local, log *fakeLog) {
	m := newModel(c.tables)
	for i := range log.records {
		for _, u := range cloneUpdates(log.records[i].updates) {
			m.apply(c.t, &u, uint64(i+1))
		}
	}
	keys := slices.Clone(c.keys)
	for i := range 4 {
		keys = append(keys, fmt.Sprintf("own%d", i))
	}
	m.compare(c.t, l.NewReader(), keys, c.clock.Load()+second)
}

// Goroutines push, read, checkpoint, sweep and evict at the same time: each reads its
// own events at once, the end is what the log says in its order, and so is what a crash
// leaves at any moment.
func TestConcurrentUse(t *testing.T) {
	events, crashes := 600, 30
	if testing.Short() {
		events, crashes = 200, 8
	}
	for _, budget := range []int64{0, 8 << 10} {
		t.Run(fmt.Sprintf("shardBytes=%d", budget), func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			c := &crowd{t: t, log: &fakeLog{}, tables: smallTables(t), fs: vfs.NewCrashableMem(), evicts: budget != 0}
			for i := range 40 {
				c.keys = append(c.keys, fmt.Sprintf("shared%d", i))
			}
			c.clock.Store(start)
			o := quiet(c.log.options(Options{Dir: "store", Tables: c.tables, Shards: 4}))
			o.fs, o.shardBytes = c.fs, budget
			c.store = openLocal(t, o)
			var pushers, others sync.WaitGroup
			for i := range uint64(4) {
				pushers.Go(func() { c.pusher(i, events) })
			}
			others.Go(func() { c.background(rand.New(rand.NewPCG(seed, 4)), crashes) })
			pushers.Wait()
			c.stop.Store(true)
			others.Wait()
			c.verify(c.store, c.log)
			if s := c.store.Stats(); budget != 0 && (s.Evicted == 0 || s.Loads == 0) {
				t.Errorf("%d evicted, %d loaded", s.Evicted, s.Loads)
			}
			must(t, c.store.Close())
		})
	}
}
