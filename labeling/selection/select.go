// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Strategy is a rule for choosing.
type Strategy string

// The strategies; the package comment says what they do.
const (
	Random          Strategy = "random"
	Margin          Strategy = "margin"
	Entropy         Strategy = "entropy"
	LeastConfidence Strategy = "least_confidence"
	VoteEntropy     Strategy = "vote_entropy"
	ConsensusKL     Strategy = "consensus_kl"
	KCenter         Strategy = "k_center"
	Gradient        Strategy = "gradient"
	Badge           Strategy = "badge"
	Impact          Strategy = "impact"
)

// Strategies are all there are.
func Strategies() []Strategy {
	return []Strategy{Random, Margin, Entropy, LeastConfidence, VoteEntropy, ConsensusKL, KCenter, Gradient, Badge, Impact}
}

// Bounds of a selection.
const (
	// PoolMax is the largest pool.
	PoolMax = 10_000_000
	// CountMax is the most items that are chosen at once.
	CountMax = 100_000
	// WorkMax bounds what k_center, badge and diversity compute: pool (or candidates),
	// times items to choose, times numbers of an item. It takes about a minute.
	WorkMax = 1e11
)

// Pool is what there is to choose from. Which fields are needed follows from the strategy.
type Pool struct {
	// Size is the number of items.
	Size int
	// Probabilities has those of each item, each row as long as there are labels and of
	// sum 1.
	Probabilities [][]float64
	// Committee has probabilities of several models, by member and item, for vote_entropy
	// and consensus_kl.
	Committee [][][]float64
	// Embeddings has Dim numbers for each item, one after another: for k_center, gradient,
	// badge and diversity.
	Embeddings []float32
	Dim        int
	// Labelled has the embeddings of what is labelled already, for k_center.
	Labelled []float32
	// Slices names the slice of each item, and Weights says how much a slice counts: 1 if
	// it is not there. For impact.
	Slices  []string
	Weights map[string]float64
}

// Options say how to choose.
type Options struct {
	// Strategy is how; empty is Margin.
	Strategy Strategy
	// Count is how many items, 1 to CountMax. A smaller pool is chosen whole.
	Count int
	// RandomShare is the share of Count that is drawn at random, rounded up: 0 is 0.1,
	// negative is none.
	RandomShare float64
	// Diverse, with a strategy that scores items, takes this many times Count of the best
	// ones and of these those that are far from each other: 0 takes the best ones.
	Diverse float64
	// Seed decides what is left to chance: the random slice, ties, and badge.
	Seed uint64
}

// Choice is a chosen item.
type Choice struct {
	// Item is its place in the pool.
	Item int
	// Strategy is what chose it: Random for the random slice.
	Strategy Strategy
	// Score is what the strategy gave it; higher is more wanted.
	Score float64
	// Propensity is the probability with which the random slice had it, 0 for others.
	Propensity float64
	// Why says so for people.
	Why string
}

// Select chooses items, the random slice and the others mixed at random so that nobody who
// labels can tell them apart by their place, but otherwise the most wanted first.
func Select(pool *Pool, o Options) ([]Choice, error) {
	if o.Strategy == "" {
		o.Strategy = Margin
	}
	if o.RandomShare == 0 {
		o.RandomShare = 0.1
	}
	if err := validate(pool, &o); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	r := rand.New(rand.NewPCG(o.Seed, uint64(pool.Size)))
	count := min(o.Count, pool.Size)
	lots := drawLots(pool.Size, r)
	drawn := count
	if o.Strategy != Random {
		drawn = min(count, int(math.Ceil(max(0, o.RandomShare)*float64(count)-1e-9)))
	}
	taken := make([]bool, pool.Size)
	random := make([]Choice, 0, drawn)
	for _, item := range lots[:drawn] {
		taken[item] = true
		p := float64(drawn) / float64(pool.Size)
		random = append(random, Choice{Item: item, Strategy: Random, Propensity: p, Score: p,
			Why: fmt.Sprintf("drawn at random, like %.3g %% of the pool, so that estimates stay unbiased", 100*p)})
	}
	chosen := choose(pool, &o, taken, lots, count-drawn, r)
	return mingle(random, chosen, r), nil
}

