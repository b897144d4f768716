// SPDX-License-Identifier: Apache-2.0

package featurestore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/dataset"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// player runs a script on a store.
type player struct {
	t       *testing.T
	script  *script
	dir     string
	clock   atomic.Int64
	online  online.Options
	log     offline.Options
	store   *featurestore.Store
	service *plan.Assembler
	answers []answer
	slow    slow
	profile []slowProfile
	played  []*op // events and profiles
	// refused events are those of which the store said so.
	refused int
}

// answer is what was read for a row.
type answer struct {
	at      int64
	user    int64
	shop    string
	x       float64
	numbers []float64
	status  []window.Status
	country string
}

func newPlayer(t *testing.T, s *script) *player {
	p := &player{t: t, script: s, dir: t.TempDir(),
		online: online.Options{Shards: 4, CheckpointEvery: -1, SweepEvery: -1, ForgetAfter: -1},
		log:    offline.Options{CompactEvery: -1, WaitWhenFull: -1},
	}
	p.clock.Store(scriptBegin)
	return p
}

func (p *player) open() {
	p.t.Helper()
	var err error
	p.store, err = featurestore.Open(p.t.Context(), featurestore.Options{
		Dir: p.dir, Catalog: p.script.parse(p.t), Now: func() time.Time { return time.UnixMicro(p.clock.Load()) },
		Online: p.online, Log: p.log, Logger: quiet,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	if p.service, err = p.store.Service("all"); err != nil {
		p.t.Fatal(err)
	}
}

func (p *player) close() {
	p.t.Helper()
	if err := p.store.Close(); err != nil {
		p.t.Fatal(err)
	}
}

// crash goes on with the files as they are once the log is durable, as after kill -9.
func (p *player) crash() {
	p.t.Helper()
	if err := p.store.Log().Sync(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	dir := p.t.TempDir()
	copyStill(p.t, p.dir, dir)
	p.close() // of the old files, which nobody looks at any more
	p.dir = dir
	p.open()
}

// copyStill copies a folder at a moment when no file came, went or grew meanwhile: what is
// left over in it is compacted and removed in the background.
func copyStill(t *testing.T, from, to string) {
	t.Helper()
	for range 100 {
		before := sizes(from)
		err := os.CopyFS(to, os.DirFS(from))
		if err == nil && maps.Equal(before, sizes(from)) {
			return
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("the files in %s do not come to rest", from)
}

// sizes are those of the files below a folder, by path. A folder has none of its own.
func sizes(dir string) map[string]int64 {
	all := map[string]int64{}
	for _, path := range listing(dir) {
		if info, err := os.Stat(path); err == nil && !info.IsDir() { // else it has gone meanwhile
			all[path] = info.Size()
		} else {
			all[path] = -1
		}
	}
	return all
}

// loseStates goes on without the states, which are computed anew from the log.
func (p *player) loseStates() {
	p.t.Helper()
	p.close()
	if err := os.RemoveAll(filepath.Join(p.dir, "online")); err != nil {
		p.t.Fatal(err)
	}
	p.open()
}

// play carries out an operation.
func (p *player) play(o *op) {
	p.t.Helper()
	p.clock.Store(o.clock)
	switch {
	case len(o.events) > 0:
		p.push("events", eventsOf(o.events))
		for _, e := range o.events {
			e.arrival = o.clock
			e.amends = !math.IsNaN(e.label) && math.IsNaN(e.amount) && e.channel == ""
			p.slow.add(e)
		}
	case len(o.profiles) > 0:
		p.push("profiles", profilesOf(o.profiles))
		for _, e := range o.profiles {
			e.arrival = o.clock
			p.profile = append(p.profile, e)
		}
	default:
		p.read(o)
	}
}

func (p *player) push(source string, events *featurestore.Events) {
	p.t.Helper()
	var result featurestore.PushResult
	events.NoWait = true // what is read does not depend on it
	if err := p.store.Push(context.Background(), source, events, &result); err != nil {
		p.t.Fatal(err)
	}
	if result.Accepted+len(result.Errors) != events.Batch.Rows {
		p.t.Fatalf("%d events: %+v", events.Batch.Rows, result)
	}
	for _, e := range result.Errors {
		if e.Field != "" && !strings.Contains(e.Message, "no view reaches further back") {
			p.t.Fatalf("refused: %+v", e)
		}
		p.refused++
	}
}

func eventsOf(events []slowEvent) *featurestore.Events {
	c := make([]column.Column, 7)
	for i, t := range []column.Type{column.String, column.Timestamp, column.Int64, column.String, column.Float64, column.String, column.Float64} {
		c[i].Type = t
	}
	for _, e := range events {
		c[0].AppendText(e.id)
		c[1].AppendInt(e.time)
		appendInt(&c[2], e.user)
		appendText(&c[3], e.shop)
		c[4].AppendNumber(e.amount)
		appendText(&c[5], e.channel)
		c[6].AppendNumber(e.label)
	}
	return &featurestore.Events{Batch: column.Batch{Rows: len(events), Columns: c}}
}

func appendInt(c *column.Column, v int64) {
	if v == 0 {
		c.AppendNull()
	} else {
		c.AppendInt(v)
	}
}

func appendText(c *column.Column, v string) {
	if v == "" {
		c.AppendNull()
	} else {
		c.AppendText(v)
	}
}

func profilesOf(profiles []slowProfile) *featurestore.Events {
	events := &featurestore.Events{}
	c := make([]column.Column, 4)
	for i, t := range []column.Type{column.Timestamp, column.Int64, column.String, column.Float64} {
		c[i].Type = t
	}
	for _, e := range profiles {
		events.IDs = append(events.IDs, e.id)
		c[0].AppendInt(e.time)
		c[1].AppendInt(e.user)
		appendText(&c[2], e.country)
		c[3].AppendNumber(e.age)
	}
	events.Batch = column.Batch{Rows: len(profiles), Columns: c}
	return events
}

// read asks for all rows of an operation at once.
func (p *player) read(o *op) {
	p.t.Helper()
	in := &plan.Inputs{Rows: len(o.users), Now: o.clock, Request: []column.Column{{Type: column.Float64}},
		Keys: []column.Column{{Type: column.Int64, Ints: o.users}, {Type: column.String, Texts: o.shops}}}
	for i := range o.users {
		in.Request[0].AppendNumber(float64(i))
	}
	var out plan.Vectors
	if err := p.store.Read(context.Background(), p.service, in, &out); err != nil {
		p.t.Fatal(err)
	}
	if out.Missed != 0 {
		p.t.Errorf("an edge was missed by %d µs", out.Missed)
	}
	for i := range o.users {
		p.answers = append(p.answers, answer{at: o.clock, user: o.users[i], shop: o.shops[i], x: float64(i),
			numbers: slices.Clone(out.Row(i)), status: slices.Clone(out.StatusRow(i)), country: strings.Clone(out.TextRow(i)[0])})
	}
}

// compareSlow computes the last n answers the slow way.
func (p *player) compareSlow(n int) {
	p.t.Helper()
	for _, a := range p.answers[len(p.answers)-n:] {
		numbers, status := make([][]float64, len(p.script.views)), make([][]window.Status, len(p.script.views))
		for i := range p.script.views {
			numbers[i], status[i] = p.slow.view(&p.script.views[i], a.user, a.shop, a.at)
		}
		for i, f := range p.script.features {
			if f.view < 0 {
				continue
			}
			want, st, feature := numbers[f.view][f.offset], status[f.view][f.offset], &p.script.views[f.view].features[f.feature]
			ok := a.status[i] == st
			if st != window.Present && !math.IsNaN(f.fallback) {
				ok = ok && a.numbers[i] == f.fallback
			} else {
				ok = ok && feature.agrees(a.numbers[i], want)
			}
			if !ok {
				p.t.Fatalf("user %d, shop %s at %d: v%d.%s[%d] is %v (%v), the slow way gives %v (%v)\n%s",
					a.user, a.shop, a.at-scriptBegin, f.view, feature.name, f.k, a.numbers[i], a.status[i], want, st, p.script.yaml)
			}
		}
		p.compareLookup(&a)
	}
}

// compareLookup checks what comes behind the views.
func (p *player) compareLookup(a *answer) {
	p.t.Helper()
	n := len(a.numbers)
	age, country := math.NaN(), "nowhere"
	st, stText := window.NotFound, window.NotFound
	if best := newestProfile(p.profile, a.user, a.at); best != nil {
		st, stText, age = window.Present, window.Present, best.age
		if math.IsNaN(best.age) {
			st = window.Null
		}
		if best.country == "" {
			stText = window.Null
		}
		if old := p.script.ttl > 0 && a.at-best.time > p.script.ttl.Microseconds(); old {
			if st == window.Present {
				st = window.OutsideMaxAge
			}
			if stText == window.Present {
				stText = window.OutsideMaxAge
			}
		}
		if stText == window.Present {
			country = best.country
		}
	}
	sum := pick(math.IsNaN(age), -5, a.x+age)
	if !same(a.numbers[n-4], age) || a.status[n-4] != st || a.country != country || a.status[n-3] != stText || a.numbers[n-2] != a.x || a.numbers[n-1] != sum {
		p.t.Fatalf("user %d at %d: age %v (%v), country %s (%v), sum %v; the slow way gives %v (%v), %s (%v), %v", a.user, a.at-scriptBegin,
			a.numbers[n-4], a.status[n-4], a.country, a.status[n-3], a.numbers[n-1], age, st, country, stText, sum)
	}
}

// compareDataset makes a training set of all answers out of the log, and compares bit
// for bit.
func (p *player) compareDataset() {
	p.t.Helper()
	if err := p.store.Log().Sync(p.t.Context()); err != nil { // a training set is made of what is durable
		p.t.Fatal(err)
	}
	dir := p.t.TempDir()
	var labels strings.Builder
	labels.WriteString("query,event_timestamp,user_id,shop_id,x\n")
	for i, a := range p.answers {
		fmt.Fprintf(&labels, "%d,%s,%d,%s,%.1f\n", i, time.UnixMicro(a.at).UTC().Format(time.RFC3339Nano), a.user, a.shop, a.x)
	}
	o := dataset.Options{Catalog: p.script.catalog, Service: "all", Log: p.store.Log(), NoInputs: true, Status: true, Output: filepath.Join(dir, "out.parquet"), TempDir: dir,
		Labels: dataset.Labels{Path: filepath.Join(dir, "labels.csv"), Format: definition.CSV, Carry: []string{"query"}}}
	write(p.t, o.Labels.Path, labels.String())
	if _, err := dataset.Build(p.t.Context(), o); err != nil {
		p.t.Fatal(err)
	}
	rows := readTable(p.t, o.Output)
	if rows.len() != len(p.answers) {
		p.t.Fatalf("the training set has %d rows, want %d", rows.len(), len(p.answers))
	}
	for row := range rows.len() {
		a := &p.answers[int(rows.number("query", row))]
		for i, f := range p.service.Service().Features {
			if f.Type == column.String {
				if text, _ := rows.text(f.Name, row); text != a.country {
					p.t.Errorf("%s is %q in the training set and %q online", f.Name, text, a.country)
				}
				continue
			}
			got := rows.number(f.Name, row)
			status := ""
			if f.Kind == definition.FromView || f.Kind == definition.FromLookup {
				status, _ = rows.text(f.Name+"__status", row)
			}
			if !same(got, a.numbers[i]) || status != "" && strings.ReplaceAll(status, "_", " ") != a.status[i].String() {
				p.t.Fatalf("user %d, shop %s at %d: %s is %v (%s) in the training set and %v (%v) online\n%s", a.user, a.shop, a.at-scriptBegin, f.Name, got, status, a.numbers[i], a.status[i], p.script.yaml)
			}
		}
	}
}

// TestRandomWorlds compares reads with the slow way and with training sets, over random
// definitions and random events: late, repeated, out of order, amended.
func TestRandomWorlds(t *testing.T) {
	seeds, steps := 26, 600
	if testing.Short() || raceEnabled {
		seeds, steps = 4, 300
	}
	values, refused := 0, 0
	for seed := range seeds {
		p := newPlayer(t, newScript(t, uint64(seed), steps))
		p.open()
		for i := range p.script.ops {
			before := len(p.answers)
			p.play(&p.script.ops[i])
			p.compareSlow(len(p.answers) - before)
		}
		p.compareDataset()
		p.close()
		values, refused = values+len(p.answers)*len(p.script.features), refused+p.refused
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d values, %d events refused", values, refused)
}
