// SPDX-License-Identifier: Apache-2.0

package features

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/plan"
)

// Read measures reads of 50 features of one entity in this process: alone, and with
// pushes by another goroutine. The value is the p99 alone, in microseconds.
func Read(ctx context.Context, l *Lab) ([]float64, any, error) {
	s := l.sizes()
	l.progress("filling %d entities with %d events each", s.entities, s.eventsEach)
	w, err := l.openWorld("read", fmt.Sprintf(paymentsSource, fifty()))
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(w.dir)
	defer w.store.Close()
	if err := w.fill(ctx, s); err != nil {
		return nil, nil, err
	}
	runtime.GC()
	l.progress("reading")
	alone, err := w.read(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	beside, err := w.readBesidePushes(ctx, s)
	details := map[string]any{"alone": alone, "beside pushes of 10,000/s": beside, "entities": s.entities, "events each": s.eventsEach}
	return []float64{alone.P99}, details, err
}

// read reads random entities and times each read.
func (w *world) read(ctx context.Context, s sizes) (percentiles, error) {
	service, err := w.store.Service("fifty")
	if err != nil {
		return percentiles{}, err
	}
	in := &plan.Inputs{Rows: 1, Keys: []column.Column{{Type: column.Int64, Ints: []int64{0}}}}
	out := new(plan.Vectors)
	source := rand.New(rand.NewPCG(1, 2))
	times := make([]time.Duration, 0, s.reads)
	for i := range s.reads + s.reads/10 {
		in.Keys[0].Ints[0], in.Now = source.Int64N(int64(s.entities)), 0
		began := time.Now()
		if err := w.store.Read(ctx, service, in, out); err != nil {
			return percentiles{}, err
		}
		if i >= s.reads/10 { // the first tenth warms up
			times = append(times, time.Since(began))
		}
	}
	if out.Width != 50 {
		return percentiles{}, fmt.Errorf("the service has %d features", out.Width)
	}
	return newPercentiles(times), nil
}

// readBesidePushes reads while 10,000 events a second are pushed.
func (w *world) readBesidePushes(ctx context.Context, s sizes) (percentiles, error) {
	ctx, cancel := context.WithCancel(ctx)
	var pushing sync.WaitGroup
	var pushErr error
	pushing.Go(func() {
		p := newBatch(100)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			w.advance(time.Now().UnixMicro())
			if pushErr = p.push(context.WithoutCancel(ctx), w.store, w.next, 100, w.clock.micros.Load(), int64(s.entities)); pushErr != nil {
				return
			}
			w.next += 100
		}
	})
	result, err := w.read(ctx, s)
	cancel()
	pushing.Wait()
	if err == nil {
		err = pushErr
	}
	return result, err
}

// Memory measures the memory of an entity: heap in use after a collection, filled less
// empty, over the entities. The value is in KiB. The store stays for Recovery.
func Memory(ctx context.Context, l *Lab) ([]float64, any, error) {
	s := l.sizes()
	debug.FreeOSMemory()
	empty, residentEmpty := heap(), resident()
	w, err := l.openWorld("memory", fmt.Sprintf(paymentsSource, totals))
	if err != nil {
		return nil, nil, err
	}
	l.progress("filling %d entities with %d events each", s.entities, s.eventsEach)
	if err := w.fill(ctx, s); err != nil {
		w.store.Close()
		return nil, nil, err
	}
	debug.FreeOSMemory()
	each := float64(heap()-empty) / float64(s.entities) / 1024
	details := map[string]any{
		"KiB of heap per entity": each, "KiB of resident memory per entity": float64(resident()-residentEmpty) / float64(s.entities) / 1024,
		"entities": s.entities, "events each": s.eventsEach,
	}
	l.filled = w.dir
	return []float64{each}, details, w.store.Close()
}

func heap() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// resident is the memory of this process, 0 where the system does not tell.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