// drawLots is a random order of the items, which also decides ties.
func drawLots(n int, r *rand.Rand) []int {
	lots := make([]int, n)
	for i := range lots {
		lots[i] = i
	}
	r.Shuffle(n, func(i, j int) { lots[i], lots[j] = lots[j], lots[i] })
	return lots
}

// mingle spreads the random slice over the others, which keep their order.
func mingle(random, chosen []Choice, r *rand.Rand) []Choice {
	out := make([]Choice, 0, len(random)+len(chosen))
	for len(random)+len(chosen) > 0 {
		if r.IntN(len(random)+len(chosen)) < len(random) {
			out, random = append(out, random[0]), random[1:]
		} else {
			out, chosen = append(out, chosen[0]), chosen[1:]
		}
	}
	return out
}

// choose lets the strategy choose among what is not taken.
func choose(pool *Pool, o *Options, taken []bool, lots []int, count int, r *rand.Rand) []Choice {
	if count == 0 {
		return nil
	}
	free := make([]int, 0, pool.Size)
	for _, item := range lots {
		if !taken[item] {
			free = append(free, item)
		}
	}
	switch o.Strategy {
	case KCenter:
		return kCenter(pool, free, count, KCenter)
	case Badge:
		return badge(pool, free, count, r)
	}
	scores := Scores(pool, o.Strategy)
	slices.SortStableFunc(free, func(a, b int) int { // stable: lots decide ties
		switch {
		case scores[a] > scores[b]:
			return -1
		case scores[a] < scores[b]:
			return 1
		}
		return 0
	})
	var picked []int
	if o.Diverse > 0 {
		for _, c := range kCenter(pool, free[:candidates(o, len(free), count)], count, o.Strategy) {
			picked = append(picked, c.Item)
		}
	} else {
		picked = free[:count]
	}
	out := make([]Choice, count)
	for i, item := range picked {
		out[i] = Choice{Item: item, Strategy: o.Strategy, Score: scores[item], Why: why(pool, o.Strategy, item, scores[item])}
		if o.Diverse > 0 {
			out[i].Why += "; and unlike the others that were chosen"
		}
	}
	return out
}

// candidates is how many of the best items a diverse selection chooses from.
func candidates(o *Options, free, count int) int {
	return max(count, int(min(float64(free), o.Diverse*float64(count))))
}

// validate reports everything that is wrong.
func validate(pool *Pool, o *Options) error {
	if pool.Size < 1 || pool.Size > PoolMax {
		return fmt.Errorf("size: %d is not in 1 to %d", pool.Size, PoolMax)
	}
	if !slices.Contains(Strategies(), o.Strategy) {
		return fmt.Errorf("strategy: %q is none of %v", o.Strategy, Strategies())
	}
	var problems []error
	if o.Count < 1 || o.Count > CountMax {
		problems = append(problems, fmt.Errorf("count: %d is not in 1 to %d", o.Count, CountMax))
	}
	if !(o.RandomShare <= 1) {
		problems = append(problems, fmt.Errorf("random share: %v is above 1", o.RandomShare))
	}
	if o.Diverse != 0 && !(o.Diverse >= 1 && o.Diverse <= PoolMax) {
		problems = append(problems, fmt.Errorf("diverse: %v is neither 0 nor 1 or more", o.Diverse))
	}
	problems = append(problems, needs(pool, o)...)
	if err := errors.Join(problems...); err != nil {
		return err
	}
	return work(pool, o)
}

