// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/millrace-ml/millrace/featurestore/plan"
)

// fakeLog is an event log in memory. A crash takes what is not durable.
type fakeLog struct {
	mu      sync.Mutex
	records []logged // record i has sequence i+1
	durable uint64
	// fail is what Durable and append return, if it is set.
	fail error
	hold uint64
}

type logged struct {
	updates []plan.Update
}

var errLog = errors.New("the log fails")

func cloneUpdates(updates []plan.Update) []plan.Update {
	c := slices.Clone(updates)
	for i := range c {
		c[i].Key = slices.Clone(c[i].Key)
		c[i].Row = slices.Clone(c[i].Row)
		c[i].Event.Values = slices.Clone(c[i].Event.Values)
		c[i].Event.Keys = slices.Clone(c[i].Event.Keys)
		c[i].Amend, c[i].Late = slices.Clone(c[i].Amend), slices.Clone(c[i].Late)
	}
	return c
}

// append is what record of Apply does.
func (g *fakeLog) append(updates []plan.Update) (uint64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail != nil {
		return 0, g.fail
	}
	g.records = append(g.records, logged{cloneUpdates(updates)})
	return uint64(len(g.records)), nil
}

// waitDurable makes everything up to the sequence durable, as a log that was asked does.
func (g *fakeLog) waitDurable(_ context.Context, sequence uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail != nil {
		return g.fail
	}
	if sequence > uint64(len(g.records)) {
		return errors.New("durable beyond the end of the log")
	}
	g.durable = max(g.durable, sequence)
	return nil
}

func (g *fakeLog) position() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return uint64(len(g.records))
}

func (g *fakeLog) setHold(sequence uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold = sequence
}

// crash keeps the first n records.
func (g *fakeLog) crash(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.records = g.records[:n]
}

func (g *fakeLog) setFail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fail = err
}

// options binds a store to the log.
func (g *fakeLog) options(o Options) Options {
	o.Durable, o.Position, o.OnCheckpoint = g.waitDurable, g.position, g.setHold
	return o
}

// replay replays what the store needs.
func (g *fakeLog) replay(l *Local) error {
	ctx := context.Background()
	for i := l.ReplayFrom(); i < g.position(); i++ {
		if err := l.Replay(ctx, cloneUpdates(g.records[i].updates), i+1); err != nil {
			return err
		}
	}
	l.Recovered()
	return nil
}
