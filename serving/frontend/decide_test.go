// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
)

var errDown = errors.New("the model is down")

func payment(id string, customer int, amount float64) facts {
	return facts{"payment_id": id, "customer_id": customer, "amount": amount}
}

func codes(a Answer) (text string) {
	for i, r := range a.Reasons {
		if i > 0 {
			text += ","
		}
		text += r.Code
	}
	return text
}

// TestWays takes every way through a decision.
func TestWays(t *testing.T) {
	good, risky := constant(0.25), constant(0.9)
	for name, c := range map[string]struct {
		current, previous *fakeVersion
		facts             facts
		want              string // decision, reasons, rule, segment, fallback
		version           int64
		degraded          string
	}{
		"approve":                {current: good, facts: payment("1", 7, 10), want: "approve    ", version: 2},
		"block":                  {current: risky, facts: payment("1", 7, 10), want: "block RISK   ", version: 2},
		"segment":                {current: constant(0.3), facts: payment("1", 7, 501), want: "review RISK,LARGE  large ", version: 2},
		"rule before":            {current: failing(errDown), facts: payment("1", 13, 10), want: "block BLOCKED blocked  "},
		"previous version":       {current: failing(errDown), previous: risky, facts: payment("1", 7, 10), want: "block RISK   previous_version", version: 1, degraded: "fallback: model fraud version 2: the model is down"},
		"no text":                {current: failing(errors.New("bad \xff byte")), facts: payment("1", 7, 1001), want: "review DOWN,LARGE down_large  rules", degraded: "bad \ufffd byte"},
		"rules":                  {current: failing(errDown), facts: payment("1", 7, 1001), want: "review DOWN,LARGE down_large  rules", degraded: "the model is down"},
		"default":                {current: failing(errDown), previous: failing(errDown), facts: payment("1", 7, 10), want: "approve DOWN   default", degraded: "the model is down"},
		"not a number":           {current: constant(math.NaN()), facts: payment("1", 7, 10), want: "approve DOWN   default", degraded: "the score is NaN"},
		"infinite":               {current: constant(math.Inf(1)), previous: constant(math.Inf(1)), facts: payment("1", 7, 10), want: "approve DOWN   default", degraded: "the score is +Inf"},
		"infinite, then good":    {current: constant(math.Inf(1)), previous: good, facts: payment("1", 7, 10), want: "approve    previous_version", version: 1, degraded: "the score is +Inf"},
		"late":                   {current: failing(context.DeadlineExceeded), facts: payment("1", 7, 10), want: "approve DOWN   default", degraded: "deadline exceeded"},
		"wrong width":            {current: &fakeVersion{inputs: []Tensor{{Name: "input", Datatype: tensor.FP32, Width: 4}}, outputs: good.outputs}, facts: payment("1", 7, 10), want: "approve DOWN   default", degraded: "does not fit service fraud: no feature is called input"},
		"no output":              {current: &fakeVersion{inputs: good.inputs}, facts: payment("1", 7, 10), want: "approve DOWN   default", degraded: "name one of its outputs"},
		"output without a value": {current: &fakeVersion{inputs: good.inputs, outputs: []Tensor{{Name: "s", Datatype: tensor.FP32, Width: -1}}, run: good.run}, facts: payment("1", 7, 10), want: "approve DOWN   default", degraded: "0 values and no class 0"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if c.previous != nil {
				b.models.set("fraud", 1, c.previous)
			} else {
				b.models.models["fraud"] = &fakeModel{versions: map[int64]*fakeVersion{}}
			}
			b.models.set("fraud", 2, c.current)
			a := b.must("payment", "", c.facts)
			if got := strings.Join([]string{a.Decision, codes(a), a.Rule, a.Segment, a.Fallback}, " "); got != c.want {
				t.Errorf("answered %q, want %q", got, c.want)
			}
			if a.Degraded != (c.degraded != "") || !strings.Contains(a.DegradedReason, c.degraded) {
				t.Errorf("degraded %v: %q, want %q", a.Degraded, a.DegradedReason, c.degraded)
			}
			if a.ModelVersion != c.version || math.IsNaN(a.Score) != (c.version == 0) || (a.Model == "") != (c.version == 0) {
				t.Errorf("model %q version %d, score %v, want version %d", a.Model, a.ModelVersion, a.Score, c.version)
			}
		})
	}
}

// Without a fallback a request fails, and says why.
func TestUnavailable(t *testing.T) {
	b := newBench(t)
	b.models.set("fraud", 2, failing(errDown))
	_, err := b.decide("bare", "", facts{"customer_id": 7, "amount": 10.0})
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, errDown) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q, err := b.front.NewRequest("payment")
	if err != nil {
		t.Fatal(err)
	}
	defer q.Release()
	if err := setFacts(q, "", payment("1", 7, 10)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.front.Decide(ctx, q); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that gave up: %v", err)
	}
	if s := b.front.Stats().Decisions; s[0].Failed != 1 || s[2].Failed != 1 {
		t.Errorf("stats %+v", s)
	}
}

