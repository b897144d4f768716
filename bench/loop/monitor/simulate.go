// SPDX-License-Identifier: Apache-2.0

// Package monitor measures what package evaluation/monitor promises: false alarms of every
// test at every size, shifts found, and estimates of AUC before labels on card payments.
// Simulations have fixed seeds.
package monitor

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"

	"github.com/millrace-ml/millrace/evaluation/monitor/drift"
)

// Rate is how often a test alarmed.
type Rate struct {
	World string
	Test  drift.Test
	// Current and Reference are rows.
	Current, Reference int
	Alarms, Windows    int
}

// Share is the share of windows that alarmed, and its standard error at the level asked for.
func (r Rate) Share() (share, se float64) {
	n := float64(r.Windows)
	return float64(r.Alarms) / n, math.Sqrt(drift.DefaultLevel * (1 - drift.DefaultLevel) / n)
}

// Options say how much is simulated.
type Options struct {
	// Sizes are the rows of a window and of the reference; nil is 50 to 100,000.
	Sizes [][2]int
	// Windows is how many windows of each size; 0 is 4000. RowsMax bounds the rows drawn for
	// a size, so that large windows are fewer; 0 is 40 million.
	Windows, RowsMax int
	// Workers is the number of goroutines; 0 is GOMAXPROCS.
	Workers int
	// Tests are those to simulate; nil is all.
	Tests []drift.Test
	// Done, if given, is handed each rate when it is known.
	Done func(Rate)
}

