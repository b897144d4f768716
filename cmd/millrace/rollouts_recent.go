// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/serving/frontend"
)

// Rates of answers are over the last five minutes, looked at every two seconds.
const (
	recentEvery  = 2 * time.Second
	recentPoints = 150
)

// recentAnswers are the counts of answers lately. The zero value is ready.
type recentAnswers struct {
	mu     sync.Mutex
	points []recentPoint // the oldest first, at most recentPoints
}

type recentPoint struct {
	at time.Time
	// answers has counts by decision, arm and answer.
	answers map[string][][]int64
}

// sample takes a look, unless the last one was just now.
func (r *recentAnswers) sample(now time.Time, decisions []frontend.DecisionStats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.points); n > 0 && now.Sub(r.points[n-1].at) < recentEvery {
		return
	}
	if len(r.points) == recentPoints {
		r.points = slices.Delete(r.points, 0, 1)
	}
	p := recentPoint{at: now, answers: map[string][][]int64{}}
	for _, d := range decisions {
		for _, arm := range d.Arms {
			p.answers[d.Decision] = append(p.answers[d.Decision], arm.Answers)
		}
	}
	r.points = append(r.points, p)
}

// rates are answers a second since the oldest look, by arm and answer, and over how long;
// nil before there was one.
func (r *recentAnswers) rates(now time.Time, d *frontend.DecisionStats) (perSecond [][]float64, window time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.points) == 0 || now.Sub(r.points[0].at) < recentEvery/2 {
		return nil, 0
	}
	window = now.Sub(r.points[0].at)
	before := r.points[0].answers[d.Decision]
	for i, arm := range d.Arms {
		rates := make([]float64, len(arm.Answers))
		for k, n := range arm.Answers {
			if i < len(before) && k < len(before[i]) {
				rates[k] = float64(n-before[i][k]) / window.Seconds()
			}
		}
		perSecond = append(perSecond, rates)
	}
	return perSecond, window
}
