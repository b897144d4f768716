// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/millrace-ml/millrace/training/learn"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// method has a parameter of each kind.
var method = &learn.Method{Name: "toy", Parameters: []learn.Parameter{
	{Name: "x", Kind: learn.Float, Min: -100, Max: 100, SearchMin: -5, SearchMax: 5},
	{Name: "rate", Kind: learn.Float, Min: 0, Max: 10, SearchMin: 1e-4, SearchMax: 1, Log: true},
	{Name: "depth", Kind: learn.Int, Min: 1, Max: 1000, SearchMin: 2, SearchMax: 12},
	{Name: "leaves", Kind: learn.Int, Min: 1, Max: 1 << 20, SearchMin: 1, SearchMax: 1024, Log: true},
	{Name: "kind", Kind: learn.Text, Options: []string{"a", "b", "c"}, Default: "a"},
	{Name: "flag", Kind: learn.Flag, Default: false},
	{Name: "bins", Kind: learn.Int, Min: 2, Max: 256},
}}

const everything = `
x: {float: [-5, 5]}
rate: {float: [0.0001, 1], log: true}
depth: {int: [2, 12]}
leaves: {int: [1, 1024], log: true}
kind: {choice: [a, b, c]}
flag: {choice: [true, false]}
bins: {choice: [16, 64, 256]}`

func spaceOf(t testing.TB, text string) Space {
	t.Helper()
	var ranges map[string]Range
	must(t, yaml.Unmarshal([]byte(text), &ranges))
	s, err := NewSpace(method, ranges)
	must(t, err)
	return s
}

// badness is least, 0, at x = 1, rate = 0.01, depth = 7, leaves = 64, kind = b.
func badness(v learn.Values) float64 {
	b := math.Abs(v.Float("x")-1) + math.Abs(math.Log10(v.Float("rate"))+2) + math.Abs(float64(v.Int("depth")-7))/3 + math.Abs(math.Log2(float64(v.Int("leaves")))-6)/2
	if v.Text("kind") != "b" {
		b++
	}
	return b
}

// learning reports ten steps that come nearer to the badness, fails now and then.
func learning(_ context.Context, t *Trial) (float64, error) {
	if t.Number%11 == 5 {
		return 0, errors.New("out of memory")
	}
	b := badness(t.Parameters)
	for step := range 10 {
		if err := t.Report(step, b+5/float64(step+1)); err != nil {
			return 0, fmt.Errorf("fit: %w", err)
		}
	}
	return b, nil
}

func outline(all []Trial) []Trial {
	all = slices.Clone(all)
	for i := range all {
		all[i].Duration, all[i].id = 0, 0
		if all[i].State == Failed {
			all[i].Value = 0 // NaN is not equal to itself
		}
	}
	return all
}

// TestResume breaks a search off after each trial, and expects the resumed one to do what
// the whole one did.
func TestResume(t *testing.T) {
	for _, pruner := range []string{None, Median, ASHA} {
		o := Options{Trials: 36, Pruner: pruner, Seed: 7}
		whole, err := Search(t.Context(), spaceOf(t, everything), o, learning)
		must(t, err)
		if again, err := Search(t.Context(), spaceOf(t, everything), o, learning); err != nil || !reflect.DeepEqual(outline(again.Trials), outline(whole.Trials)) {
			t.Fatalf("%s: a second search differs: %v", pruner, err)
		}
		pruned := 0
		for _, trial := range whole.Trials {
			if trial.State == Pruned {
				pruned++
			}
		}
		if (pruned > 0) != (pruner != None) {
			t.Errorf("%s: %d trials pruned", pruner, pruned)
		}
		for after := range o.Trials {
			broken := errors.New("killed")
			var kept []Trial
			first := o
			first.OnTrial = func(trial Trial) error {
				kept = append(kept, trial)
				if len(kept) == after+1 {
					return broken
				}
				return nil
			}
			if _, err := Search(t.Context(), spaceOf(t, everything), first, learning); !errors.Is(err, broken) {
				t.Fatal(err)
			}
			for i := range kept { // as a log gives them back
				data, err := json.Marshal(kept[i].Parameters)
				must(t, err)
				kept[i].Parameters = nil
				must(t, json.Unmarshal(data, &kept[i].Parameters)) // whole numbers become floats
				data, err = json.Marshal(kept[i].Reports)
				must(t, err)
				kept[i].Reports = nil
				must(t, json.Unmarshal(data, &kept[i].Reports))
				kept[i] = Trial{Number: kept[i].Number, Parameters: kept[i].Parameters, State: kept[i].State, Value: kept[i].Value, Reports: kept[i].Reports, Error: kept[i].Error}
			}
			slices.Reverse(kept)
			second := o
			second.Resume = kept
			resumed, err := Search(t.Context(), spaceOf(t, everything), second, learning)
			must(t, err)
			if !reflect.DeepEqual(outline(resumed.Trials), outline(whole.Trials)) {
				t.Fatalf("%s: resumed after %d trials, the search differs", pruner, after+1)
			}
		}
	}
}