// A model that panics leaves the front-end whole: the key can be used again and Close
// does not wait for ever.
func TestPanic(t *testing.T) {
	b := newBench(t)
	b.models.set("fraud", 2, vectorVersion(func(context.Context, []float64) (float64, error) { panic("a fault of the model") }))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was lost")
			}
		}()
		_, _ = b.decide("payment", "key", payment("1", 7, 10))
	}()
	b.models.set("fraud", 3, constant(0.25))
	if a := b.must("payment", "key", payment("1", 7, 10)); a.Repeated || a.Decision != "approve" {
		t.Errorf("after the panic: %+v", a)
	}
}

// The model gets the vector as it was served, and the log has the same.
func TestVectorServedIsLogged(t *testing.T) {
	b := newBench(t)
	var seen []float64
	b.models.set("fraud", 2, vectorVersion(func(_ context.Context, numbers []float64) (float64, error) {
		seen = append([]float64(nil), numbers...)
		return 0.25, nil
	}))
	for i := range 6 {
		b.now.Add(1_000_000)
		a := b.must("payment", "", payment(fmt.Sprint(i), 7, 10))
		want := []float64{10, float64(i + 1), float64(10 * (i + 1))} // the payment itself counts, once
		for k, x := range want {
			if seen[k] != x || a.Values[k] != x {
				t.Fatalf("payment %d: the model got %v, the answer has %v, want %v", i, seen, a.Values, want)
			}
		}
		if often := i >= 4; (a.Rule == "often") != often || (a.Decision == "review") != often {
			t.Errorf("payment %d: %s by rule %q", i, a.Decision, a.Rule)
		}
		records := b.records(DecisionStream)
		r := records[len(records)-1]
		var v plan.LoggedVector
		if err := plan.DecodeVector(r.Values[columnVector:], &v); err != nil {
			t.Fatal(err)
		}
		if r.ID != a.PredictionID || v.Service != "fraud" || v.Version != a.FeaturesVersion || v.At != b.now.Load() || fmt.Sprint(v.Numbers) != fmt.Sprint(want) || v.Sequences[0] == 0 {
			t.Errorf("payment %d: logged %s, %+v", i, r.ID, v)
		}
		if got := r.Values[columnFacts].Text(); got != fmt.Sprintf(`{"customer_id":7,"amount":10,"payment_id":"%d"}`, i) {
			t.Errorf("facts %s", got)
		}
		if r.Values[columnAnswer].Text() != a.Decision || r.Values[columnScore].Float64() != 0.25 || r.Values[columnModelVersion].Int64() != 2 || r.Values[columnPropensity].Float64() != 1 {
			t.Errorf("logged %v", r.Values)
		}
	}
	if n := len(b.records(plan.StreamPrefix + "payments")); n != 6 {
		t.Errorf("%d events for 6 payments", n)
	}
}

// The budget of the model and of the whole request is what a run is told.
func TestBudget(t *testing.T) {
	b := newBench(t)
	begin := time.Now()
	b.must("payment", "", payment("1", 7, 10))
	end := time.Now()
	if d := *b.models.deadline.Load(); d.Before(begin) || d.After(end.Add(40*time.Second)) {
		t.Errorf("deadline %v, of a request between %v and %v", d, begin, end)
	}
	b.must("bare", "", facts{"customer_id": 7, "amount": 10.0})
	if d := *b.models.deadline.Load(); !d.IsZero() {
		t.Errorf("deadline %v without a budget", d)
	}
	// Whatever used up the total leaves none for the model.
	q, err := b.front.NewRequest("payment")
	if err != nil {
		t.Fatal(err)
	}
	defer q.Release()
	q.started = begin.Add(-time.Hour)
	if d := q.modelDeadline(begin); !d.Equal(begin.Add(-time.Hour + time.Minute)) {
		t.Errorf("deadline %v", d)
	}
	var state armModel
	if err := q.runModel(t.Context(), &q.decision.policy.Arms[0].Model, "", &state.current); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a run without time: %v", err)
	}
}

func TestBreaker(t *testing.T) {
	var b breaker
	now := time.Unix(1000, 0)
	for i := range breakerAfter {
		if !b.allows(now) {
			t.Fatalf("closed after %d failures", i)
		}
		b.failed(now)
	}
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{0, false}, {breakerPause - 1, false}, {breakerPause, true}, {breakerPause, false}, {2*breakerPause - 1, false}, {2 * breakerPause, true}} {
		if got := b.allows(now.Add(c.after)); got != c.want {
			t.Errorf("after %v: %v", c.after, got)
		}
		if c.want {
			b.failed(now.Add(c.after))
		}
	}
	b.succeeded()
	if !b.allows(now) {
		t.Error("closed after a success")
	}
}

