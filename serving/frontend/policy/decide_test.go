// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// usual are the facts and features of a payment that nothing speaks against.
func usual(changes map[string]any) map[string]any {
	values := map[string]any{
		"customer_id": 7., "terminal_id": 9., "amount": 20., "event_timestamp": 1.7e15, "transaction_id": 1., "currency": "EUR",
		"channel": "pos", "during_night": 0., "customer_payments__payments_1d": 3., "mean_7d": 25., "risk_7d": 0.01, "country": "FR",
	}
	for name, v := range changes {
		if values[name] = v; v == nil {
			delete(values, name)
		}
	}
	return values
}

func show(o *Outcome) string {
	codes := make([]string, len(o.Reasons))
	for i, r := range o.Reasons {
		codes[i] = r.Code
	}
	return fmt.Sprintf("%s rule=%s segment=%s [%s]", o.Decision, o.Rule, o.Segment, strings.Join(codes, " "))
}

// TestExample decides as testdata/decisions.yaml says, row by row.
func TestExample(t *testing.T) {
	p := example(t)
	const control, strict = 0, 1
	type values = map[string]any
	for _, row := range []struct {
		name   string
		values values
		arm    int
		score  float64
		want   string
	}{
		{"low score", nil, control, 0.1, "approve rule= segment= []"},
		{"review", nil, control, 0.5, "review rule= segment= [HIGH_RISK]"},
		{"just below", nil, control, 0.49999, "approve rule= segment= []"},
		{"block", nil, control, 0.8, "block rule= segment= [HIGH_RISK]"},
		{"above all", nil, control, 7, "block rule= segment= [HIGH_RISK]"},
		{"below all", nil, control, -7, "approve rule= segment= []"},
		{"the other arm", nil, strict, 0.4, "block rule= segment= [HIGH_RISK]"},
		{"the other arm, below", nil, strict, 0.39, "approve rule= segment= []"},
		{"large", values{"amount": 501.}, control, 0.4, "review rule= segment=large [HIGH_RISK]"},
		{"large blocks never", values{"amount": 501.}, control, 0.9, "review rule= segment=large [HIGH_RISK]"},
		{"not yet large", values{"amount": 500.}, control, 0.4, "approve rule= segment= []"},
		{"large in the other arm keeps its own", values{"amount": 501.}, strict, 0.35, "review rule= segment=large [HIGH_RISK]"},
		{"cash has the default", values{"channel": "atm"}, control, 0.5, "review rule= segment=cash [HIGH_RISK]"},
		{"cash has the arm's default", values{"channel": "atm"}, strict, 0.4, "block rule= segment=cash [HIGH_RISK]"},
		{"the first segment counts", values{"channel": "atm", "amount": 501.}, control, 0.1, "approve rule= segment=large []"},
		{"after", values{"during_night": 1.}, control, 0.31, "review rule=night_review segment= [NIGHT]"},
		{"after, not reached", values{"during_night": 1.}, control, 0.3, "approve rule= segment= [NIGHT]"},
		{"after, another decision", values{"during_night": 1.}, control, 0.5, "review rule= segment= [HIGH_RISK NIGHT]"},
		{"after, by segment and arm", values{"channel": "atm", "risk_7d": 0.}, control, 0.9, "approve rule=trusted segment=cash [HIGH_RISK]"},
		{"after, another arm", values{"channel": "atm", "risk_7d": 0.}, strict, 0.9, "block rule= segment=cash [HIGH_RISK]"},
		{"a null matches nothing", values{"channel": nil, "country": nil, "during_night": nil}, control, 0.35, "approve rule= segment= []"},
		{"reasons in order, none twice", values{"country": "IT", "during_night": 1.}, control, 0.9, "block rule= segment= [HIGH_RISK NIGHT FOREIGN]"},
	} {
		f, o := p.NewFacts(), Outcome{}
		set(t, p, f, usual(row.values))
		if err := f.Check(); err != nil {
			t.Fatal(err)
		}
		if p.Before(f, &o) {
			t.Errorf("%s: a rule before the model answers: %s", row.name, show(&o))
		}
		if !p.Decide(f, row.arm, row.score, &o) {
			t.Errorf("%s: no decision", row.name)
		}
		if got := show(&o); got != row.want {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
	}
}

// TestExampleWithoutModel: the rules before the model, and the fallback.
func TestExampleWithoutModel(t *testing.T) {
	p := example(t)
	f, o := p.NewFacts(), Outcome{}
	set(t, p, f, usual(map[string]any{"terminal_id": 2., "during_night": 1.}))
	if !p.Before(f, &o) || show(&o) != "block rule=blocked_terminal segment= [BLOCKED_TERMINAL NIGHT]" {
		t.Errorf("before: %s", show(&o))
	}
	if o.Reasons[0].Text != "the terminal is blocked" {
		t.Errorf("the reason is %q", o.Reasons[0].Text)
	}
	for amount, want := range map[float64]string{
		1001: "1 review rule=fallback[1].rules[0] segment= [MODEL_DOWN NIGHT]",
		1000: "2 approve rule= segment= [MODEL_DOWN NIGHT]",
	} {
		set(t, p, f, usual(map[string]any{"amount": amount, "during_night": 1.}))
		step := 0
		for !p.Fallback(step, f, &o) {
			step++
		}
		if got := fmt.Sprint(step, " ", show(&o)); got != want {
			t.Errorf("amount %v: got %s, want %s", amount, got, want)
		}
	}
	var kinds []string
	for _, s := range p.Ladder {
		kinds = append(kinds, s.Kind.String())
	}
	if got := strings.Join(kinds, " "); got != "previous_version rules default" {
		t.Errorf("the ladder is %s", got)
	}
	// Features that came too late are null, facts of the same name are not.
	set(t, p, f, usual(map[string]any{"amount": 1001., "during_night": 1.}))
	f.ClearFeatures()
	if !p.Fallback(1, f, &o) || show(&o) != "review rule=fallback[1].rules[0] segment= [MODEL_DOWN]" {
		t.Errorf("without features: %s", show(&o))
	}
	// The rules before the model hold then, too (P5).
	set(t, p, f, usual(map[string]any{"amount": 1001., "terminal_id": 1.}))
	f.ClearFeatures()
	if p.Fallback(0, f, &o) {
		t.Error("the previous version is not for the policy to run")
	}
	for step := 1; step <= 2; step++ {
		if !p.Fallback(step, f, &o) || show(&o) != "block rule=blocked_terminal segment= [BLOCKED_TERMINAL]" {
			t.Errorf("step %d of the fallback passes a rule by: %s", step, show(&o))
		}
	}
}

// TestNothingIsLeftOver: what one decision set is not seen by the next on the same facts.
func TestNothingIsLeftOver(t *testing.T) {
	p := parseOne(t, `
decisions:
  pay:
    service: fraud
    decisions: [ok, no]
    reasons: {SCORED: a model answered, SEGMENT: it has a segment, ARM: it has an arm}
    segments: [{name: any, when: true}]
    thresholds: {default: [{decision: ok}]}
    explain:
      rules:
        - {code: SCORED, when: not is_null(score)}
        - {code: SEGMENT, when: not is_null(segment)}
        - {code: ARM, when: not is_null(arm)}
    unit: customer_id
    experiment: {salt: x, arms: [{name: a, share: 1}]}
    fallback: [default: {decision: no}]
`)
	f, o := p.NewFacts(), Outcome{}
	for range 2 {
		if !p.Decide(f, 0, 0.5, &o) || show(&o) != "ok rule= segment=any [SCORED SEGMENT ARM]" {
			t.Errorf("decide: %s", show(&o))
		}
		if !p.Fallback(0, f, &o) || show(&o) != "no rule= segment= []" {
			t.Errorf("fallback: %s", show(&o))
		}
	}
}

// TestThresholdsAgreeWithSearch holds the walk through random thresholds to the obvious
// rule: the highest one not above the score.
func TestThresholdsAgreeWithSearch(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		n := 1 + random.IntN(8)
		from := make([]float64, n)
		var rows, names []string
		above := 1.
		for i := range from {
			above -= 0.01 + random.Float64()*0.1
			from[i] = above
			names = append(names, fmt.Sprintf("d%d", i))
			rows = append(rows, fmt.Sprintf("{from: %v, decision: d%d}", above, i))
		}
		p := parseOne(t, "decisions:\n  pay:\n    service: fraud\n    decisions: ["+strings.Join(names, ", ")+", rest]\n"+
			"    thresholds: {default: ["+strings.Join(rows, ", ")+", {decision: rest}]}\n")
		f, o := p.NewFacts(), Outcome{}
		for range 50 {
			score := random.Float64()
			if random.IntN(2) == 0 {
				score = from[random.IntN(n)]
			}
			want, best := "rest", nan
			for i, x := range from {
				if x <= score && !(best >= x) {
					want, best = names[i], x
				}
			}
			if !p.Decide(f, 0, score, &o) || o.Decision != want || p.Decisions[o.Place] != want {
				t.Fatalf("score %v of %v: %s, want %s", score, from, o.Decision, want)
			}
		}
	}
}

