// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"fmt"
	"sync"
)

// Every metric is a kernel: a function of the mass of each row, which is its weight times
// how often it is drawn. A row of mass 2 is two rows, one of mass 0 is absent; that is all
// a kernel knows of weights and draws.
type kernel interface {
	// value computes the metric. The masses are in the rows' order, or in the ranking's if
	// there is one; the kernel only reads them, and changes nothing of its own, for clones
	// share it.
	value(mass []float64) float64
	// ranking is the order that the kernel wants masses in, nil for that of the rows.
	ranking() *ranking
}

// counting is a kernel that is faster where masses are small whole numbers, of at most
// countingRows rows.
type counting interface {
	valueCounts(counts []uint8) float64
}

// countingRows is how many rows may be drawn 255 times each for 2^32 in all.
const countingRows = 1 << 32 / 255

// byRow is embedded by kernels that take masses by row.
type byRow struct{}

func (byRow) ranking() *ranking { return nil }

// prepared is what metrics of a sample share. It is filled in while they are prepared, by
// one goroutine, and only read afterwards, but for the pools.
type prepared struct {
	*Sample
	rankings map[int]*ranking // by output
	queries  *queryIndex
	masses   sync.Pool // of *[]float64, a number for each row
	drawn    sync.Pool // of *[]uint8
}

func newPrepared(s *Sample) *prepared {
	p := &prepared{Sample: s, rankings: map[int]*ranking{}}
	rows := s.Rows()
	p.masses.New = func() any { b := make([]float64, rows); return &b }
	p.drawn.New = func() any { b := make([]uint8, rows); return &b }
	return p
}

// by is the ranking by an output, with the rows of that class as positives.
func (p *prepared) by(output int) *ranking {
	if r := p.rankings[output]; r != nil {
		return r
	}
	r := newRanking(p.Sample, output)
	p.rankings[output] = r
	return r
}

// statistic is a kernel with the sample it was made for. It has no state of its own.
type statistic struct {
	p *prepared
	k kernel
}

var _ Statistic = (*statistic)(nil)

// Clone returns the statistic itself: nothing in it changes.
func (t *statistic) Clone() Statistic { return t }

// Value is the metric of a weighting.
func (t *statistic) Value(counts []uint8) float64 {
	var out [1]float64
	t.p.values([]*statistic{t}, counts, out[:])
	return out[0]
}

// Values computes several statistics with the same counts into out, which is as long as
// stats. Those that were prepared together (PrepareAll) share the work of putting the
// counts in order of score.
func Values(stats []Statistic, counts []uint8, out []float64) {
	for begin := 0; begin < len(stats); {
		first, ok := stats[begin].(*statistic)
		if !ok {
			out[begin] = stats[begin].Value(counts)
			begin++
			continue
		}
		same := []*statistic{first}
		for _, next := range stats[begin+1:] {
			s, ok := next.(*statistic)
			if !ok || s.p != first.p {
				break
			}
			same = append(same, s)
		}
		first.p.values(same, counts, out[begin:begin+len(same)])
		begin += len(same)
	}
}

// values computes statistics of the sample. Counts and masses in the order last used are
// kept from one statistic to the next.
func (p *prepared) values(stats []*statistic, counts []uint8, out []float64) {
	if counts != nil && len(counts) != p.Rows() {
		panic(fmt.Sprintf("metric: %d counts for %d rows", len(counts), p.Rows()))
	}
	d := draw{p: p, counts: counts}
	for i, s := range stats {
		if fast, ok := s.k.(counting); ok && p.Weights == nil && p.Rows() <= countingRows {
			out[i] = fast.valueCounts(d.drawn(s.k.ranking()))
		} else {
			out[i] = s.k.value(d.mass(s.k.ranking()))
		}
	}
	d.close()
}

// draw is a weighting put in the orders that kernels ask for.
type draw struct {
	p         *prepared
	counts    []uint8
	drawnBuf  *[]uint8
	massBuf   *[]float64
	drawnBy   *ranking // that drawnBuf is in order of
	massBy    *ranking
	massReady bool
}

// drawn is the counts in order of a ranking, nil for that of the rows.
func (d *draw) drawn(r *ranking) []uint8 {
	if d.counts != nil && r == nil {
		return d.counts
	}
	if d.drawnBuf != nil && d.drawnBy == r {
		return *d.drawnBuf
	}
	if d.drawnBuf == nil {
		d.drawnBuf = d.p.drawn.Get().(*[]uint8)
	}
	d.drawnBy = r
	b := *d.drawnBuf
	if d.counts == nil {
		for i := range b {
			b[i] = 1
		}
		return b
	}
	gather(b, d.counts, r.order)
	return b
}

// gather puts counts in order.
func gather(to, counts []uint8, order []int32) {
	to = to[:len(order)]
	for i, row := range order {
		to[i] = counts[row]
	}
}

// mass is the masses in order of a ranking, nil for that of the rows.
func (d *draw) mass(r *ranking) []float64 {
	if d.massReady && d.massBy == r {
		return *d.massBuf
	}
	if d.massBuf == nil {
		d.massBuf = d.p.masses.Get().(*[]float64)
	}
	d.massReady, d.massBy = true, r
	b, weights := *d.massBuf, d.p.Weights
	for i, c := range d.drawn(r) {
		b[i] = float64(c)
	}
	switch {
	case weights == nil:
	case r != nil && r.weights == nil:
		for i, row := range r.order {
			b[i] *= weights[row]
		}
	default:
		if r != nil {
			weights = r.weights
		}
		for i, w := range weights {
			b[i] *= w
		}
	}
	return b
}

func (d *draw) close() {
	if d.drawnBuf != nil {
		d.p.drawn.Put(d.drawnBuf)
	}
	if d.massBuf != nil {
		d.p.masses.Put(d.massBuf)
	}
}

// inOrder is the value of a kernel for masses in the rows' order.
func (p *prepared) inOrder(k kernel, mass []float64) float64 {
	r := k.ranking()
	if r == nil {
		return k.value(mass)
	}
	buf := p.masses.Get().(*[]float64)
	defer p.masses.Put(buf)
	b := (*buf)[:len(r.order)]
	for i, row := range r.order {
		b[i] = mass[row]
	}
	return k.value(b)
}

// preparer is a metric that can share what it prepares with others.
type preparer interface {
	prepare(p *prepared) (kernel, error)
}

// PrepareAll prepares metrics of one sample, which is valid. They share what they have in
// common, such as the order of the rows by score; Values makes the most of it. Metrics that
// are none of this package's are prepared by themselves.
func PrepareAll(s *Sample, metrics []Metric) ([]Statistic, error) {
	p := newPrepared(s)
	stats := make([]Statistic, len(metrics))
	for i, m := range metrics {
		var err error
		if shared, ok := m.(preparer); ok {
			stats[i], err = prepareWith(p, m, shared)
		} else {
			stats[i], err = m.Prepare(s)
		}
		if err != nil {
			return nil, err
		}
	}
	return stats, nil
}

func prepareWith(p *prepared, m Metric, shared preparer) (Statistic, error) {
	if !m.Suits(p.Task) {
		return nil, fmt.Errorf("%w %q: it is not for a %v task", ErrMetric, m.Name(), p.Task)
	}
	k, err := shared.prepare(p)
	if err != nil {
		return nil, fmt.Errorf("metric %q: %w", m.Name(), err)
	}
	return &statistic{p, k}, nil
}
