// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// equalAnswers compares what a client sees, but for the times and what tells a
// repetition.
func equalAnswers(t *testing.T, got, want Answer) {
	t.Helper()
	text := func(a Answer) string {
		return fmt.Sprint(a.PredictionID, a.Decision, a.Score, a.Reasons, a.Segment, a.Rule, a.Model, a.ModelVersion, a.PolicyVersion, a.FeaturesVersion, a.Arm, a.Propensity, a.Degraded, a.DegradedReason, a.Fallback)
	}
	if text(got) != text(want) {
		t.Errorf("answered\n%s, want\n%s", text(got), text(want))
	}
}

// A key gets the same answer, though the model would say otherwise by now; it runs and
// is logged and counted once. After a restart too, and not when it is over.
func TestKey(t *testing.T) {
	for name, model := range map[string]*fakeVersion{"scored": constant(0.9), "degraded": failing(errDown)} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.models.models["fraud"] = &fakeModel{versions: map[int64]*fakeVersion{}}
			b.models.set("fraud", 2, model)
			first := b.must("payment", "key", payment("1", 7, 501))
			b.models.set("fraud", 3, constant(0.1))
			runs := b.models.runs.Load()
			for range 3 {
				again := b.must("payment", "key", payment("1", 7, 501))
				if !again.Repeated {
					t.Error("not repeated")
				}
				equalAnswers(t, again, first)
				b.reopen()
				b.now.Add((15 * time.Minute).Microseconds())
			}
			if n := b.models.runs.Load(); n != runs {
				t.Errorf("%d more runs", n-runs)
			}
			if n := len(b.records(DecisionStream)); n != 1 {
				t.Errorf("%d decisions logged", n)
			}
			if n := len(b.records("source.payments")); n != 1 {
				t.Errorf("%d events pushed", n)
			}
			if other := b.must("payment", "other", payment("2", 7, 501)); other.Repeated || other.PredictionID == first.PredictionID {
				t.Errorf("another key: %+v", other)
			}
			b.now.Store(noon + time.Hour.Microseconds())
			if late := b.must("payment", "key", payment("3", 7, 501)); late.Repeated || late.PredictionID == first.PredictionID || late.ModelVersion != 3 {
				t.Errorf("after its time: %+v", late)
			}
		})
	}
}

// The same key with other facts is refused, before and after a restart.
func TestKeyWithOtherFacts(t *testing.T) {
	b := newBench(t)
	b.must("payment", "key", payment("1", 7, 10))
	for range 2 {
		for name, f := range map[string]facts{"amount": payment("1", 7, 11), "more": {"payment_id": "1", "customer_id": 7, "amount": 10.0, "at": int(noon)}} {
			if _, err := b.decide("payment", "key", f); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "was used with other facts") {
				t.Errorf("%s: %v", name, err)
			}
		}
		// Keys are those of one decision.
		if a := b.must("bare", "key", facts{"customer_id": 7, "amount": 10.0}); a.Decision != "approve" {
			t.Errorf("%+v", a)
		}
		b.reopen()
	}
	if _, err := b.decide("payment", strings.Repeat("k", KeyBytesMax+1), payment("1", 7, 10)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "idempotency_key: 257 bytes, at most 256") {
		t.Errorf("a long key: %v", err)
	}
}

