// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"cmp"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/c-bata/goptuna"
)

// sampler proposes coordinates. It has no state of its own: its chance is made anew for
// each trial and parameter.
type sampler struct {
	search *search
	tpe    bool
}

var _ goptuna.Sampler = (*sampler)(nil)

// Constants of the estimator, as Optuna and Hyperopt have them.
const (
	startupTrials = 10 // are random, so that there is something to estimate from
	candidates    = 24
	goodMax       = 25
	goodShare     = 0.1
)

// Sample implements goptuna.Sampler.
func (s *sampler) Sample(_ *goptuna.Study, t goptuna.FrozenTrial, name string, _ any) (float64, error) {
	i := slices.IndexFunc(s.search.space.dimensions, func(d dimension) bool { return d.name == name })
	d := &s.search.space.dimensions[i]
	rng := rand.New(rand.NewPCG(s.search.Seed, mix(s.search.numbers[t.ID], name)))
	if s.tpe {
		if good, bad, ok := s.split(name); ok {
			return d.estimate(rng, good, bad), nil
		}
	}
	return d.uniform(rng), nil
}

func mix(number int, name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // it never fails
	return h.Sum64() ^ uint64(number)*0x9e3779b97f4a7c15
}

// observation is a coordinate that was tried. Reached is how far a pruned trial came.
type observation struct {
	at, value float64
	pruned    bool
	reached   int
	order     int // of the trials' numbers
}

