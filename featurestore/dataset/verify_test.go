// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// server plays a world into an online store and a log, and logs what it serves.
type server struct {
	t       *testing.T
	r       *rand.Rand
	catalog *definition.Catalog
	log     *offline.Log
	states  *online.Local
	served  *offline.Stream
	streams map[string]*offline.Stream
	routers map[string]*plan.Scratch

	assembler *plan.Assembler
	vectors   *plan.VectorLog
	number    int
	// pending are vectors that were served and are not in the log yet.
	pending []*offline.Record
	// tamper changes what is logged.
	tamper func(number int, numbers []float64, status []window.Status)
}

func newServer(t *testing.T, r *rand.Rand, c *definition.Catalog) *server {
	log, err := offline.Open(t.Context(), offline.Options{Dir: t.TempDir(), CompactEvery: -1, GroupWait: time.Microsecond, HoldFromStart: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	states, err := online.OpenLocal(t.Context(), online.Options{Dir: t.TempDir(), Tables: plan.Tables(c), Shards: 4, CheckpointEvery: -1, SweepEvery: -1,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = states.Close() })
	s := &server{t: t, r: r, catalog: c, log: log, states: states, streams: map[string]*offline.Stream{}, routers: map[string]*plan.Scratch{},
		assembler: plan.NewAssembler(c, c.Service("fraud"))}
	for _, source := range c.Sources {
		if s.streams[source.Name], err = log.Declare(plan.Schema(source)); err != nil {
			t.Fatal(err)
		}
		s.routers[source.Name] = plan.NewRouter(c, source).NewScratch()
	}
	if s.served, err = log.Declare(offline.Schema{Stream: "served", Columns: append([]offline.Column{{Name: "score", Type: offline.TypeFloat64}}, plan.VectorColumns()...)}); err != nil {
		t.Fatal(err)
	}
	s.vectors = s.assembler.NewVectorLog()
	return s
}

// push takes an event as the store does.
func (s *server) push(source string, r *offline.Record) {
	s.t.Helper()
	updates, err := s.routers[source].Route(r)
	if err != nil {
		s.t.Fatal(err)
	}
	outcomes := make([]window.Outcome, len(updates))
	err = s.states.Apply(s.t.Context(), updates, r.ArrivalTime, func() (uint64, error) {
		return s.streams[source].AppendSequence(context.Background(), r)
	}, outcomes)
	if err != nil {
		s.t.Fatal(err)
	}
}

// serve reads a vector and keeps it to be logged a little later.
func (s *server) serve(now int64) {
	s.t.Helper()
	in := plan.Inputs{Rows: 1, Now: now, Keys: []column.Column{{Type: column.Int64}, {Type: column.String}},
		Request: []column.Column{{Type: column.Float64}, {Type: column.Timestamp}}}
	in.Keys[0].AppendInt(int64(s.r.IntN(7)))
	in.Keys[1].AppendText(string(rune('a' + s.r.IntN(6))))
	in.Request[0].AppendNumber(float64(s.r.IntN(100)))
	if s.r.IntN(4) == 0 {
		in.Request[1].AppendNull()
	} else {
		in.Request[1].AppendInt(now - s.r.Int64N(2)*s.r.Int64N(hour))
	}
	out := plan.Vectors{WantSequences: true}
	if err := s.assembler.Assemble(s.t.Context(), s.states.NewReader(), &in, &out); err != nil {
		s.t.Fatal(err)
	}
	if s.tamper != nil {
		s.tamper(s.number, out.Numbers, out.Status)
	}
	values := s.vectors.Values(&in, &out, 0)
	record := &offline.Record{ID: "v" + strconv.Itoa(s.number), EventTime: values[2].Int64(), ArrivalTime: now, Values: append([]offline.Value{offline.Float64(0.5)}, values...)}
	clone := record.Clone()
	s.pending = append(s.pending, &clone)
	s.number++
}

// flush logs what was served, in another order.
func (s *server) flush() {
	s.r.Shuffle(len(s.pending), func(i, j int) { s.pending[i], s.pending[j] = s.pending[j], s.pending[i] })
	for _, v := range s.pending {
		put(s.t, s.served, v)
	}
	s.pending = s.pending[:0]
}

// play plays a world; after each event visit is called.
func (s *server) play(w *world, visit func(i int)) {
	type push struct {
		source string
		record *offline.Record
	}
	var all []push
	for i := range w.payments {
		all = append(all, push{"payments", w.payments[i].record()})
	}
	for i := range w.profiles {
		all = append(all, push{"profiles", w.profiles[i].record()})
	}
	for i, l := range w.limits {
		values := []offline.Value{offline.Timestamp(l.at), offline.String(l.shop), offline.Float64(l.limit)}
		all = append(all, push{"limits", &offline.Record{ID: fmt.Sprint("l", i), EventTime: l.at, ArrivalTime: l.at, Values: values}})
	}
	slices.SortStableFunc(all, func(a, b push) int { return cmp.Compare(a.record.ArrivalTime, b.record.ArrivalTime) })
	for i, p := range all {
		s.push(p.source, p.record)
		if s.r.IntN(2) == 0 {
			s.serve(p.record.ArrivalTime)
		}
		if s.r.IntN(3) == 0 {
			s.flush()
		}
		if visit != nil {
			visit(i)
		}
	}
	s.flush()
	if err := s.log.Sync(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func pushable(t *testing.T) *definition.Catalog { return worldCatalog(t, t.TempDir()) }

func TestVerify(t *testing.T) {
	for seed := range uint64(3) {
		s := newServer(t, rand.New(rand.NewPCG(seed, 8)), pushable(t))
		changed := 0
		s.tamper = func(number int, numbers []float64, status []window.Status) {
			switch number {
			case 50:
				numbers[2]++
				changed++
			case 60:
				status[3] ^= 1
				changed++
			case 70:
				numbers[4] = math.NaN()
				changed++
			}
		}
		s.play(newWorld(s.r, 300), func(i int) {
			if i == 200 {
				if err := s.log.Compact(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
		for _, workers := range []int{1, 3} {
			p, err := Verify(t.Context(), VerifyOptions{Catalog: s.catalog, Log: s.log, Workers: workers, parts: 4})
			if err != nil {
				t.Fatal(err)
			}
			checkParity(t, p, s.number, 3)
			if f := p.Features[2]; f.Mismatched != 1 || f.DifferenceMax != 1 || len(f.Examples) != 1 || f.Examples[0].ID != "v50" || f.Examples[0].Stream != "served" {
				t.Errorf("feature %+v", f)
			}
			if f := p.Features[3]; f.Status != 1 || f.Mismatched != 1 {
				t.Errorf("feature %+v", f)
			}
			if f := p.Features[4]; f.Missing != 1 {
				t.Errorf("feature %+v", f)
			}
		}
	}
}

// checkParity expects all vectors to be compared, but for a few that were asked for a
// moment before their events.
func checkParity(t *testing.T, p *Parity, vectors, mismatched int) {
	t.Helper()
	past := int(p.Skipped[skipPast])
	if len(p.Skipped) > 1 || len(p.Skipped) == 1 && past == 0 || past > vectors/20 {
		t.Errorf("skipped %v of %d", p.Skipped, vectors)
	}
	if int(p.Vectors) != vectors || int(p.Compared)+past != vectors || int(p.Mismatched) != mismatched {
		t.Errorf("%d vectors, %d compared, %d mismatched, skipped %v; want %d and %d", p.Vectors, p.Compared, p.Mismatched, p.Skipped, vectors, mismatched)
		for _, f := range p.Features {
			for _, m := range f.Examples {
				t.Errorf("%s: %+v", f.Feature, m)
			}
		}
	}
}

func (s *server) verifier(change func(*VerifierOptions)) *Verifier {
	s.t.Helper()
	o := VerifierOptions{Catalog: s.catalog, Log: s.log, Window: -1}
	change(&o)
	v, err := NewVerifier(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *server) step(v *Verifier) *Parity {
	s.t.Helper()
	if err := s.log.Sync(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	if err := v.Step(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return v.Parity()
}

// TestVerifier follows a log while it grows.
func TestVerifier(t *testing.T) {
	s := newServer(t, rand.New(rand.NewPCG(1, 9)), pushable(t))
	s.tamper = func(number int, numbers []float64, _ []window.Status) {
		if number == 50 {
			numbers[2]++
		}
	}
	v := s.verifier(func(*VerifierOptions) {})
	hasty := s.verifier(func(o *VerifierOptions) { o.LagMax = 5 })
	recent := s.verifier(func(o *VerifierOptions) { o.Window = 24 * time.Hour })
	s.play(newWorld(s.r, 300), func(i int) {
		if i%37 == 0 {
			s.step(v)
			s.step(hasty)
			s.step(recent)
		}
	})
	checkParity(t, s.step(v), s.number, 1)
	if v.Position() != s.log.Next()-1 || v.Rebuilt() != 0 {
		t.Errorf("at %d of %d, rebuilt %d times", v.Position(), s.log.Next()-1, v.Rebuilt())
	}
	p := s.step(hasty)
	if late := p.Skipped[skipLogged]; late == 0 || p.Compared+late+p.Skipped[skipPast] != int64(s.number) {
		t.Errorf("with a short lag: %+v", p.Skipped)
	}
	p = s.step(recent)
	if p.Vectors >= int64(s.number)/2 || p.Vectors < 10 || p.Mismatched != 0 {
		t.Errorf("%d vectors of the last day, %d of them wrong", p.Vectors, p.Mismatched)
	}
}

// TestVerifierRebuilds lets the log drop what a verifier has yet to replay.
func TestVerifierRebuilds(t *testing.T) {
	s := newServer(t, rand.New(rand.NewPCG(2, 9)), pushable(t))
	v := s.verifier(func(*VerifierOptions) {})
	seen := int64(0)
	s.play(newWorld(s.r, 300), func(i int) {
		switch i {
		case 100:
			seen = s.step(v).Vectors
		case 200: // between here and the last step nothing can be replayed
			if err := s.log.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.log.Hold(offline.HoldNone)
			if p := s.step(v); p.Vectors != seen || v.Rebuilt() != 1 {
				t.Errorf("%d vectors, rebuilt %d times; want %d and once", p.Vectors, v.Rebuilt(), seen)
			}
		}
	})
	p := s.step(v)
	if p.Mismatched != 0 || p.Compared < 50 || p.Compared+p.Skipped[skipPast]+p.Skipped[skipLogged] != p.Vectors {
		t.Errorf("%d vectors, %d compared, %d wrong, skipped %v", p.Vectors, p.Compared, p.Mismatched, p.Skipped)
	}
	checkAll, err := Verify(t.Context(), VerifyOptions{Catalog: s.catalog, Log: s.log})
	if err != nil {
		t.Fatal(err)
	}
	checkParity(t, checkAll, s.number, 0)
}

// TestVerifierForgets bounds the memory of a verifier.
func TestVerifierForgets(t *testing.T) {
	s := newServer(t, rand.New(rand.NewPCG(3, 9)), pushable(t))
	v := s.verifier(func(*VerifierOptions) {})
	v.o.MemoryMax = 40 << 10
	s.play(newWorld(s.r, 300), nil)
	p := s.step(v)
	if p.Mismatched != 0 || p.Skipped[skipSample] == 0 || p.Compared == 0 {
		t.Errorf("%d compared, %d wrong, skipped %v", p.Compared, p.Mismatched, p.Skipped)
	}
	if v.bytes > 40<<10 {
		t.Errorf("%d bytes", v.bytes)
	}
}

// TestVerifySkips counts what cannot be computed again.
func TestVerifySkips(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 9))
	s := newServer(t, r, pushable(t))
	s.play(newWorld(r, 100), nil)
	other, err := definition.Parse("world.yaml", []byte(strings.Replace(worldText(t, t.TempDir()), "amount > 50", "amount > 51", 1)))
	if err != nil {
		t.Fatal(err)
	}
	gone, err := definition.Parse("world.yaml", []byte(strings.Replace(worldText(t, t.TempDir()), "  fraud:\n", "  another:\n", 1)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason  string
		catalog *definition.Catalog
		kept    time.Time
	}{{skipVersion, other, time.Time{}}, {skipService, gone, time.Time{}}, {skipRetained, s.catalog, time.UnixMicro(begin + 365*24*hour)}} {
		p, err := Verify(t.Context(), VerifyOptions{Catalog: c.catalog, Log: s.log, Kept: c.kept})
		if err != nil {
			t.Fatal(err)
		}
		v, err := NewVerifier(VerifierOptions{Catalog: c.catalog, Log: s.log, Kept: c.kept, Window: -1})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []*Parity{p, s.step(v)} {
			if p.Skipped[c.reason] != int64(s.number) || p.Vectors != int64(s.number) || p.Compared != 0 {
				t.Errorf("%s: %d vectors, %d compared, skipped %v", c.reason, p.Vectors, p.Compared, p.Skipped)
			}
		}
	}
}
