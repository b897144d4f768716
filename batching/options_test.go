// SPDX-License-Identifier: Apache-2.0

package batching

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestOptionsDefaults(t *testing.T) {
	var o Options
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	if o.Instances != 1 || o.PriorityLevels != 1 || o.DefaultPriority != 1 || o.QueueItemsMax != DefaultQueueItemsMax {
		t.Errorf("defaults are %+v", o)
	}
}

func TestOptionsReportEverythingWrong(t *testing.T) {
	for _, c := range []struct {
		options Options
		want    []string
	}{
		{Options{MaxRows: -1, Instances: InstancesMax + 1}, []string{"MaxRows is -1", "Instances is 1025, it must be 1 to 1024"}},
		{Options{MaxRows: 4, PreferredSizes: []int{2, 5}}, []string{"PreferredSizes is 5, it must be 1 to 4"}},
		{Options{PriorityLevels: 3}, []string{"DefaultPriority is 0, it must be 1 to 3"}},
		{Options{PriorityLevels: math.MaxInt, DefaultPriority: 1}, []string{"PriorityLevels is 9223372036854775807"}},
		{Options{MaxQueueDelay: -1, LatencyObjective: -time.Second, QueueItemsMax: -2},
			[]string{"MaxQueueDelay is -1ns", "LatencyObjective is -1s", "QueueItemsMax is -2"}},
		{Options{LevelPolicies: map[int]QueuePolicy{2: {}}}, []string{"LevelPolicies is 2, it must be 1 to 1"}},
		{Options{Policy: QueuePolicy{DefaultTimeout: -1, MaxQueueSize: -1, Action: 7}},
			[]string{"level 1: DefaultTimeout is -1ns", "level 1: MaxQueueSize is -1", "level 1: Action is 7"}},
		{Options{PreserveOrdering: true, PriorityLevels: 2, DefaultPriority: 1, Policy: QueuePolicy{Action: TimeoutDelay}},
			[]string{"level 2: TimeoutDelay changes the order", "PreserveOrdering needs one priority level"}},
	} {
		_, err := New(c.options, &countingExecutor{}, nil)
		if !errors.Is(err, ErrInvalidOptions) {
			t.Errorf("%+v gave %v", c.options, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error %q does not say %q", err, want)
			}
		}
	}
}

func TestReasonsAreDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Reasons() {
		if r.String() == "" || seen[r.String()] || !strings.HasSuffix(r.Meaning(), ".") {
			t.Errorf("reason %d is called %q and means %q", r, r, r.Meaning())
		}
		seen[r.String()] = true
	}
	if len(seen) != 9 || ReasonCount.String() != "unknown" || ReasonCount.Meaning() == "" {
		t.Errorf("reasons are %v", seen)
	}
}

func TestTimesDoNotOverflow(t *testing.T) {
	if after(never-5, 10) != never || after(5, 10) != 15 || after(-7, math.MaxInt64) != never-7 {
		t.Error("after overflows")
	}
	if Nanos(epoch) == 0 {
		t.Error("a time is taken for none")
	}
}