// split lists the coordinates of the good trials and of the others. Pruned trials come
// behind complete ones, those that came farther first, with their last value.
func (s *sampler) split(name string) (good, bad []float64, ok bool) {
	var all []observation
	for _, t := range s.search.ended() {
		x, there := t.InternalParams[name]
		if !there {
			continue
		}
		switch t.State {
		case goptuna.TrialStateComplete:
			all = append(all, observation{at: x, value: t.Value, order: len(all)})
		case goptuna.TrialStatePruned:
			if step, there := t.GetLatestStep(); there {
				all = append(all, observation{x, t.IntermediateValues[step], true, step, len(all)})
			}
		}
	}
	if len(all) < startupTrials {
		return nil, nil, false
	}
	sign := 1
	if s.search.Direction == Maximize {
		sign = -1
	}
	slices.SortStableFunc(all, func(a, b observation) int {
		if a.pruned != b.pruned {
			if a.pruned {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(b.reached, a.reached), sign*cmp.Compare(a.value, b.value))
	})
	n := min(int(math.Ceil(goodShare*float64(len(all)))), goodMax)
	return inOrder(all[:n]), inOrder(all[n:]), true
}

// inOrder lists coordinates by age, which the estimator weighs them by.
func inOrder(all []observation) []float64 {
	slices.SortFunc(all, func(a, b observation) int { return cmp.Compare(a.order, b.order) })
	at := make([]float64, len(all))
	for i, o := range all {
		at[i] = o.at
	}
	return at
}

// uniform draws a coordinate.
func (d *dimension) uniform(rng *rand.Rand) float64 {
	low, high := d.scale()
	if low == high {
		return d.low
	}
	return d.back(low + rng.Float64()*(high-low))
}

// scale is the range that is drawn from: in logarithms where factors count, and half a
// step wider for whole numbers, so that all are as likely.
func (d *dimension) scale() (low, high float64) {
	low, high = d.low, d.high
	if d.choices == nil && low == high {
		return low, high
	}
	if d.whole || d.choices != nil {
		low, high = low-0.5, high+0.5
	}
	if d.log {
		low, high = math.Log(low), math.Log(high)
	}
	return low, high
}

func (d *dimension) to(x float64) float64 {
	if d.log {
		return math.Log(x)
	}
	return x
}

// back is the coordinate of a place on the scale.
func (d *dimension) back(x float64) float64 {
	if d.log {
		x = math.Exp(x)
	}
	if d.whole || d.choices != nil {
		x = math.Round(x)
	}
	return min(max(x, d.low), d.high)
}

// estimate draws from the density of the good coordinates, and keeps of some candidates
// the one where it exceeds that of the bad ones the most.
func (d *dimension) estimate(rng *rand.Rand, good, bad []float64) float64 {
	if d.choices != nil {
		return d.estimateChoice(rng, good, bad)
	}
	low, high := d.scale()
	if low == high {
		return d.low
	}
	l, g := d.parzen(good, low, high), d.parzen(bad, low, high)
	best, bestScore := 0.0, math.Inf(-1)
	for range candidates {
		x := l.draw(rng)
		if score := l.logDensity(x) - g.logDensity(x); score > bestScore {
			best, bestScore = x, score
		}
	}
	return d.back(best)
}

func (d *dimension) estimateChoice(rng *rand.Rand, good, bad []float64) float64 {
	count := func(at []float64) []float64 {
		weights := make([]float64, len(d.choices))
		for i := range weights {
			weights[i] = 1 / float64(len(weights)) // the prior weighs as one trial
		}
		for _, x := range at {
			weights[int(x)]++
		}
		for i := range weights {
			weights[i] /= float64(len(at) + 1)
		}
		return weights
	}
	l, g := count(good), count(bad)
	best, bestScore := 0, math.Inf(-1)
	for range candidates {
		i := pick(rng, l)
		if score := l[i] / g[i]; score > bestScore {
			best, bestScore = i, score
		}
	}
	return float64(best)
}

// pick draws an index by weights that sum to 1.
func pick(rng *rand.Rand, weights []float64) int {
	left := rng.Float64()
	for i, w := range weights {
		if left -= w; left < 0 {
			return i
		}
	}
	return len(weights) - 1
}

// parzen is a mixture of normal distributions, cut off at the ends of the scale.
type parzen struct {
	low, high      float64
	centres, sigma []float64
	weights        []float64
	inside         []float64 // the share of each that lies on the scale
}

// parzen estimates a density: around each coordinate a bell as wide as the farther of its
// neighbours is away, and a prior over the whole scale. The latest 25 weigh alike, older
// ones less, so that a long search moves on.
func (d *dimension) parzen(at []float64, low, high float64) *parzen {
	p := &parzen{low: low, high: high}
	n := len(at)
	type bell struct{ at, weight float64 }
	bells := []bell{{(low + high) / 2, 1}}
	for i, x := range at {
		weight := 1.0
		if old := n - goodMax; i < old {
			weight = (1 + float64(i)*(float64(n)-1)/float64(max(old-1, 1))) / float64(n)
		}
		bells = append(bells, bell{d.to(x), min(weight, 1)})
	}
	prior := bells[0]
	slices.SortStableFunc(bells, func(a, b bell) int { return cmp.Compare(a.at, b.at) })
	width := high - low
	narrowest := width / min(100, 1+float64(len(bells)))
	sum, priorSeen := 0.0, false
	for i, b := range bells {
		left, right := low, high
		if i > 0 {
			left = bells[i-1].at
		}
		if i+1 < len(bells) {
			right = bells[i+1].at
		}
		sigma := min(max(b.at-left, right-b.at, narrowest), width)
		if !priorSeen && b == prior {
			sigma, priorSeen = width, true
		}
		share := normalCDF((high-b.at)/sigma) - normalCDF((low-b.at)/sigma)
		p.centres, p.sigma, p.weights, p.inside = append(p.centres, b.at), append(p.sigma, sigma), append(p.weights, b.weight), append(p.inside, share)
		sum += b.weight
	}
	for i := range p.weights {
		p.weights[i] /= sum
	}
	return p
}

func normalCDF(x float64) float64 { return 0.5 * math.Erfc(-x/math.Sqrt2) }

// draw draws a place within the scale. A bell has half of its mass or nearly so inside,
// since its centre is, so that few draws are needed; their number is bounded all the same.
func (p *parzen) draw(rng *rand.Rand) float64 {
	i := pick(rng, p.weights)
	for range 1000 {
		if x := p.centres[i] + rng.NormFloat64()*p.sigma[i]; x >= p.low && x <= p.high {
			return x
		}
	}
	return p.centres[i]
}

func (p *parzen) logDensity(x float64) float64 {
	sum := 0.0
	for i, c := range p.centres {
		z := (x - c) / p.sigma[i]
		sum += p.weights[i] * math.Exp(-z*z/2) / (p.sigma[i] * p.inside[i])
	}
	return math.Log(max(sum, math.SmallestNonzeroFloat64))
}
