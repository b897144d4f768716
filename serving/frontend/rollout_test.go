// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"
)

// beside adds a version that is not the current one.
func (b *bench) beside(model string, number int64, v *fakeVersion) {
	b.models.mu.Lock()
	defer b.models.mu.Unlock()
	b.models.models[model].versions[number] = v
}

func (b *bench) rollout(r Rollout) {
	b.t.Helper()
	if err := b.front.SetRollout(r); err != nil {
		b.t.Fatal(err)
	}
}

// canaries are the customers, of the first n, that a canary answers.
func (b *bench) canaries(decision string, n int) map[int]bool {
	b.t.Helper()
	has := map[int]bool{}
	for customer := range n {
		a := b.must(decision, "", facts{"customer_id": 1000 + customer, "amount": 10.0})
		has[customer] = a.ModelVersion == 2
		if (a.Arm != "" && strings.HasSuffix(a.Arm, CanaryArm)) != has[customer] || a.Degraded {
			b.t.Fatalf("customer %d: version %d, arm %q, degraded %q", customer, a.ModelVersion, a.Arm, a.DegradedReason)
		}
	}
	return has
}

// TestRolloutAssigns: about the share of units have the canary, they keep it while the share
// grows, and it is drawn independently of the experiment's arms.
func TestRolloutAssigns(t *testing.T) {
	b := newBench(t)
	b.beside("fraud", 2, constant(0.75))
	const customers = 2000
	r := Rollout{Decision: "experiment", CanaryVersion: 2}
	var before map[int]bool
	for _, r.Share = range []float64{0.1, 0.3, 1} {
		b.rollout(r)
		has, n, inArm := b.canaries("experiment", customers), 0, 0
		for customer := range customers {
			a := b.must("experiment", "", facts{"customer_id": 1000 + customer, "amount": 10.0})
			want := 0.3
			if strings.HasPrefix(a.Arm, "control") {
				inArm++
				if want = 0.7 * (1 - r.Share); has[customer] {
					want, n = 0.7*r.Share, n+1
				}
			} else if has[customer] || a.Model != "challenger" {
				t.Fatalf("customer %d: the arm %s has model %s version %d", customer, a.Arm, a.Model, a.ModelVersion)
			}
			if math.Abs(a.Propensity-want) > 1e-12 {
				t.Fatalf("customer %d: arm %s with propensity %v, want %v", customer, a.Arm, a.Propensity, want)
			}
			if before[customer] && !has[customer] {
				t.Fatalf("customer %d lost the canary as the share grew to %v", customer, r.Share)
			}
		}
		// Five standard deviations: what is drawn is fixed, so this never flakes.
		if got, slack := float64(n)/float64(inArm), 5*math.Sqrt(r.Share*(1-r.Share)/float64(inArm)); math.Abs(got-r.Share) > slack {
			t.Errorf("share %v of the arm has the canary, asked for %v", got, r.Share)
		}
		before = has
	}
	for _, s := range b.front.Stats().Decisions {
		if s.Decision == "experiment" && (len(s.Arms) != 2 || s.Arms[0].Answers[0]+s.Arms[0].Answers[1]+s.Arms[1].Answers[0]+s.Arms[1].Answers[1] != 6*customers || s.Answers[0]+s.Answers[1] != 6*customers) {
			t.Errorf("counts by arm %+v", s.Arms)
		}
	}
}