// TestFinds compares the samplers over seeds.
func TestFinds(t *testing.T) {
	median := func(sampler string, direction Direction) float64 {
		var found []float64
		for seed := range uint64(15) {
			r, err := Search(t.Context(), spaceOf(t, everything), Options{Trials: 80, Sampler: sampler, Seed: seed, Direction: direction}, func(_ context.Context, t *Trial) (float64, error) {
				if direction == Maximize {
					return -badness(t.Parameters), nil
				}
				return badness(t.Parameters), nil
			})
			must(t, err)
			found = append(found, badness(r.Best.Parameters))
		}
		slices.Sort(found)
		return found[len(found)/2]
	}
	random, tpe, maximized := median(Random, Minimize), median(TPE, Minimize), median(TPE, Maximize)
	t.Logf("median of the best: random %.3f, tpe %.3f, tpe maximizing %.3f", random, tpe, maximized)
	if tpe > 0.75*random || maximized != tpe {
		t.Errorf("random %.3f, tpe %.3f, tpe maximizing %.3f", random, tpe, maximized)
	}
}

// TestCovers expects values in their ranges, with both ends and all choices.
func TestCovers(t *testing.T) {
	seen := map[string]map[any]int{"depth": {}, "leaves": {}, "kind": {}, "flag": {}}
	small := 0
	_, err := Search(t.Context(), spaceOf(t, strings.Replace(everything, "1024", "8", 1)), Options{Trials: 2000, Sampler: Random, Seed: 1}, func(_ context.Context, trial *Trial) (float64, error) {
		for name := range seen {
			seen[name][trial.Parameters[name]]++
		}
		if x, rate := trial.Parameters.Float("x"), trial.Parameters.Float("rate"); x < -5 || x > 5 || rate < 1e-4 || rate > 1 {
			t.Errorf("x %v, rate %v", x, rate)
		} else if rate < 1e-2 {
			small++
		}
		return 0, nil
	})
	must(t, err)
	if len(seen["depth"]) != 11 || seen["depth"][int64(2)] < 100 || seen["depth"][int64(12)] < 100 || len(seen["leaves"]) != 8 || seen["leaves"][int64(1)] < 2*seen["leaves"][int64(8)] || len(seen["kind"]) != 3 || len(seen["flag"]) != 2 {
		t.Errorf("seen %v", seen)
	}
	if small < 900 || small > 1100 {
		t.Errorf("%d of 2000 rates are below the middle of the logarithms", small)
	}
}

func TestParallel(t *testing.T) {
	told := 0
	r, err := Search(t.Context(), spaceOf(t, everything), Options{Trials: 100, Parallel: 8, Pruner: Median, Seed: 3, OnTrial: func(Trial) error { told++; return nil }}, learning)
	must(t, err)
	if len(r.Trials) != 100 || told != 100 {
		t.Fatalf("%d trials, %d told", len(r.Trials), told)
	}
	for i, trial := range r.Trials {
		if trial.Number != i || trial.State == Failed != (i%11 == 5) {
			t.Errorf("trial %+v", trial)
		}
	}
}

