// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/featurestore/definition"
)

func (b *builder) baseThresholds(s block) {
	b.base = make([][]threshold, len(b.p.segments))
	n, ok := s.need("thresholds")
	if !ok {
		return
	}
	all, hasDefault := b.thresholds(n, b.base)
	if !hasDefault {
		b.r.fail(n, "default is missing: what is in no segment, or in one without thresholds, needs it")
	}
	b.base = all
	for i := range b.base {
		if b.base[i] == nil {
			b.base[i] = b.base[0]
		}
	}
}

// thresholds reads a row of thresholds per segment, and takes what is left out from base.
func (b *builder) thresholds(n node, base [][]threshold) (all [][]threshold, hasDefault bool) {
	all = slices.Clone(base)
	for _, e := range b.r.entries(n, "segments", segmentsMax+1) {
		i, ok := b.segments[e.key]
		if !ok {
			b.r.fail(e.keyAt, "unknown segment %s%s", e.key, orOneOf(e.key, names(b.segments)))
		}
		if row := b.row(e.value); ok {
			all[i] = row
		}
		hasDefault = hasDefault || e.key == segmentDefault
	}
	return all, hasDefault
}

// row reads thresholds from the highest to the last, which takes every score.
func (b *builder) row(n node) []threshold {
	items := b.r.items(n, "thresholds", 1, thresholdsMax)
	row := make([]threshold, 0, len(items))
	above := math.Inf(1)
	for i, item := range items {
		s, ok := b.r.block(item, "from", "decision", "reason")
		if !ok {
			continue
		}
		t := threshold{from: math.Inf(-1)}
		t.decision, t.reason = b.then(s)
		at, from := s.get("from")
		if from {
			if t.from, ok = b.r.number(at); !ok {
				continue
			}
		}
		switch {
		case math.IsInf(above, -1):
			b.r.fail(item, "is never reached: the one before takes every score")
		case t.from >= above:
			b.r.fail(at, "is never reached: scores from %v on are taken before; list the highest first", above)
		case from && i == len(items)-1:
			b.r.fail(item, "scores below %v get no decision: add a last threshold without from", t.from)
		}
		above = t.from
		row = append(row, t)
	}
	return row
}

func (b *builder) budget(s block) {
	n, ok := s.get("budget")
	if !ok {
		return
	}
	if s, ok = b.r.block(n, "total", "features", "model"); !ok {
		return
	}
	p := &b.p.Budget
	p.Total = s.duration("total", budgetMin, budgetMax)
	p.Features = s.duration("features", budgetMin, budgetMax)
	p.Model = s.duration("model", budgetMin, budgetMax)
	if p.Total > 0 && p.Features+p.Model > p.Total {
		b.r.fail(n, "features and model take %s, more than the total of %s",
			definition.FormatDuration(p.Features+p.Model), definition.FormatDuration(p.Total))
	}
}

func (b *builder) idempotency(s block) {
	n, ok := s.get("idempotency")
	if !ok {
		return
	}
	if s, ok = b.r.block(n, "field", "ttl"); !ok {
		return
	}
	if at, ok := s.get("field"); ok {
		b.p.Idempotency = b.identity(at)
	}
	if d := s.duration("ttl", time.Second, ttlMax); d > 0 {
		b.p.TTL = d
	}
}