// Many at once with one key: one runs, all get its answer. One that fails is not
// remembered.
func TestKeyAtOnce(t *testing.T) {
	b := newBench(t)
	entered, hold := make(chan struct{}), make(chan struct{})
	b.models.set("fraud", 2, vectorVersion(func(context.Context, []float64) (float64, error) {
		entered <- struct{}{}
		<-hold
		return 0.9, nil
	}))
	const clients = 16
	answers := make([]Answer, clients)
	var running sync.WaitGroup
	client := func(i int) {
		a, err := b.decide("bare", "key", facts{"customer_id": 7, "amount": 10.0})
		if err != nil {
			t.Error(err)
		}
		answers[i] = a
	}
	running.Go(func() { client(0) })
	<-entered
	for i := 1; i < clients; i++ {
		running.Go(func() { client(i) })
	}
	// One whose client gives up does not wait for the answer.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q, err := b.front.NewRequest("bare")
	if err != nil {
		t.Fatal(err)
	}
	defer q.Release()
	if err := setFacts(q, "key", facts{"customer_id": 7, "amount": 10.0}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.front.Decide(ctx, q); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(hold)
	running.Wait()
	if n := b.models.runs.Load(); n != 1 {
		t.Errorf("%d runs", n)
	}
	for i := range answers {
		equalAnswers(t, answers[i], answers[0])
		if answers[i].Repeated != (i > 0) {
			t.Errorf("answer %d: repeated %v", i, answers[i].Repeated)
		}
	}
	b.models.set("fraud", 3, failing(errDown))
	if _, err := b.decide("bare", "failed", facts{"customer_id": 7, "amount": 10.0}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	b.models.set("fraud", 4, constant(0.1))
	if a := b.must("bare", "failed", facts{"customer_id": 7, "amount": 10.0}); a.Repeated || a.ModelVersion != 4 {
		t.Errorf("after the failure: %+v", a)
	}
}

// No more keys are remembered than the bound; the oldest go first, and are counted.
func TestKeysMax(t *testing.T) {
	b := newBench(t)
	b.close()
	b.keys = memoryShards
	b.open()
	const keys = 10 * memoryShards
	for i := range keys {
		b.must("bare", fmt.Sprint("key", i), facts{"customer_id": 7, "amount": 10.0})
	}
	s := b.front.Stats()
	if s.Keys > memoryShards || s.Keys < memoryShards/2 || s.KeysForgotten != int64(keys-s.Keys) {
		t.Errorf("%d keys kept, %d forgotten", s.Keys, s.KeysForgotten)
	}
	if a := b.must("bare", fmt.Sprint("key", keys-1), facts{"customer_id": 7, "amount": 10.0}); !a.Repeated {
		t.Error("the newest was forgotten")
	}
	b.reopen()
	if n := b.front.Stats().Keys; n > memoryShards {
		t.Errorf("%d keys after a restart", n)
	}
}

// What a request can get wrong, with the texts.
func TestBadFacts(t *testing.T) {
	b := newBench(t)
	if _, err := b.front.NewRequest("nothing"); !errors.Is(err, ErrUnknown) || err.Error() != `decision "nothing": no such decision; there are bare, experiment, payment, texts` {
		t.Errorf("unknown decision: %v", err)
	}
	with := func(name string, v any) facts {
		f := payment("1", 7, 10)
		f[name] = v
		return f
	}
	for name, c := range map[string]struct {
		facts facts
		want  string
	}{
		"unknown fact":    {with("colour", "red"), "facts.colour: the decision payment takes no such fact"},
		"a feature":       {with("spent__total", 1.0), "facts.spent__total: the decision payment takes no such fact"},
		"text for number": {with("amount", "ten"), `amount is the text "ten", it takes a float64`},
		"bool for number": {with("amount", true), "amount is true, it takes a float64"},
		"number for text": {with("payment_id", 1.0), "payment_id is 1, it takes a string"},
		"half a customer": {with("customer_id", 7.5), "customer_id is 7.5, it takes a whole number"},
		"beyond 2^53":     {with("customer_id", 0x1p60), "give it as an integer"},
		"infinite":        {with("amount", math.Inf(1)), "amount is infinite"},
		"below minimum":   {with("amount", -1.0), "amount is -1, it lies at 0 or above"},
		"not a time":      {with("at", "yesterday"), `facts.at: "yesterday" is not a time`},
		"null":            {with("amount", nil), "amount is required"},
		"NaN":             {with("amount", math.NaN()), "amount is required"},
		"nothing":         {facts{}, "customer_id, amount, payment_id are required"},
		"huge id":         {with("payment_id", strings.Repeat("x", 300)), "as an event of payments: columns.payment_id[0] an id has 1 to 256 bytes"},
		"before 1970":     {with("at", -5), "as an event of payments: columns.at[0] lies before 1970"},
		"far past":        {with("at", int(noon-400*24*time.Hour.Microseconds())), "as an event of payments: columns.at[0] lies 400 days in the past"},
	} {
		_, err := b.decide("payment", "", c.facts)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if n := len(b.records("source.payments")) + len(b.records(DecisionStream)); n != 0 {
		t.Errorf("%d records of requests that were refused", n)
	}
	f := facts{"customer_id": 7, "amount": 10.0, "at": int(math.MaxInt64)}
	if _, err := b.decide("bare", "", f); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "request field at: row 0: the moment 9223372036854775807 is out of range") {
		t.Errorf("a moment beyond time: %v", err)
	}
	// A key beyond what a float64 holds is told apart from its neighbour.
	const big = 1<<53 + 1
	b.must("payment", "", payment("1", big, 10))
	if a := b.must("payment", "", payment("2", big-1, 10)); a.Values[1] != 1 {
		t.Errorf("the neighbour has %v payments", a.Values[1])
	}
	q, err := b.front.NewRequest("payment")
	if err != nil {
		t.Fatal(err)
	}
	defer q.Release()
	if err := errors.Join(q.SetNumber("amount", 1)); err != nil {
		t.Fatal(err)
	}
	if err := q.SetNumber("amount", 2); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "facts.amount: given twice") {
		t.Errorf("twice: %v", err)
	}
}

// A client that gives up does not end others that wait for the same key: one of them
// decides anew.
func TestKeyWhoseFirstClientIsGone(t *testing.T) {
	b := newBench(t)
	entered := make(chan struct{}, 1)
	first := true
	b.models.set("fraud", 2, vectorVersion(func(ctx context.Context, _ []float64) (float64, error) {
		if first {
			first = false
			entered <- struct{}{}
			<-ctx.Done()
			return 0, ctx.Err()
		}
		return 0.9, nil
	}))
	ctx, cancel := context.WithCancel(t.Context())
	gone, err := b.front.NewRequest("bare")
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Release()
	f := facts{"customer_id": 7, "amount": 10.0}
	if err := setFacts(gone, "key", f); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if _, err := b.front.Decide(ctx, gone); !errors.Is(err, context.Canceled) {
			t.Errorf("the first: %v", err)
		}
	})
	<-entered
	const others = 4
	answers := make([]Answer, others)
	for i := range others {
		running.Go(func() {
			var err error
			if answers[i], err = b.decide("bare", "key", f); err != nil {
				t.Errorf("another: %v", err)
			}
		})
	}
	cancel()
	running.Wait()
	anew := 0
	for i := range answers {
		equalAnswers(t, answers[i], answers[0])
		if !answers[i].Repeated {
			anew++
		}
	}
	if anew != 1 || answers[0].Decision != "block" {
		t.Errorf("%d decided anew, %+v", anew, answers[0])
	}
	if _, err := b.decide("bare", "key", facts{"customer_id": 8, "amount": 10.0}); err == nil || !strings.Contains(err.Error(), `idempotency_key: "key" was used`) {
		t.Errorf("with other facts: %v", err)
	}
}

// Numbers that an input cannot hold are refused, not wrapped around.
func TestWholeNumbersBeyondInputs(t *testing.T) {
	s := &definition.Service{Features: []definition.Feature{{Name: "f"}}}
	var raw [8]byte
	for _, datatype := range []tensor.Datatype{tensor.Int64, tensor.Int32} {
		in := boundInput{datatype: datatype, features: []int{0}}
		for _, x := range []float64{0x1p63, -0x1.8p63, math.Inf(1), math.Inf(-1), math.NaN(), 0.5} {
			if err := in.write(raw[:], s, []float64{x}); err == nil || !strings.Contains(err.Error(), "feature f is") {
				t.Errorf("%v as %v: %v", x, datatype, err)
			}
		}
		if err := in.write(raw[:], s, []float64{-7}); err != nil || decode(datatype, raw[:]) != -7 {
			t.Errorf("-7 as %v: %v", datatype, err)
		}
	}
}