func TestFailures(t *testing.T) {
	calls := 0
	r, err := Search(t.Context(), spaceOf(t, everything), Options{Trials: 1000}, func(context.Context, *Trial) (float64, error) {
		calls++
		switch calls % 3 {
		case 0:
			panic("shapes do not match")
		case 1:
			return math.NaN(), nil
		}
		return 0, errors.New("broken")
	})
	if !errors.Is(err, ErrAllFailed) || calls != FailuresMax || len(r.Trials) != FailuresMax || !strings.Contains(r.Trials[2].Error, "shapes do not match") {
		t.Errorf("%d calls, %v", calls, err)
	}
	// One that works among them keeps the search going.
	calls = 0
	r, err = Search(t.Context(), spaceOf(t, everything), Options{Trials: 50}, func(context.Context, *Trial) (float64, error) {
		if calls++; calls != FailuresMax {
			return 0, errors.New("broken")
		}
		return 4, nil
	})
	if err != nil || len(r.Trials) != 50 || r.Best.Value != 4 {
		t.Errorf("%+v, %v", r.Best, err)
	}
}

func TestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := Search(t.Context(), spaceOf(t, everything), Options{Trials: 1000, Time: 10 * time.Second, Parallel: 2}, func(ctx context.Context, trial *Trial) (float64, error) {
			select {
			case <-time.After(3 * time.Second):
				return float64(trial.Number), nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		})
		must(t, err)
		if len(r.Trials) != 6 || r.Best.Number != 0 {
			t.Errorf("%d trials in the time", len(r.Trials))
		}
		_, err = Search(t.Context(), spaceOf(t, everything), Options{Trials: 1, Time: time.Second}, func(ctx context.Context, _ *Trial) (float64, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		if !errors.Is(err, ErrAllFailed) {
			t.Errorf("no trial in the time: %v", err)
		}
	})
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, err := Search(ctx, spaceOf(t, everything), Options{Trials: 1000}, func(_ context.Context, trial *Trial) (float64, error) {
		if trial.Number == 4 {
			cancel()
		}
		return 1, nil
	})
	if !errors.Is(err, context.Canceled) || len(r.Trials) != 4 {
		t.Errorf("%d trials, %v", len(r.Trials), err)
	}
}

func TestSpaceErrors(t *testing.T) {
	for text, want := range map[string]string{
		"y: {int: [1, 2]}":                     "space.y: toy has no such parameter",
		"x: {}":                                "give one of",
		"x: {int: [1, 2], float: [1, 2]}":      "give one of",
		"x: {float: [1]}":                      "two numbers",
		"x: {float: [2, 1]}":                   "not a range",
		"x: {float: [.nan, 1]}":                "not a range",
		"x: {float: [-200, 1]}":                "not within",
		"x: {float: [-1, 1], log: true}":       "above 0",
		"depth: {float: [1, 2]}":               "fractions",
		"kind: {int: [1, 2]}":                  "use choice",
		"kind: {choice: [a, d]}":               "none of a, b, c",
		"kind: {choice: [a, a]}":               "twice",
		"kind: {choice: []}":                   "1 to 1000",
		"depth: {choice: [1, 2], log: true}":   "no log",
		"leaves: {int: [0, 5]}\nx: {int: [0]}": "two numbers",
	} {
		var ranges map[string]Range
		must(t, yaml.Unmarshal([]byte(text), &ranges))
		if _, err := NewSpace(method, ranges); !errors.Is(err, learn.ErrParameters) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
	if _, err := NewSpace(&learn.Method{Name: "constant"}, nil); !errors.Is(err, learn.ErrParameters) {
		t.Errorf("nothing to search: %v", err)
	}
	s, err := NewSpace(method, nil)
	if err != nil || len(s.dimensions) != 4 {
		t.Errorf("suggested: %+v, %v", s, err)
	}
}

func TestOptionErrors(t *testing.T) {
	for want, o := range map[string]Options{
		"0 trials":    {},
		"-1 trials":   {Trials: 1, Parallel: -1},
		"no sampler":  {Trials: 1, Sampler: "grid"},
		"no pruner":   {Trials: 1, Pruner: "hope"},
		"a time":      {Trials: 1, Time: -1},
		"there twice": {Trials: 1, Resume: []Trial{{State: Complete}, {State: Complete}}},
		"no state":    {Trials: 1, Resume: []Trial{{}}},
	} {
		_, err := Search(t.Context(), spaceOf(t, everything), o, nil)
		if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	trial := &Trial{}
	must(t, trial.Report(3, 1))
	if err := trial.Report(3, 1); !errors.Is(err, ErrOptions) {
		t.Errorf("a step twice: %v", err)
	}
}