func (o *Options) ensureDefaults() {
	if o.Sizes == nil {
		o.Sizes = [][2]int{{50, 50}, {50, 1000}, {200, 200}, {200, 5000}, {1000, 1000}, {1000, 20_000}, {10_000, 10_000}, {100_000, 100_000}}
	}
	if o.Windows == 0 {
		o.Windows = 4000
	}
	if o.RowsMax == 0 {
		o.RowsMax = 40_000_000
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
}

// world deals out a column, and categories made of it.
type world struct {
	name  string
	value func(r *rand.Rand) float64
	tests []drift.Test
	all   int // how many tests it has where none is left out
}

var numeric = []drift.Test{drift.PSI, drift.JensenShannon, drift.GTest, drift.ChiSquared, drift.KS, drift.CvM, drift.Range}

var worlds = []world{
	{"normal", func(r *rand.Rand) float64 { return r.NormFloat64() }, numeric, 0},
	{"half zeros", func(r *rand.Rand) float64 { return math.Max(0, r.NormFloat64()) }, numeric[:6], 0},
	{"counts", func(r *rand.Rand) float64 { return math.Floor(3 * r.ExpFloat64()) }, numeric[:6], 0},
	{"5 categories", func(r *rand.Rand) float64 { return math.Min(4, math.Floor(1.5*r.ExpFloat64())) }, numeric[:4], 0},
	{"300 categories", func(r *rand.Rand) float64 { return math.Floor(300 * r.Float64() * r.Float64()) }, append(numeric[:4:4], drift.Unseen), 0},
	{"10 % missing", func(r *rand.Rand) float64 {
		if r.IntN(10) == 0 {
			return math.NaN()
		}
		return 0
	}, []drift.Test{drift.Missing}, 0},
}

// FalseAlarms counts alarms at the 1 % level where nothing changed.
func FalseAlarms(ctx context.Context, o Options) ([]Rate, error) {
	o.ensureDefaults()
	var rates []Rate
	for _, w := range worlds {
		w.all = len(w.tests)
		w.tests = slices.DeleteFunc(slices.Clone(w.tests), func(t drift.Test) bool {
			return o.Tests != nil && !slices.Contains(o.Tests, t)
		})
		for _, size := range o.Sizes {
			windows := max(50, min(o.Windows, o.RowsMax/(size[0]+size[1])))
			counts, err := o.count(ctx, w, size, windows)
			if err != nil {
				return nil, err
			}
			for i, test := range w.tests {
				rate := Rate{w.name, test, size[0], size[1], counts[i], windows}
				if rates = append(rates, rate); o.Done != nil {
					o.Done(rate)
				}
			}
		}
	}
	return rates, nil
}

// count shares the windows out to workers, each with a seed for each window.
func (o *Options) count(ctx context.Context, w world, size [2]int, windows int) ([]int, error) {
	counts, errs := make([][]int, o.Workers), make([]error, o.Workers)
	var group sync.WaitGroup
	for k := range o.Workers {
		counts[k] = make([]int, len(w.tests))
		group.Go(func() {
			for i := k; i < windows && errs[k] == nil; i += o.Workers {
				if errs[k] = ctx.Err(); errs[k] == nil {
					errs[k] = w.window(rand.New(rand.NewPCG(uint64(i), uint64(size[0])<<32+uint64(size[1]))), size, counts[k])
				}
			}
		})
	}
	group.Wait()
	total := make([]int, len(w.tests))
	for k := range counts {
		if errs[k] != nil {
			return nil, errs[k]
		}
		for i, c := range counts[k] {
			total[i] += c
		}
	}
	return total, nil
}

func (w *world) draw(r *rand.Rand, rows int, shift float64) []float64 {
	values := make([]float64, rows)
	for i := range values {
		values[i] = w.value(r) + shift
	}
	return values
}

func (w *world) window(r *rand.Rand, size [2]int, counts []int) error {
	current, reference := w.draw(r, size[0], 0), w.draw(r, size[1], 0)
	n := drift.NewReference(reference).Against(current)
	var table *drift.Table
	if w.all < 6 {
		t := drift.NewTable(categories(reference), categories(current))
		table = &t
	}
	for i, test := range w.tests {
		var result drift.Result
		var err error
		switch {
		case test == drift.Missing:
			result, err = n.Missing()
		case test == drift.Range:
			result, err = n.OutOfRange()
		case test == drift.Unseen:
			result, err = table.UnseenRows(0)
		case table != nil:
			result, err = table.Test(test, 0)
		default:
			result, err = n.Test(test, 0)
		}
		if err != nil {
			return err
		}
		if result.P <= drift.DefaultLevel {
			counts[i]++
		}
	}
	return nil
}

func categories(values []float64) map[string]int {
	counts := map[string]int{}
	for _, v := range values {
		counts[string(rune('0'+int(max(v, 0))))]++ // NaN has a table of its own test
	}
	return counts
}

// Shift is how often a shift in one of several columns was found.
type Shift struct {
	Test drift.Test
	// SD is the shift in standard deviations, of one of Columns columns of Rows rows.
	SD                   float64
	Columns, Rows        int
	Found, Wrong, Rounds int
}

// Shifts shifts one of 50 columns, windows and references being of 1,000 rows. It counts how
// often this column is found at the 1 % level after correction (Benjamini and Hochberg), and
// how often another one is.
func Shifts(ctx context.Context, rounds int, sds []float64) ([]Shift, error) {
	const columns, rows = 50, 1000
	var shifts []Shift
	for _, test := range []drift.Test{drift.CvM, drift.KS, drift.PSI} {
		for _, sd := range sds {
			s := Shift{test, sd, columns, rows, 0, 0, rounds}
			for round := range rounds {
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				r := rand.New(rand.NewPCG(uint64(round), uint64(sd*1000)))
				p := make([]float64, columns)
				for i := range p {
					shift := 0.0
					if i == round%columns {
						shift = sd
					}
					result, err := drift.NewReference(worlds[0].draw(r, rows, 0)).Against(worlds[0].draw(r, rows, shift)).Test(test, 0)
					if err != nil {
						return nil, err
					}
					p[i] = result.P
				}
				s.add(drift.BenjaminiHochberg(p), round%columns)
			}
			shifts = append(shifts, s)
		}
	}
	return shifts, nil
}

func (s *Shift) add(adjusted []float64, shifted int) {
	wrong := false
	for i, p := range adjusted {
		if p > drift.DefaultLevel {
			continue
		}
		if i == shifted {
			s.Found++
		} else {
			wrong = true
		}
	}
	if wrong {
		s.Wrong++
	}
}