// TestRolloutLogs: the log has arm, propensity and version of who answered; after the end
// there is no trace of it.
func TestRolloutLogs(t *testing.T) {
	b := newBench(t)
	b.beside("fraud", 2, constant(0.75))
	b.rollout(Rollout{Decision: "bare", CanaryVersion: 2, Share: 0.5})
	has := map[bool]int{}
	for i := range 60 { // without a unit, each request is drawn for itself
		a := b.must("bare", "", facts{"customer_id": i, "amount": 1.0})
		has[a.ModelVersion == 2]++
	}
	if has[true] == 0 || has[false] == 0 {
		t.Fatalf("versions %v", has)
	}
	for _, r := range b.records(DecisionStream) {
		arm, version, score := "", int64(1), 0.25
		if r.Values[columnArm].Text() == CanaryArm {
			arm, version, score = CanaryArm, 2, 0.75
		}
		if v := r.Values; v[columnArm].Text() != arm || v[columnModelVersion].Int64() != version || v[columnScore].Float64() != score || v[columnPropensity].Float64() != 0.5 {
			t.Errorf("logged %v", v)
		}
	}
	s, ended := b.front.EndRollout("bare")
	if !ended || s.Canary.Decisions != int64(has[true]) || s.Rest.Decisions != int64(has[false]) || s.Canary.Answers[1] != s.Canary.Decisions || s.Rest.Answers[0] != s.Rest.Decisions ||
		math.Abs(s.Canary.ScoreSum-0.75*float64(has[true])) > 1e-9 || s.Canary.Scored != s.Canary.Decisions || s.Canary.Times.Count != s.Canary.Decisions || s.Canary.Failed+s.Canary.Degraded != 0 {
		t.Errorf("%v %+v", ended, s)
	}
	if a := b.must("bare", "", facts{"customer_id": 1, "amount": 1.0}); a.Arm != "" || a.Propensity != 1 || len(b.front.Rollouts()) != 0 {
		t.Errorf("after the end: %+v", a)
	}
	if _, ended := b.front.EndRollout("bare"); ended {
		t.Error("it ended twice")
	}
}

