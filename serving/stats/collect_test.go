// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestTags: whatever a configuration has for tags, the scrape succeeds.
func TestTags(t *testing.T) {
	got := constLabels(ID{Model: "a\xffb", Version: 12, Tags: map[string]string{
		"team": "search", "data-set": "x\xfe", "data.set": "lost", "": "empty", "9lives": "cat",
		"__name__": "n", "model": "m", "version": "v", "le": "l", "Größe": "1",
	}})
	want := prometheus.Labels{
		"model": "a\uFFFDb", "version": "12", "team": "search", "data_set": "x\uFFFD", "tag_": "empty", "tag_9lives": "cat",
		"tag___name__": "n", "tag_model": "m", "tag_version": "v", "tag_le": "l", "Gr__e": "1",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("labels are\n%q\nwant\n%q", got, want)
	}
	r := newTestRegistry(true)
	r.Open(ID{Model: "\xff", Tags: map[string]string{"reason": "x", "cause": "y", "__a": "z"}})
	if n, err := testutil.GatherAndCount(gatherer(t, r)); err != nil || n == 0 {
		t.Errorf("gathered %d metrics: %v", n, err)
	}
}

// TestRepeatedReasonFailsTheScrape: a batcher that breaks its promise is told of.
func TestRepeatedReasonFailsTheScrape(t *testing.T) {
	r := newTestRegistry(false)
	r.Open(ID{Model: "m"}).SetBatching(func() BatchingSnapshot {
		return BatchingSnapshot{Rejections: []Rejections{{Cause: "full"}, {Cause: "full"}}}
	})
	if _, err := gatherer(t, r).Gather(); err == nil {
		t.Error("gathering two values of one cause succeeds")
	}
}

func gatherer(t *testing.T, c prometheus.Collector) prometheus.Gatherer {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	return registry
}