// needs reports which of the inputs of a strategy are missing or malformed.
func needs(pool *Pool, o *Options) (problems []error) {
	need := func(err error) { problems = append(problems, err) }
	switch o.Strategy {
	case Margin, Entropy, LeastConfidence, Gradient, Badge, Impact:
		need(checkRows("probabilities", pool.Probabilities, pool.Size))
	case VoteEntropy, ConsensusKL:
		if len(pool.Committee) < 2 || len(pool.Committee) > 1000 {
			need(fmt.Errorf("committee: %d members, want 2 to 1000", len(pool.Committee)))
		}
		for i, member := range pool.Committee {
			need(checkRows(fmt.Sprintf("committee[%d]", i), member, pool.Size))
			if len(member) > 0 && len(pool.Committee[0]) > 0 && len(member[0]) != len(pool.Committee[0][0]) {
				need(fmt.Errorf("committee[%d]: %d labels, and committee[0] has %d", i, len(member[0]), len(pool.Committee[0][0])))
			}
		}
	}
	if o.Strategy == KCenter || o.Strategy == Gradient || o.Strategy == Badge || o.Diverse > 0 {
		need(checkEmbeddings(pool))
	}
	if o.Strategy == Impact {
		if len(pool.Slices) != pool.Size {
			need(fmt.Errorf("slices: %d for %d items", len(pool.Slices), pool.Size))
		}
		for name, w := range pool.Weights {
			if !(w >= 0) || math.IsInf(w, 0) {
				need(fmt.Errorf("weights[%q]: %v is below 0 or not finite", name, w))
			}
		}
	}
	return problems
}

func checkEmbeddings(pool *Pool) error {
	if pool.Dim < 1 || len(pool.Embeddings) != pool.Size*pool.Dim {
		return fmt.Errorf("embeddings: %d numbers for %d items of %d", len(pool.Embeddings), pool.Size, pool.Dim)
	}
	if len(pool.Labelled)%pool.Dim != 0 {
		return fmt.Errorf("labelled: %d numbers are no multiple of %d", len(pool.Labelled), pool.Dim)
	}
	for _, list := range [][]float32{pool.Embeddings, pool.Labelled} {
		for i, x := range list {
			if y := float64(x); math.IsNaN(y) || math.IsInf(y, 0) {
				return fmt.Errorf("embeddings: number %d of item %d is not finite", i%pool.Dim, i/pool.Dim)
			}
		}
	}
	return nil
}

// checkRows checks that every row has probabilities.
func checkRows(name string, rows [][]float64, n int) error {
	if len(rows) != n {
		return fmt.Errorf("%s: %d rows for %d items", name, len(rows), n)
	}
	for i, row := range rows {
		if len(row) < 2 || len(row) != len(rows[0]) {
			return fmt.Errorf("%s[%d]: %d labels, want 2 or more and as many as [0] has", name, i, len(row))
		}
		sum := 0.0
		for j, p := range row {
			if !(p >= 0) {
				return fmt.Errorf("%s[%d][%d]: %v is no probability", name, i, j, p)
			}
			sum += p
		}
		if !(math.Abs(sum-1) <= 1e-3) {
			return fmt.Errorf("%s[%d]: sum is %v, want 1", name, i, sum)
		}
	}
	return nil
}

// work refuses what would take too long.
func work(pool *Pool, o *Options) error {
	count := min(o.Count, pool.Size)
	items, numbers := 0, pool.Dim
	steps := float64(count)
	switch {
	case o.Strategy == KCenter:
		items = pool.Size
		steps += float64(len(pool.Labelled) / pool.Dim)
	case o.Strategy == Badge:
		items, numbers = pool.Size, pool.Dim+len(pool.Probabilities[0])
	case o.Diverse > 0 && o.Strategy != Random:
		items = candidates(o, pool.Size, count)
		steps += float64(len(pool.Labelled) / pool.Dim)
	}
	if w := float64(items) * steps * float64(numbers); w > WorkMax {
		return fmt.Errorf("%s of %d out of %d with %d numbers each takes %.2g steps, above %.0e: draw a smaller pool at random first", o.Strategy, count, items, numbers, w, WorkMax)
	}
	return nil
}
