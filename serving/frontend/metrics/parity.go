// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/featurestore/dataset"
)

var (
	verified     = counter("millrace_feature_verified_total", "Served values that were computed again from the log.", "service", "feature")
	mismatched   = counter("millrace_feature_mismatches_total", "Served values that the log does not bear out.", "service", "feature")
	unverified   = counter("millrace_feature_unverified_total", "Served vectors that could not be computed again, by reason.", "reason")
	verifyFaults = counter("millrace_feature_verify_failures_total", "Verifications that could not be done.")
)

// parity sums what verifications found.
type parity struct {
	mu struct {
		sync.Mutex
		features map[[2]string]*parityCounts // by service and feature
		skipped  map[string]int64
		faults   int64
	}
}

type parityCounts struct{ compared, mismatched int64 }

// AddParity adds what a verification found; nil counts one that failed.
func (c *Collector) AddParity(p *dataset.Parity) {
	s := &c.parity
	s.mu.Lock()
	defer s.mu.Unlock()
	if p == nil {
		s.mu.faults++
		return
	}
	if s.mu.features == nil {
		s.mu.features, s.mu.skipped = map[[2]string]*parityCounts{}, map[string]int64{}
	}
	for i := range p.Features {
		f := &p.Features[i]
		name := [2]string{f.Service, f.Feature}
		if s.mu.features[name] == nil {
			s.mu.features[name] = &parityCounts{}
		}
		s.mu.features[name].compared += f.Compared
		s.mu.features[name].mismatched += f.Mismatched
	}
	for reason, n := range p.Skipped {
		s.mu.skipped[reason] += n
	}
}

func (s *parity) collect(to chan<- prometheus.Metric) {
	e := emitter{to}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, n := range s.mu.features {
		e.one(verified, float64(n.compared), name[0], name[1])
		e.one(mismatched, float64(n.mismatched), name[0], name[1])
	}
	for reason, n := range s.mu.skipped {
		e.one(unverified, float64(n), reason)
	}
	e.one(verifyFaults, float64(s.mu.faults))
}
