// SPDX-License-Identifier: Apache-2.0

package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/serving/frontend"
	policies "github.com/millrace-ml/millrace/serving/frontend/policy"
)

// fakeDecisions is one decision, whose rollout can be changed.
type fakeDecisions struct {
	policy  *policies.Policy
	rollout *frontend.Rollout
	by      string
}

func (f *fakeDecisions) Decisions() []DecisionState {
	d := DecisionState{
		Policy: f.policy, Model: "fraud", Current: 1, Previous: 4, Versions: []int64{3, 2}, Rollout: f.rollout, By: f.by, Run: evil, Fault: evil,
		Stats:      frontend.DecisionStats{Names: f.policy.Decisions, Answers: []int64{3, 1}, Arms: []frontend.ArmStats{{Arm: evil, Share: 1, Model: "fraud", Version: 1, Answers: []int64{3, 1}}}},
		Comparison: []ComparisonRow{{What: evil, Canary: evil}},
	}
	return []DecisionState{d}
}

func (f *fakeDecisions) SetRollout(_ context.Context, r frontend.Rollout, who string) error {
	if r.CanaryVersion == 9 {
		return errors.New("there is no version 9")
	}
	f.rollout, f.by = &r, who
	return nil
}

func (f *fakeDecisions) EndRollout(context.Context, string) error {
	f.rollout = nil
	return nil
}

func (f *fakeDecisions) PromoteCanary(context.Context, string) (int64, int64, error) {
	f.rollout = nil
	return 1, 2, nil
}

// TestDecisions: operators change rollouts and are on record, viewers look, and what users
// wrote is shown as text.
func TestDecisions(t *testing.T) {
	catalog, err := definition.Parse("f.yaml", []byte(`
entities: {customer: {key: customer_id, type: int64}}
sources: {payments: {push: true, id: payment, timestamp: at, fields: {payment: string, at: timestamp, customer_id: int64, amount: float64}}}
views: {spent: {entity: customer, source: payments, features: {payments: {function: count, window: 1d}}}}
services: {fraud: {model: fraud, features: [spent.payments]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	all, err := policies.Parse(catalog, "d.yaml", []byte(`
decisions:
  pay:
    description: '<script>alert("x")</script>'
    service: fraud
    decisions: [approve, block]
    thresholds: {default: [{from: 0.5, decision: block}, {decision: approve}]}
    fallback: [{default: {decision: approve}}]
`))
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, people)
	fake := &fakeDecisions{policy: all[0]}
	s.console.options.Decisions = fake
	mux := http.NewServeMux()
	s.console.Routes(mux)
	s.Config.Handler = mux

	viewer, operator := s.browser(t, "v"+secret), s.browser(t, "o"+secret)
	const page = "/console/decisions/pay"
	form := url.Values{"version": {"2"}, "percent": {"25"}}
	for _, action := range []string{"canary", "shadow", "end", "promote", "rollback"} {
		if status, _ := s.post(t, viewer, page+"/"+action, form); status != http.StatusForbidden {
			t.Errorf("a viewer may %s: %d", action, status)
		}
	}
	if status, text := s.post(t, operator, page+"/canary", form); status != http.StatusOK || fake.rollout == nil || fake.rollout.CanaryVersion != 2 || fake.rollout.Share != 0.25 || fake.by != "bob" {
		t.Fatalf("%d %+v\n%.500s", status, fake.rollout, text)
	}
	if status, _ := s.post(t, operator, page+"/shadow", form); status != http.StatusOK || fake.rollout.ShadowShare != 0.25 || fake.rollout.CanaryVersion != 2 {
		t.Errorf("%d %+v", status, fake.rollout)
	}
	if status, text := s.post(t, operator, page+"/canary", url.Values{"version": {"9"}, "percent": {"1"}}); status != http.StatusConflict || !strings.Contains(text, "there is no version 9") {
		t.Errorf("%d %.500s", status, text)
	}
	for _, path := range []string{"/console/decisions", page} {
		for who, client := range map[string]*http.Client{"viewer": viewer, "operator": operator} {
			status, text := s.get(t, client, path)
			if status != http.StatusOK || strings.Contains(text, evil) || strings.Contains(text, "<form method=\"post\" action=\""+page) != (who == "operator" && path == page) {
				t.Errorf("%s of %s: %d\n%s", path, who, status, text)
			}
		}
	}
	if status, _ := s.post(t, operator, page+"/promote", nil); status != http.StatusOK || fake.rollout != nil {
		t.Errorf("promote: %d", status)
	}
	var got []string
	for _, e := range s.trail.entries {
		got = append(got, e.Who+" "+e.Action+" "+e.Subject+" "+e.Detail+e.Error)
	}
	want := "bob canary pay version 2 of fraud on 25 %, bob shadow pay version 2 of fraud on 25 %, bob canary pay version 9 of fraud on 1 %there is no version 9, bob promote canary fraud version 2 in place of 1, tried by pay"
	if strings.Join(got, ", ") != want {
		t.Errorf("audit trail\n%s, want\n%s", strings.Join(got, ", "), want)
	}
}
