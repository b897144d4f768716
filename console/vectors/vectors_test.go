// SPDX-License-Identifier: Apache-2.0

package vectors

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/console/internal/vectortest"
	"github.com/millrace-ml/millrace/featurestore/offline"
)

const step = 6 * time.Minute

// lately says whether a moment is of the last day.
func lately(at time.Time) bool { return !at.Before(vectortest.Now.Add(-Span)) }

// shifted moves amounts and channels of the last day, in which amounts are missing at times.
func shifted(at time.Time, i int) vectortest.Row {
	r := vectortest.Row{Customer: int64(i * 7919 % 199), Amount: float64(i*7919%100) / 100, Channel: "web", Score: float64(i%10) / 10}
	if i%3 == 0 {
		r.Channel = "app"
	}
	if lately(at) {
		r.Amount += 0.5
		if i%4 == 0 {
			r.Amount = math.NaN()
		}
		if i%2 == 0 {
			r.Channel = "shop"
		}
	}
	return r
}

func TestLookFindsWhatMoved(t *testing.T) {
	store := vectortest.Open(t, step, shifted)
	now := time.Unix(0, 0)
	s := New(store, vectortest.Stream, func() time.Time { return now })
	look, err := s.Look(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	service := look.Find("fraud")
	// Twelve strata of two hours, a row each six minutes.
	if service == nil || service.Now != 240 || service.Before != 240 || service.Other != 0 || service.Cut {
		t.Fatalf("%+v", service)
	}
	amount, channel := service.Feature("amount"), service.Feature("channel")
	if w := amount.Drift.Word(); w != "large" || amount.Drift.Entities < 100 || amount.Drift.Effect < 1 || amount.Drift.Effect > 3 {
		t.Errorf("amount: %s, %+v", w, amount.Drift)
	}
	if amount.Now.Missing != 60 || amount.Before.Missing != 0 || len(amount.Now.Sorted) != 180 || amount.Now.MissingShare() != 0.25 {
		t.Errorf("amount: %d of %d missing, %d before", amount.Now.Missing, amount.Now.Rows, amount.Before.Missing)
	}
	if n := len(amount.Missing); n != 2*strata || amount.Missing[0].Share != 0 || amount.Missing[n-1].Share != 0.25 || !amount.Missing[0].Time.Equal(vectortest.Now.Add(-8*24*time.Hour)) {
		t.Errorf("missing over time: %+v", amount.Missing)
	}
	if c := channel.Now.Categories; len(c) != 3 || c[0] != (Category{"shop", 120}) || channel.Drift.Word() != "moderate" {
		t.Errorf("channel: %+v, %+v", c, channel.Drift)
	}
	if f := service.Features[2]; f.Drift.Word() != "steady" || f.Now.Quantiles[3] != 0 {
		t.Errorf("payments_1d: %s %+v", f.Drift.Word(), f.Drift)
	}
	if f := look.Sources; len(f) != 1 || f[0].Within != 0 {
		t.Errorf("nothing was pushed: %+v", f)
	}
	again, err := s.Look(context.Background())
	if err != nil || again != look {
		t.Errorf("a look was not kept: %v", err)
	}
	now = now.Add(keepFor)
	if again, err = s.Look(context.Background()); err != nil || again == look {
		t.Errorf("a look was kept for too long: %v", err)
	}
}

func TestSteadyFeaturesAreCalledSo(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	store := vectortest.Open(t, step, func(time.Time, int) vectortest.Row {
		return vectortest.Row{Customer: random.Int64N(200), Amount: random.ExpFloat64(), Channel: [...]string{"web", "app"}[random.IntN(2)]}
	})
	look, err := New(store, vectortest.Stream, time.Now).Look(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range look.Services[0].Features {
		if w := f.Drift.Word(); w != "steady" {
			t.Errorf("%s: %s, %+v", f.Name, w, f.Drift)
		}
	}
}

func TestLookIsBounded(t *testing.T) {
	store := vectortest.Open(t, 20*time.Second, func(_ time.Time, i int) vectortest.Row { return vectortest.Row{Customer: int64(i)} })
	r := &reader{ctx: context.Background(), log: store.Log(), stream: vectortest.Stream, limit: 5, services: map[string]*rows{"fraud": newRows(store.Catalog().Service("fraud"))}}
	if err := r.read(side{}, vectortest.Now.Add(-stratum).UnixMicro()); err != nil {
		t.Fatal(err)
	}
	if s := r.services["fraud"]; s.sides[0].rows != 5 || !s.cut {
		t.Errorf("%d rows, cut %v", s.sides[0].rows, s.cut)
	}
	r.take(side{}, &offline.Record{Values: append([]offline.Value{offline.Float64(1), offline.String("fraud")}, make([]offline.Value, 8)...)})
	r.take(side{}, &offline.Record{Values: append([]offline.Value{offline.Float64(1), offline.String("unknown")}, make([]offline.Value, 8)...)})
	if s := r.services["fraud"]; s.other != 1 || s.sides[0].rows != 5 {
		t.Errorf("a vector of another definition: %d, %d rows", s.other, s.sides[0].rows)
	}
}

func TestNothingLogged(t *testing.T) {
	store := vectortest.Open(t, 9*24*time.Hour, func(time.Time, int) vectortest.Row { return vectortest.Row{} })
	for _, stream := range []string{vectortest.Stream, "unknown"} {
		look, err := New(store, stream, time.Now).Look(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		f := look.Services[0].Features[0]
		if f.Drift.Word() != "unknown" || f.Now.Rows != 0 || !math.IsNaN(f.Now.Quantiles[0]) || !math.IsNaN(f.Missing[23].Share) {
			t.Errorf("%+v", f)
		}
	}
}

func TestQuantiles(t *testing.T) {
	d := Numbers([]float64{3, 1, math.NaN(), 2, math.Inf(1)})
	if d.Rows != 5 || d.Missing != 1 || d.Quantiles[0] != 1 || d.Quantiles[3] != 2 || d.Quantiles[6] != 3 || d.Mean != 2 {
		t.Errorf("%+v", d)
	}
	if c := Compare([]float64{1, 2}, []float64{3}); c.Known || c.Word() != "unknown" {
		t.Errorf("%+v", c)
	}
}
