// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/evaluation/interval"
)

const (
	// canaryCertainAfter is from how many decisions on a canary may fail before there are
	// enough: by then, because it is certain.
	canaryCertainAfter = 20
	// canaryRestMin is how many decisions the rest needs to be compared with.
	canaryRestMin = 20
	// canarySlowerMicros is by how much the canary has to be slower to fail for it: below a
	// millisecond, caches and timers are most of a ratio.
	canarySlowerMicros = 1000
	canaryLevel        = 0.95
)

// canaryVerdict is a comparison of a canary with the rest.
type canaryVerdict struct {
	Decision string `json:"decision"`
	Model    string `json:"model"`
	Version  int64  `json:"version"`
	Against  int64  `json:"against"`
	Ended    bool   `json:"ended"`
	Passed   bool   `json:"passed"`
	// Reasons say why it failed.
	Reasons []string `json:"reasons,omitempty"`
	// LatencyRatio is of the 95 % quantiles, 0 if unknown; ScoreShift of the means.
	LatencyRatio float64        `json:"latency_ratio"`
	ScoreShift   float64        `json:"score_shift"`
	Answers      []canaryAnswer `json:"answers"`
	Canary       rolloutSide    `json:"canary"`
	Rest         rolloutSide    `json:"rest"`
	// Outcomes are those of decisions whose label is mature, nil for none; BrierRise is the
	// canary's Brier score less that of the rest.
	Outcomes  *rolloutOutcomes `json:"outcomes,omitempty"`
	BrierRise float64          `json:"brier_rise"`
	// Lines are the comparison for people.
	Lines []string `json:"-"`
}

// canaryAnswer compares how often an answer is given: Difference is canary less rest, with
// its 95 % interval.
type canaryAnswer struct {
	Answer     string  `json:"answer"`
	Canary     float64 `json:"canary"`
	Rest       float64 `json:"rest"`
	Difference float64 `json:"difference"`
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
}

// judgeCanary compares. The verdict has ended when there are enough decisions, or it is
// certain that the canary fails.
func judgeCanary(w *canaryWith, s *rolloutReport) *canaryVerdict {
	v := &canaryVerdict{Decision: s.Decision, Model: s.Model, Version: s.CanaryVersion, Against: s.Current, Canary: s.Canary, Rest: s.Rest, Outcomes: s.Outcomes}
	c, r := &v.Canary, &v.Rest
	excess := c.DegradedRate - r.DegradedRate
	if c.Decisions >= canaryCertainAfter {
		low, _, err := interval.Wilson(int(c.Degraded), int(c.Decisions), canaryLevel)
		v.Ended = err == nil && low > r.DegradedRate+*w.MaxDegraded
	}
	enough := c.Decisions >= w.Decisions && r.Decisions >= min(canaryRestMin, w.Decisions)
	if w.WaitOutcomes > 0 {
		enough = enough && s.Outcomes != nil && s.Outcomes.Canary.Known >= w.WaitOutcomes && s.Outcomes.Rest.Known > 0
	}
	if v.Ended = v.Ended || enough; !v.Ended {
		return v
	}
	if excess > *w.MaxDegraded {
		v.Reasons = append(v.Reasons, fmt.Sprintf("%.2f %% of its answers are degraded, of the rest %.2f %%: more than max_degraded %.4g above", 100*c.DegradedRate, 100*r.DegradedRate, *w.MaxDegraded))
	}
	if enough {
		v.times(w)
		v.scores(w)
		v.outcomes(w)
	}
	v.answers()
	v.Passed = len(v.Reasons) == 0
	v.Lines = append([]string{fmt.Sprintf("version %d: %d decisions, %.2f %% degraded, %d without an answer of the version; version %d: %d decisions, %.2f %% degraded",
		v.Version, c.Decisions, 100*c.DegradedRate, c.Failed, v.Against, r.Decisions, 100*r.DegradedRate)}, v.Lines...)
	return v
}

func (v *canaryVerdict) times(w *canaryWith) {
	if v.Rest.P95Micros <= 0 {
		return
	}
	v.LatencyRatio = v.Canary.P95Micros / v.Rest.P95Micros
	v.Lines = append(v.Lines, fmt.Sprintf("95 %% of its answers take at most %.0f µs, of the rest %.0f µs", v.Canary.P95Micros, v.Rest.P95Micros))
	if v.LatencyRatio > w.MaxLatencyRatio && v.Canary.P95Micros-v.Rest.P95Micros > canarySlowerMicros {
		v.Reasons = append(v.Reasons, fmt.Sprintf("it is slow: 95 %% of its answers take at most %.0f µs, of the rest %.0f µs, a ratio of %.2f above max_latency_ratio %.4g", v.Canary.P95Micros, v.Rest.P95Micros, v.LatencyRatio, w.MaxLatencyRatio))
	}
}

// scores compares means; the interval of their difference is Welch's, by the normal
// distribution.
func (v *canaryVerdict) scores(w *canaryWith) {
	c, r := &v.Canary, &v.Rest
	if c.Scored == 0 || r.Scored == 0 {
		return
	}
	v.ScoreShift = c.ScoreMean - r.ScoreMean
	reach := 1.96 * math.Sqrt(c.ScoreStdDev*c.ScoreStdDev/float64(c.Scored)+r.ScoreStdDev*r.ScoreStdDev/float64(r.Scored))
	v.Lines = append(v.Lines, fmt.Sprintf("mean score %.4g, of the rest %.4g: %+.4g (%+.4g to %+.4g)", c.ScoreMean, r.ScoreMean, v.ScoreShift, v.ScoreShift-reach, v.ScoreShift+reach))
	if w.MaxScoreShift != nil && math.Abs(v.ScoreShift) > *w.MaxScoreShift {
		v.Reasons = append(v.Reasons, fmt.Sprintf("its mean score is %.4g, of the rest %.4g: further apart than max_score_shift %.4g", c.ScoreMean, r.ScoreMean, *w.MaxScoreShift))
	}
}

// answers compares shares of answers, by Newcombe's interval for a difference (1998, his
// method 10), which takes Wilson's of each.
func (v *canaryVerdict) answers() {
	c, r := &v.Canary, &v.Rest
	if c.Decisions == 0 || r.Decisions == 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.Answers)) {
		low1, high1, err1 := interval.Wilson(int(c.Answers[name]), int(c.Decisions), canaryLevel)
		low2, high2, err2 := interval.Wilson(int(r.Answers[name]), int(r.Decisions), canaryLevel)
		if err1 != nil || err2 != nil {
			continue // the counts were read while they moved
		}
		p1, p2 := float64(c.Answers[name])/float64(c.Decisions), float64(r.Answers[name])/float64(r.Decisions)
		a := canaryAnswer{Answer: name, Canary: p1, Rest: p2, Difference: p1 - p2}
		a.Low = a.Difference - math.Hypot(p1-low1, high2-p2)
		a.High = a.Difference + math.Hypot(high1-p1, p2-low2)
		v.Answers = append(v.Answers, a)
		v.Lines = append(v.Lines, fmt.Sprintf("%s: %.2f %%, of the rest %.2f %%: %+.2f points (%+.2f to %+.2f)", name, 100*p1, 100*p2, 100*a.Difference, 100*a.Low, 100*a.High))
	}
}