// TestRolloutDegrades: where the canary's version cannot answer, the current one does.
func TestRolloutDegrades(t *testing.T) {
	b := newBench(t)
	for name, v := range map[string]*fakeVersion{"fails": failing(errDown), "has no score": constant(math.NaN())} {
		b.beside("fraud", 2, v)
		b.rollout(Rollout{Decision: "payment", CanaryVersion: 2, Share: 1})
		for i := range breakerAfter + 2 {
			a := b.must("payment", "", payment(fmt.Sprint(name, i), 7, 10))
			if !a.Degraded || !strings.HasPrefix(a.DegradedReason, "canary: ") || a.Fallback != "" || a.Arm != CanaryArm || a.ModelVersion != 1 || a.Score != 0.25 || a.Propensity != 1 {
				t.Errorf("%s: %+v", name, a)
			}
		}
		s, _ := b.front.EndRollout("payment")
		if want := int64(breakerAfter + 2); s.Canary.Failed != want || s.Canary.Degraded != want || s.Canary.Decisions != want || s.Rest.Decisions != 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	// A rule that answers before the model says nothing of the canary.
	b.beside("fraud", 2, constant(0.75))
	b.rollout(Rollout{Decision: "payment", CanaryVersion: 2, Share: 1})
	b.must("payment", "", payment("rule", 13, 10))
	if s := b.front.Rollouts(); len(s) != 1 || s[0].Canary.Decisions != 0 {
		t.Errorf("a rule's answer is counted: %+v", s)
	}
	// The counts go on while the version stays.
	b.must("payment", "", payment("one", 8, 10))
	b.rollout(Rollout{Decision: "payment", CanaryVersion: 2, Share: 0.5})
	if s := b.front.Rollouts(); s[0].Canary.Decisions != 1 || s[0].Share != 0.5 {
		t.Errorf("%+v", s)
	}
}

// TestRolloutRefuses: a rollout that cannot run changes nothing.
func TestRolloutRefuses(t *testing.T) {
	b := newBench(t)
	b.beside("fraud", 2, constant(0.75))
	b.rollout(Rollout{Decision: "bare", CanaryVersion: 2, Share: 0.5})
	narrow := constant(1)
	narrow.inputs = []Tensor{{Name: "x", Datatype: narrow.inputs[0].Datatype, Width: 99}}
	b.beside("fraud", 4, narrow)
	for want, r := range map[string]Rollout{
		"no such decision":                     {Decision: "nothing", CanaryVersion: 2, Share: 0.1},
		"neither a canary_version":             {Decision: "bare"},
		"versions are numbers":                 {Decision: "bare", CanaryVersion: -1, Share: 0.1},
		"share is 0, it lies":                  {Decision: "bare", CanaryVersion: 2},
		"share is NaN":                         {Decision: "bare", CanaryVersion: 2, Share: math.NaN()},
		"shadow_share is 2":                    {Decision: "bare", ShadowVersion: 2, ShadowShare: 2},
		"share is for a version":               {Decision: "bare", Share: 0.1, ShadowVersion: 2, ShadowShare: 1},
		"no arm follows the current version":   {Decision: "bare", Model: "challenger", CanaryVersion: 2, Share: 0.1},
		"model fraud version 3":                {Decision: "bare", CanaryVersion: 3, Share: 0.1},
		"version 4 does not fit service fraud": {Decision: "bare", ShadowVersion: 4, ShadowShare: 1},
	} {
		if err := b.front.SetRollout(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", r, err, want)
		}
	}
	if s := b.front.Rollouts(); len(s) != 1 || s[0].CanaryVersion != 2 || s[0].Model != "fraud" {
		t.Errorf("%+v", s)
	}
	if err := b.front.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.front.SetRollout(Rollout{Decision: "bare", CanaryVersion: 2, Share: 1}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestRolloutShadow: a shadow that no policy knows is run and logged.
func TestRolloutShadow(t *testing.T) {
	b := newBench(t)
	b.beside("fraud", 2, constant(0.75))
	b.rollout(Rollout{Decision: "bare", ShadowVersion: 2, ShadowShare: 1})
	a := b.must("bare", "", facts{"customer_id": 1, "amount": 1.0})
	if a.ModelVersion != 1 || a.Arm != "" || a.Propensity != 1 {
		t.Errorf("%+v", a)
	}
	b.front.EndRollout("bare")
	b.must("bare", "", facts{"customer_id": 2, "amount": 1.0})
	if err := b.front.Close(); err != nil { // the shadows have run
		t.Fatal(err)
	}
	records := b.records(ShadowStream)
	if len(records) != 1 || records[0].ID != a.PredictionID || records[0].Values[2].Int64() != 2 || records[0].Values[3].Float64() != 0.75 {
		t.Errorf("logged %v", records)
	}
}

// TestRolloutConcurrent changes the split under requests, for the race detector.
func TestRolloutConcurrent(t *testing.T) {
	b := newBench(t)
	b.beside("fraud", 2, constant(0.75))
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for worker := range 3 {
		asking.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				a := b.must("bare", "", facts{"customer_id": worker, "amount": 1.0})
				if (a.Arm == CanaryArm) != (a.ModelVersion == 2) || a.Degraded {
					t.Errorf("%+v", a)
				}
			}
		})
	}
	deadline := time.Now().Add(300 * time.Millisecond)
	for i := 0; time.Now().Before(deadline); i++ {
		b.rollout(Rollout{Decision: "bare", CanaryVersion: 2, Share: 0.5, ShadowVersion: 2, ShadowShare: 0.1})
		_ = b.front.Rollouts()
		if i%3 == 0 {
			b.front.EndRollout("bare")
		}
	}
	close(stop)
	asking.Wait()
}

// TestRolloutAllocates nothing on the way of a decision.
func TestRolloutAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b := newBench(t)
	b.undisturbed()
	b.beside("fraud", 2, constant(0.75))
	measure := func() float64 {
		return testing.AllocsPerRun(200, func() {
			q, err := b.front.NewRequest("bare")
			if err == nil {
				err = errors.Join(q.SetInt("customer_id", 7), q.SetNumber("amount", 12))
			}
			if err == nil {
				_, err = b.front.Decide(t.Context(), q)
			}
			if err != nil {
				t.Error(err)
			}
			q.Release()
		})
	}
	measure()
	without := measure()
	b.rollout(Rollout{Decision: "bare", CanaryVersion: 2, Share: 0.5})
	measure()
	if with := measure(); with > without+0.5 {
		t.Errorf("%v allocations a decision with a canary, %v without", with, without)
	}
}