// A model that fails again and again is no longer run, and the ladder answers at once.
func TestBreakerStopsRuns(t *testing.T) {
	b := newBench(t)
	b.models.models["fraud"] = &fakeModel{versions: map[int64]*fakeVersion{}}
	b.models.set("fraud", 2, failing(errDown))
	d := b.front.decisions["payment"]
	for i := range breakerAfter {
		b.must("payment", "", payment(fmt.Sprint(i), 7, 10))
	}
	d.arms[0].breaker.until.Store(math.MaxInt64) // however slow this machine is
	runs := b.models.runs.Load()
	if a := b.must("payment", "", payment("x", 7, 10)); !strings.Contains(a.DegradedReason, "failed 5 times in a row") || a.Decision != "approve" {
		t.Errorf("answered %+v", a)
	}
	if n := b.models.runs.Load(); n != runs {
		t.Errorf("%d runs of a model that is down", n-runs)
	}
	d.arms[0].breaker.until.Store(0)
	b.models.set("fraud", 3, constant(0.9))
	if a := b.must("payment", "", payment("y", 7, 10)); a.Decision != "block" || d.arms[0].breaker.failures.Load() != 0 {
		t.Errorf("answered %+v, %d failures", a, d.arms[0].breaker.failures.Load())
	}
}