// TestFields: what a front-end works with.
func TestFields(t *testing.T) {
	p := example(t)
	var facts []string
	for i, f := range p.Facts {
		facts = append(facts, fmt.Sprintf("%s:%s:%t", f.Name, f.Type, f.Required))
		if p.Place(f.Name) != i {
			t.Errorf("%s is at %d", f.Name, p.Place(f.Name))
		}
	}
	want := "customer_id:int64:true terminal_id:int64:true amount:float64:true event_timestamp:timestamp:false " +
		"transaction_id:int64:true currency:string:true channel:string:false items:int64:false"
	if got := strings.Join(facts, " "); got != want || p.Keys != 2 || p.ServiceFacts != 4 {
		t.Errorf("facts are %s, %d keys, %d of the service", got, p.Keys, p.ServiceFacts)
	}
	if p.Place("mean_7d") >= 0 || p.Place("score") >= 0 {
		t.Error("features and variables are no facts")
	}
	// What the source demands: an amount from 0 on, one of three channels, an id.
	if f := p.Facts[2]; f.Min != 0 {
		t.Errorf("amount from %v on", f.Min)
	}
	if f := p.Facts[6]; strings.Join(f.Values, " ") != "pos web atm" {
		t.Errorf("channels are %v", f.Values)
	}
	if got := fmt.Sprint(p.Event.Source.Name, p.Event.Facts); got != "payments[4 3 0 1 2 6 -1]" {
		t.Errorf("the event is %s", got)
	}
	if p.Unit != 0 || p.Idempotency != 4 || p.TTL.Hours() != 12 || p.Budget.Total.Milliseconds() != 50 || p.Budget.Features.Milliseconds() != 5 || p.Budget.Model.Milliseconds() != 20 {
		t.Errorf("unit %d, idempotency %d for %v, budget %+v", p.Unit, p.Idempotency, p.TTL, p.Budget)
	}
	champion := Model{Name: "fraud", Version: "champion", Output: "probabilities", Class: 1}
	challenger := Model{Name: "fraud", Version: "challenger", Output: "probabilities", Class: 1}
	next := Model{Name: "fraud_next", Output: "probabilities", Class: 1}
	if p.Arms[0].Model != champion || p.Arms[1].Model != challenger || p.Shadows[0].Model != next {
		t.Errorf("models are %+v, %+v, %+v", p.Arms[0].Model, p.Arms[1].Model, p.Shadows[0].Model)
	}
	env := p.Env()
	if len(env) != 8+6+4 || env[p.FeaturePlace()].Name != "" || env[p.FeaturePlace()+1].Name != "during_night" || env[17].Name != "arm" {
		t.Errorf("the environment is %v", env)
	}
	if len(p.Reasons()) != 7 {
		t.Errorf("reasons are %v", p.Reasons())
	}

	least := parseOne(t, "decisions: {pay: {service: fraud, decisions: [ok], thresholds: {default: [{decision: ok}]}}}\n")
	if least.Unit != -1 || least.Idempotency != -1 || least.TTL.Hours() != 24 || least.Event != nil || least.Budget != (Budget{}) || len(least.Ladder) > 0 {
		t.Errorf("defaults are %+v", least)
	}
	if m := least.Arms[0].Model; m != (Model{Name: "fraud", Class: -1}) {
		t.Errorf("the service's model is %+v", m)
	}
}

func TestNoAllocation(t *testing.T) {
	p := example(t)
	f, o := p.NewFacts(), Outcome{}
	set(t, p, f, usual(map[string]any{"during_night": 1., "country": "IT"}))
	numbers, texts, status := vector(p)
	decided := 0
	once := func() {
		f.Reset()
		if f.SetInt(0, 1234567890123) != nil || f.SetInt(1, 9) != nil || f.SetNumber(2, 20) != nil || f.SetInt(4, 5) != nil ||
			f.SetText(5, "EUR") != nil || f.Check() != nil || f.SetFeatures(numbers, texts, status) != nil {
			t.Error("a fact is refused")
		}
		arm, _ := p.AssignInt(1234567890123)
		if p.Shadows[0].Sampled("01h455vb4pex5vsknk084sn02q") {
			decided++
		}
		if !p.Before(f, &o) && p.Decide(f, arm, 0.9, &o) {
			decided++
		}
		for i := range p.Ladder {
			if p.Fallback(i, f, &o) {
				decided++
			}
		}
	}
	if n := testing.AllocsPerRun(100, once); n != 0 || decided == 0 {
		t.Errorf("%v allocations, %d decisions", n, decided)
	}
}
