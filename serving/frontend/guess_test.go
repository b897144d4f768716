// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"context"
	"errors"
	"testing"
)

// TestGuess: a guess has the score that a decision would have, and leaves no trace.
func TestGuess(t *testing.T) {
	b := newBench(t)
	var seen []float64
	b.models.set("fraud", 2, vectorVersion(func(_ context.Context, numbers []float64) (float64, error) {
		seen = append(seen[:0], numbers...)
		return 0.75, nil
	}))
	guess := func(numbers []float64, texts []string, f facts) (*Answer, error) {
		t.Helper()
		q, err := b.front.NewRequest("payment")
		if err != nil {
			t.Fatal(err)
		}
		defer q.Release()
		if err := setFacts(q, "", f); err != nil {
			t.Fatal(err)
		}
		a, err := b.front.Guess(t.Context(), q, numbers, texts)
		if err != nil {
			return nil, err
		}
		copied := *a
		return &copied, nil
	}
	a, err := guess(nil, nil, payment("1", 7, 10))
	if err != nil || a.Score != 0.75 || a.Model != "fraud" || a.ModelVersion != 2 {
		t.Fatalf("%+v, %v", a, err)
	}
	vector := append([]float64(nil), seen...)
	vector[0] = 123
	if a, err = guess(vector, nil, nil); err != nil || a.Score != 0.75 || seen[0] != 123 {
		t.Errorf("by a vector: %+v, %v; the model saw %v", a, err, seen)
	}
	if _, err = guess([]float64{1}, nil, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("a vector that is too short: %v", err)
	}
	if _, err = guess(nil, nil, facts{"customer_id": 7}); !errors.Is(err, ErrInvalid) {
		t.Errorf("facts that are missing: %v", err)
	}
	b.models.set("fraud", 3, failing(errDown))
	if _, err = guess(vector, nil, nil); !errors.Is(err, ErrUnavailable) || !errors.Is(err, errDown) {
		t.Errorf("a model that is down: %v", err)
	}
	for _, s := range b.front.Stats().Decisions {
		if s.Failed != 0 || s.Refused != 0 || s.Times.Count != 0 {
			t.Errorf("it was counted: %+v", s)
		}
	}
	if all := b.records(DecisionStream); len(all) != 0 {
		t.Errorf("it was logged: %v", all)
	}
}