// A version that is swapped, or loaded again with other tensors, is bound anew.
func TestSwap(t *testing.T) {
	b := newBench(t)
	if a := b.must("bare", "", facts{"customer_id": 7, "amount": 10.0}); a.ModelVersion != 1 || a.Decision != "approve" {
		t.Errorf("%+v", a)
	}
	b.models.set("fraud", 2, &fakeVersion{
		inputs:  []Tensor{{Name: "spent__total", Datatype: tensor.FP64, Width: 1}, {Name: "amount", Datatype: tensor.Int64, Width: 1}},
		outputs: []Tensor{{Name: "score", Datatype: tensor.FP64, Width: 1}},
		run: func(_ context.Context, numbers []float64, _ []string) (float64, error) {
			return truth(len(numbers) == 2 && numbers[0] == 0 && numbers[1] == 10), nil
		},
	})
	if a := b.must("bare", "", facts{"customer_id": 7, "amount": 10.0}); a.ModelVersion != 2 || a.Score != 1 {
		t.Errorf("inputs by name: %+v", a)
	}
	if _, err := b.decide("bare", "", facts{"customer_id": 7, "amount": 10.5}); err == nil || !strings.Contains(err.Error(), "feature amount is 10.5, its input takes whole numbers") {
		t.Errorf("10.5 into INT64: %v", err)
	}
	b.models.set("fraud", 2, constant(0.25))
	if a := b.must("bare", "", facts{"customer_id": 7, "amount": 10.5}); a.ModelVersion != 2 || a.Score != 0.25 {
		t.Errorf("the same number again: %+v", a)
	}
	if err := b.front.CheckModels(); err == nil || !strings.Contains(err.Error(), "decision texts: not loaded") {
		t.Errorf("check of models: %v", err)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Texts reach a model that takes them by name.
func TestTexts(t *testing.T) {
	b := newBench(t)
	var got []string
	b.models.set("texts", 1, &fakeVersion{
		inputs:  []Tensor{{Name: "country", Datatype: tensor.Bytes, Width: 1}, {Name: "payments", Datatype: tensor.FP32, Width: 1}},
		outputs: []Tensor{{Name: "score", Datatype: tensor.FP32, Width: 1}},
		run: func(_ context.Context, _ []float64, texts []string) (float64, error) {
			got = append([]string(nil), texts...)
			return 0.9, nil
		},
	})
	if a := b.must("texts", "", facts{"customer_id": 7}); a.Decision != "block" || len(got) != 1 || got[0] != "none" {
		t.Errorf("%+v with texts %q", a, got)
	}
}

// Arms are sticky, have their share as propensity, and shadows are logged beside.
func TestExperimentAndShadow(t *testing.T) {
	b := newBench(t)
	const customers = 200
	arms := map[string]int{}
	for customer := range customers {
		a := b.must("experiment", "", facts{"customer_id": customer + 1, "amount": 1.0})
		again := b.must("experiment", "", facts{"customer_id": customer + 1, "amount": 2.0})
		arms[a.Arm]++
		model, share, decision := "fraud", 0.7, "approve"
		if a.Arm == "other" {
			model, share, decision = "challenger", 0.3, "block"
		}
		if a.Model != model || a.Propensity != share || a.Decision != decision || again.Arm != a.Arm {
			t.Fatalf("customer %d: %+v, then %+v", customer, a, again)
		}
	}
	if n := arms["other"]; n < 30 || n > 90 || n+arms["control"] != customers {
		t.Errorf("arms %v", arms)
	}
	if err := b.front.Close(); err != nil { // waits for the shadows
		t.Fatal(err)
	}
	if _, err := b.decide("bare", "", facts{"customer_id": 1, "amount": 1.0}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	dropped := int(b.front.Stats().ShadowDropped)
	ids := map[string]bool{}
	for _, r := range b.records(DecisionStream) {
		ids[r.ID] = true
	}
	shadows := b.records(ShadowStream)
	if len(shadows)+dropped != 2*customers || len(shadows) == 0 {
		t.Errorf("%d runs of the shadow, %d dropped, of %d", len(shadows), dropped, 2*customers)
	}
	for _, r := range shadows {
		if !ids[r.ID] || r.Values[1].Text() != "shadow" || r.Values[3].Float64() != 0.5 {
			t.Fatalf("shadow %s: %v", r.ID, r.Values)
		}
	}
}

// A shadow's queue is bounded: what finds it full is dropped and counted, and answers
// do not wait.
func TestShadowQueue(t *testing.T) {
	b := newBench(t)
	b.close()
	b.queue = 2
	b.open()
	hold := make(chan struct{})
	b.models.set("shadow", 2, vectorVersion(func(context.Context, []float64) (float64, error) { <-hold; return 0, errDown }))
	for i := range 10 {
		b.must("experiment", "", facts{"customer_id": i + 1, "amount": 1.0})
	}
	close(hold)
	dropped := b.front.Stats().ShadowDropped
	if dropped < 7 || dropped > 8 { // one may be running
		t.Errorf("%d dropped", dropped)
	}
	if err := b.front.Close(); err != nil { // waits for the shadows
		t.Fatal(err)
	}
	if s := b.front.Stats(); s.ShadowFailed != 10-dropped {
		t.Errorf("stats %+v", s)
	}
}

// A log that takes nothing is no reason not to answer; the answer says so.
func TestUnlogged(t *testing.T) {
	b := newBench(t)
	b.close()
	b.log.QueueRecords, b.log.GroupWait = 1, time.Minute
	b.open()
	unlogged := 0
	for i := range 20 {
		if a := b.must("bare", "", facts{"customer_id": i + 1, "amount": 1.0}); a.Unlogged {
			unlogged++
		}
	}
	if unlogged == 0 || b.front.Stats().Unlogged != int64(unlogged) {
		t.Errorf("%d answers say that they are not in the log, stats %+v", unlogged, b.front.Stats())
	}
}

// An event that the store cannot take now makes the answer degraded; one that is wrong
// makes the request wrong.
func TestEvent(t *testing.T) {
	b := newBench(t)
	f := payment("1", 7, 10)
	f["at"] = int(noon + time.Hour.Microseconds())
	if _, err := b.decide("payment", "", f); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "as an event of payments: columns.at[0] lies 1h0m0s in the future") {
		t.Errorf("an hour ahead: %v", err)
	}
	if n := len(b.records(DecisionStream)); n != 0 {
		t.Errorf("%d decisions logged", n)
	}
	b.close()
	b.log.QueueRecords, b.log.GroupWait = 1, time.Minute
	b.open()
	degraded := 0
	for i := range 20 {
		a := b.must("payment", "", payment(fmt.Sprint(i), 7, 10))
		if a.Degraded {
			degraded++
			if !strings.HasPrefix(a.DegradedReason, "event not counted: ") || !strings.Contains(a.DegradedReason, offline.ErrFull.Error()) || a.Fallback != "" || a.ModelVersion != 1 {
				t.Fatalf("%+v", a)
			}
		}
	}
	if degraded == 0 {
		t.Error("the log took everything")
	}
}

// TestAllocations bounds what a decision allocates.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has pools drop what they hold")
	}
	b := newBench(t)
	b.undisturbed()
	b.models.set("fraud", 2, nil)
	b.models.models["fraud"].current = 1
	q, err := b.front.NewRequest("bare")
	if err != nil {
		t.Fatal(err)
	}
	defer q.Release()
	n := testing.AllocsPerRun(200, func() {
		q.reset()
		if err := errors.Join(q.SetInt("customer_id", 7), q.SetNumber("amount", 10)); err != nil {
			t.Fatal(err)
		}
		if _, err := b.front.Decide(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%v allocations", n)
	if n > 8 { // the prediction id, the facts as logged, and the fake model's own
		t.Errorf("%v allocations a decision", n)
	}
}
