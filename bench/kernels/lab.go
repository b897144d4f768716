// SPDX-License-Identifier: Apache-2.0

// Package kernels measures the arithmetic of one core: the kernels against what the CPU
// can do, and whole runs of the native engine against ONNX Runtime's.
//
// Everything that is compared is compared twice: first its outputs, which must agree
// before anything is timed, then its time, in turns (see turns). A value is the median
// over the rounds of a case, and of the cases that it stands for the worst one; all
// cases are in the details. Both engines run through the same interface on one thread,
// on inputs that are bound once.
//
// A Lab is used by one goroutine.
package kernels

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"time"

	"github.com/millrace-ml/millrace/bench/kernels/turns"
	"github.com/millrace-ml/millrace/engine"
)

// ErrOutputsDiffer says that contenders do not compute the same.
var ErrOutputsDiffer = errors.New("outputs differ")

// Options are what a Lab needs.
type Options struct {
	// Native and Peer run models: our engine, and the one it is compared with.
	Native, Peer engine.Backend
	// Folder is where models are written. The caller removes it.
	Folder string
	// Quick measures little of small cases. The values then mean nothing.
	Quick bool
	// Progress, when set, is told what is being measured.
	Progress func(text string)
}

// Lab is where measurements are made.
type Lab struct {
	Options
	pace   turns.Pace
	grown  *grown // see forests
	models int
}

// NewLab makes a lab.
func NewLab(o Options) *Lab {
	l := &Lab{Options: o, pace: turns.Pace{Rounds: 9, Turn: 20 * time.Millisecond}}
	if o.Quick {
		l.pace = turns.Pace{Rounds: 2, Turn: 200 * time.Microsecond}
	}
	return l
}

// random draws the same values in every run.
func (l *Lab) random() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// Case is what was measured of one case.
type Case struct {
	Name string `json:"case"`
	// Value is what the row of the table is about; In says in what it is measured.
	Value turns.Spread `json:"value"`
	In    string       `json:"in"`
	// Times are medians of each contender's, in the unit that Unit names.
	Times map[string]float64 `json:"times"`
	Unit  string             `json:"unit"`
	// Also are further ratios.
	Also map[string]float64 `json:"also,omitempty"`
	// Checksum is the sum of the outputs, which all contenders agreed on.
	Checksum float64 `json:"checksum"`
}

// Names of contenders.
const (
	ours   = "engine" // a whole run of the native engine
	peer   = "onnxruntime"
	kernel = "kernel"         // the bare kernel
	narrow = "kernel at avx2" // the bare kernel, of a CPU with less
	peak   = "peak"
)

// measure times the contenders of a case, in units of the given name.
func (l *Lab) measure(ctx context.Context, name, unit string, contenders ...turns.Contender) (*turns.Result, Case, error) {
	if l.Progress != nil {
		l.Progress(name)
	}
	r, err := turns.Measure(ctx, l.pace, contenders...)
	if err != nil {
		return nil, Case{}, fmt.Errorf("%s: %w", name, err)
	}
	return r, Case{Name: name, Unit: unit, Times: rounded(r.Medians())}, nil
}

// rounded keeps four digits, which is more than any time here is exact to.
func rounded(times map[string]float64) map[string]float64 {
	out := maps.Clone(times)
	for name, v := range out {
		out[name] = round(v)
	}
	return out
}

func round(v float64) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return v
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

// ratio fills the case with how many times faster the second contender is.
func (c *Case) ratio(r *turns.Result, over, under string) {
	c.set("times", r.Ratio(over, under), 1)
}

// set gives the case its value.
func (c *Case) set(in string, s turns.Spread, scale float64) {
	c.In = in
	c.Value = turns.Spread{Median: round(scale * s.Median), Low: round(scale * s.Low), High: round(scale * s.High)}
}

// share fills the case with the percentage of the ceiling that a contender reaches,
// where both count operations.
func (c *Case) share(r *turns.Result, of string) {
	c.set("% of the peak", r.Ratio(peak, of), 100)
}

// also adds the ratio of two contenders for information.
func (c *Case) also(r *turns.Result, name, over, under string) {
	if c.Also == nil {
		c.Also = make(map[string]float64)
	}
	c.Also[name] = round(r.Ratio(over, under).Median)
}

// worst is the lowest median of the cases that keep names, which is 0 when there are
// none.
func worst(cases []Case, keep func(c *Case) bool) float64 {
	lowest, found := 0.0, false
	for i := range cases {
		c := &cases[i]
		if keep(c) && (!found || c.Value.Median < lowest) {
			lowest, found = c.Value.Median, true
		}
	}
	return lowest
}

// every keeps all cases.
func every(*Case) bool { return true }
