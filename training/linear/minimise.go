// SPDX-License-Identifier: Apache-2.0

package linear

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/optimize"
)

// watch is told of each step. An error ends the fit.
type watch func(step int, theta []float64, loss float64) error

// minimise finds the weights. Converged says whether the gradient is as small as asked.
func (t *trainer) minimise(p *problem, w watch) (theta []float64, converged bool, err error) {
	s := &search{problem: p, watch: w, iterations: t.iterations, tolerance: t.tolerance}
	theta = p.start()
	// Where the line search of gonum ends early, as it may within rounding of the minimum,
	// ours, which only asks for a decrease, goes on.
	if s.l1() == 0 {
		if theta, converged, err = s.lbfgs(theta); err != nil || converged {
			return theta, converged, err
		}
	}
	return s.owlqn(theta)
}

// search is a minimisation under way.
type search struct {
	problem    *problem
	watch      watch
	iterations int
	tolerance  float64
	step       int
	halted     error // what watch said
}

// l1 is the penalty in the units of the problem's labels.
func (s *search) l1() float64 { return s.problem.l1 / s.problem.spread }

// took reports a step, in the units of the labels.
func (s *search) took(theta []float64, loss float64) error {
	s.step++
	return s.watch(s.step, theta, loss*s.problem.unit())
}

// memo evaluates a point once for its value and its gradient.
type memo struct {
	problem      *problem
	at, gradient []float64
	value        float64
	known        bool
}

func (m *memo) look(theta []float64) {
	if m.known && slices.Equal(m.at, theta) {
		return
	}
	m.at = append(m.at[:0], theta...)
	m.value, m.known = m.problem.at(theta, m.gradient), true
}

// recorder passes steps of gonum on.
type recorder struct{ search *search }

func (recorder) Init() error { return nil }

func (r recorder) Record(l *optimize.Location, op optimize.Operation, _ *optimize.Stats) error {
	if op != optimize.MajorIteration {
		return nil
	}
	r.search.halted = r.search.took(l.X, l.F)
	return r.search.halted
}

// lbfgs minimises without an L1 penalty.
func (s *search) lbfgs(theta []float64) ([]float64, bool, error) {
	m := &memo{problem: s.problem, gradient: make([]float64, len(theta))}
	result, err := optimize.Minimize(optimize.Problem{
		Func: func(x []float64) float64 {
			m.look(x)
			return m.value
		},
		Grad: func(gradient, x []float64) {
			m.look(x)
			copy(gradient, m.gradient)
		},
	}, theta, &optimize.Settings{
		GradientThreshold: s.tolerance,
		Converger:         optimize.NeverTerminate{},
		MajorIterations:   s.iterations,
		FuncEvaluations:   20 * s.iterations,
		Recorder:          recorder{s},
	}, &optimize.LBFGS{Store: historyMax, GradStopThreshold: math.NaN()})
	if s.halted != nil {
		return nil, false, s.halted
	}
	if result == nil {
		return theta, false, err
	}
	return result.X, result.Status == optimize.GradientThreshold, nil
}

// historyMax is how many steps the curvature is estimated from.
const historyMax = 15

// point is weights with the value and the gradient of the smooth part there.
type point struct {
	theta, gradient []float64
	value           float64 // with the penalty
}

func (s *search) look(p *point) {
	p.value = s.problem.at(p.theta, p.gradient) + s.penalty(p.theta)
}

// owlqn is the orthant-wise limited-memory quasi-Newton method: the steps of L-BFGS along
// the steepest of the directions that the penalty allows, cut off where a weight would
// change its sign.
func (s *search) owlqn(theta []float64) ([]float64, bool, error) {
	n := len(theta)
	q := &quasi{size: n}
	here := &point{theta: theta, gradient: make([]float64, n)}
	next := &point{theta: make([]float64, n), gradient: make([]float64, n)}
	pseudo, direction := make([]float64, n), make([]float64, n)
	s.look(here)
	for s.step < s.iterations {
		s.steepest(pseudo, here.theta, here.gradient)
		size := floats.Norm(pseudo, math.Inf(1))
		if size <= s.tolerance {
			return here.theta, true, nil
		}
		s.aim(q, direction, pseudo)
		if !s.descend(here, next, direction, pseudo, q.empty()) {
			if q.empty() { // no lower point within rounding
				return here.theta, size <= 100*s.tolerance, nil
			}
			q.forget()
			continue
		}
		q.learn(here.theta, next.theta, here.gradient, next.gradient)
		here, next = next, here
		if err := s.took(here.theta, here.value); err != nil {
			return nil, false, err
		}
	}
	return here.theta, false, nil
}

