// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"slices"
	"testing"
)

// TestEarlyFrom: of decisions whose window is not over those are there that an analyst was
// asked about, whichever way the answer went and whoever spoke since; those of which only the
// bank spoke, which speaks of frauds alone, are not.
func TestEarlyFrom(t *testing.T) {
	w := newWorld(t, fraud())
	at := begin + 500*second
	w.clock.at = at
	for _, id := range []string{"yes", "no", "both", "bank", "nothing", "withdrawn"} {
		w.predict(prediction{id: id, time: at - 50*second, arrival: at - 50*second, decision: "payment", model: "m1"})
	}
	for _, id := range []string{"old", "old-bank"} {
		w.predict(prediction{id: id, time: at - 200*second, arrival: at - 200*second, decision: "payment", model: "m1"})
	}
	say := func(id, source string, value bool, event int64) {
		w.accept(Feedback{ID: id + source, Name: "is_fraud", PredictionID: id, Kind: KindOutcome, Value: Bool(value), Source: source, EventTime: event})
	}
	say("yes", "analyst", true, at)
	say("no", "analyst", false, at)
	say("both", "analyst", true, at)
	say("both", "chargeback", true, at)
	say("bank", "chargeback", true, at)
	say("withdrawn", "analyst", true, at)
	w.accept(Feedback{ID: "withdrawnanalyst", Name: "is_fraud", PredictionID: "withdrawn", Kind: KindCorrection, Source: "analyst", EventTime: at})
	say("old-bank", "chargeback", true, at-150*second)
	found := func(o JoinOptions) (ids []string) {
		o.Label, o.MatureOnly, o.LabelledOnly = w.labels[0], true, true
		for id := range w.join(o) {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		return ids
	}
	if got := found(JoinOptions{EarlyFrom: []string{"analyst"}}); !slices.Equal(got, []string{"both", "no", "old", "old-bank", "yes"}) {
		t.Errorf("with what analysts said early there are %v", got)
	}
	if got := found(JoinOptions{}); !slices.Equal(got, []string{"old", "old-bank"}) {
		t.Errorf("without there are %v", got)
	}
	if got := found(JoinOptions{EarlyFrom: []string{"analyst"}, AsOf: at - 10*second}); !slices.Equal(got, []string{"old", "old-bank"}) {
		t.Errorf("before the analysts spoke there are %v", got)
	}
}
