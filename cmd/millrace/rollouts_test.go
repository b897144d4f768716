// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// TestTakeBackLeavesOthers: a run whose canary somebody replaced by another one ends, and the
// other one goes on.
func TestTakeBackLeavesOthers(t *testing.T) {
	for version, want := range map[int64]int{3: 0, 9: 1} {
		ended := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			state := rolloutReport{Decision: "order", Current: 2, Active: true, CanaryVersion: 9, By: "somebody"}
			if r.Method == http.MethodDelete {
				ended++
				state.Active = false
			}
			if err := json.NewEncoder(w).Encode(&state); err != nil {
				t.Error(err)
			}
		}))
		trial := canaryTrial{
			host: &taskHost{project: &project{Models: t.TempDir()}}, with: &canaryWith{Decision: "order", Model: "risk"}, call: &orchestrator.Call{Pipeline: "ship"},
			server: &rolloutClient{address: strings.TrimPrefix(server.URL, "http://"), decision: "order", model: "risk"},
		}
		if err := trial.takeBack(t.Context(), version, false, "a test"); err != nil {
			t.Error(err)
		}
		if server.Close(); ended != want {
			t.Errorf("the canary of version 9 was ended %d times when version %d was taken back", ended, version)
		}
	}
}

// TestCanarySides: arms that name a version themselves are no side of a comparison.
func TestCanarySides(t *testing.T) {
	arm := func(name, model, version string) policy.Arm {
		return policy.Arm{Name: name, Model: policy.Model{Name: model, Version: version}}
	}
	for _, c := range []struct {
		arms []policy.Arm
		want map[string]bool
	}{
		{[]policy.Arm{arm("", "risk", "")}, map[string]bool{"": false, "canary": true}},
		{[]policy.Arm{arm("a", "risk", ""), arm("b", "risk", "1"), arm("c", "other", "")}, map[string]bool{"a": false, "a/canary": true}},
	} {
		if got := canarySides(&policy.Policy{Arms: c.arms}, "risk"); !maps.Equal(got, c.want) {
			t.Errorf("%v, want %v", got, c.want)
		}
	}
}

// countedRows are rows an hour apart.
type countedRows struct {
	row  backtestRow
	n, i int
}

func (c *countedRows) next() (*backtestRow, error) {
	if c.i++; c.i > c.n {
		return nil, nil
	}
	c.row = backtestRow{prediction: monitor.Prediction{ID: strconv.Itoa(c.i), Time: int64(c.i) * dayMicros / 24, Score: 0.5}, label: float64(c.i % 2)}
	return &c.row, nil
}

// TestFirstDaysAreAllOfThem: of more rows than are held those are taken that are of all days,
// and each keeps its label.
func TestFirstDaysAreAllOfThem(t *testing.T) {
	predictions, labels, next, err := firstDays(t.Context(), &countedRows{n: 5000}, 100, 500)
	if err != nil || next.prediction.ID != "2401" {
		t.Fatalf("next is %+v, %v", next, err)
	}
	var late int
	for i, p := range predictions {
		if p.Time > 50*dayMicros {
			late++
		}
		if id, _ := strconv.Atoi(p.ID); labels[i] != float64(id%2) {
			t.Fatalf("prediction %s has the label %v", p.ID, labels[i])
		}
	}
	if n := len(predictions); n > 500 || n < 200 || late < n/3 || late > 2*n/3 {
		t.Error(fmt.Sprint(n, " predictions, of the second half ", late))
	}
}