// aim sets the direction: that of the estimate where it goes down, which it does in each
// element with a penalty.
func (s *search) aim(q *quasi, direction, pseudo []float64) {
	q.direction(direction, pseudo)
	for i, d := range direction {
		if d*pseudo[i] >= 0 && s.l1() > 0 {
			direction[i] = 0
		}
	}
	if floats.Dot(direction, pseudo) >= 0 { // the memory misleads: begin anew
		q.forget()
		q.direction(direction, pseudo)
	}
}

// halvesMax bounds how often a step is halved.
const halvesMax = 40

// descend looks for a lower point along a direction (Armijo's rule). First steps are short.
func (s *search) descend(here, next *point, direction, pseudo []float64, first bool) bool {
	step := 1.0
	if first {
		step = 1 / max(1, floats.Norm(pseudo, 2))
	}
	for range halvesMax {
		s.move(next.theta, here.theta, direction, pseudo, step)
		s.look(next)
		slope := 0.0
		for i, x := range next.theta {
			slope += pseudo[i] * (x - here.theta[i])
		}
		if next.value <= here.value+1e-4*slope && next.value < here.value {
			return true
		}
		step /= 2
	}
	return false
}

func (s *search) penalty(theta []float64) float64 {
	sum, l1 := 0.0, s.l1()
	if l1 == 0 {
		return 0
	}
	for i, w := range theta {
		if !s.problem.intercept(i) {
			sum += math.Abs(w)
		}
	}
	return l1 * sum
}

// steepest is the subgradient nearest to 0.
func (s *search) steepest(pseudo, theta, gradient []float64) {
	for i, g := range gradient {
		l1 := s.l1()
		if s.problem.intercept(i) {
			l1 = 0
		}
		switch {
		case theta[i] > 0, theta[i] == 0 && g < -l1:
			pseudo[i] = g + l1
		case theta[i] < 0, g > l1:
			pseudo[i] = g - l1
		default:
			pseudo[i] = 0
		}
	}
}

// move takes a step; with a penalty, weights that would leave their orthant stop at 0. The
// orthant of a weight of 0 is the one that the steepest descent leads to.
func (s *search) move(next, theta, direction, pseudo []float64, step float64) {
	for i := range next {
		next[i] = theta[i] + step*direction[i]
		if s.l1() == 0 || s.problem.intercept(i) {
			continue
		}
		orthant := sign(theta[i])
		if orthant == 0 {
			orthant = -sign(pseudo[i])
		}
		if next[i]*orthant < 0 {
			next[i] = 0
		}
	}
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

// quasi estimates the inverse curvature from the last steps.
type quasi struct {
	size           int
	steps, changes [][]float64
}

func (q *quasi) empty() bool { return len(q.steps) == 0 }

func (q *quasi) forget() { q.steps, q.changes = nil, nil }

func (q *quasi) learn(from, to, gradient, nextGradient []float64) {
	step, change := make([]float64, q.size), make([]float64, q.size)
	floats.SubTo(step, to, from)
	floats.SubTo(change, nextGradient, gradient)
	if floats.Dot(step, change) <= 1e-14*floats.Dot(change, change) {
		return
	}
	if len(q.steps) == historyMax {
		q.steps, q.changes = q.steps[1:], q.changes[1:]
	}
	q.steps, q.changes = append(q.steps, step), append(q.changes, change)
}

// direction is minus the estimate times the gradient, by the two loops of L-BFGS.
func (q *quasi) direction(to, gradient []float64) {
	for i, g := range gradient {
		to[i] = -g
	}
	last := len(q.steps) - 1
	if last < 0 {
		return
	}
	shares := make([]float64, last+1)
	for i := last; i >= 0; i-- {
		shares[i] = floats.Dot(q.steps[i], to) / floats.Dot(q.steps[i], q.changes[i])
		floats.AddScaled(to, -shares[i], q.changes[i])
	}
	floats.Scale(floats.Dot(q.steps[last], q.changes[last])/floats.Dot(q.changes[last], q.changes[last]), to)
	for i := range q.steps {
		share := floats.Dot(q.changes[i], to) / floats.Dot(q.steps[i], q.changes[i])
		floats.AddScaled(to, shares[i]-share, q.steps[i])
	}
}
