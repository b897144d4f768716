// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

func shortSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// Resolve gives all parameters their values: what was given, else the default. A given
// text is read as what the default is. All mistakes are reported.
func (p *Pipeline) Resolve(given map[string]any, now time.Time) (map[string]any, error) {
	var errs []error
	names := parameterNames(p.Parameters)
	for _, name := range sortedKeys(given) {
		if !slices.Contains(names, name) {
			errs = append(errs, fmt.Errorf("%w: pipeline %q has no parameter %q%s", ErrInvalid, p.Name, name, hint(name, names)))
		}
	}
	values := make(map[string]any, len(p.Parameters))
	for _, parameter := range p.Parameters {
		v, ok := given[parameter.Name]
		if !ok {
			v = parameter.Default
		}
		v, err := parameter.convert(v)
		if err != nil {
			errs = append(errs, fmt.Errorf("%w: pipeline %q: %w", ErrInvalid, p.Name, err))
		}
		if v == "now" && parameter.Default == "now" {
			v = now.Format(time.RFC3339)
		}
		values[parameter.Name] = v
	}
	return values, errors.Join(errs...)
}

func (p Parameter) convert(v any) (any, error) {
	if v == nil {
		return nil, fmt.Errorf("parameter %s has no value, and no default", p.Name)
	}
	switch n := v.(type) {
	case int:
		v = int64(n)
	case float64:
		if math.IsNaN(n) || math.IsInf(n, 0) {
			return nil, fmt.Errorf("parameter %s is %v, want a finite number", p.Name, n)
		}
	case string, bool, int64:
	default:
		return nil, fmt.Errorf("parameter %s is a %T, want a text, a number, true or false", p.Name, v)
	}
	var err error
	given := v
	text, isText := v.(string)
	f, isFloat := v.(float64)
	switch p.Default.(type) {
	case int64:
		if isText {
			v, err = strconv.ParseInt(text, 10, 64)
		} else if isFloat && f == math.Trunc(f) && math.Abs(f) < 1<<53 { // what JSON makes of integers
			v = int64(f)
		}
		if _, ok := v.(int64); !ok || err != nil {
			return nil, fmt.Errorf("parameter %s is %q, want an integer", p.Name, Text(given))
		}
	case float64:
		if isText {
			v, err = strconv.ParseFloat(text, 64)
		} else if i, ok := v.(int64); ok {
			v = float64(i)
		}
		if number, ok := v.(float64); !ok || err != nil || math.IsNaN(number) || math.IsInf(number, 0) {
			return nil, fmt.Errorf("parameter %s is %q, want a number", p.Name, Text(given))
		}
	case bool:
		if isText {
			v, err = strconv.ParseBool(text)
		}
		if _, ok := v.(bool); !ok || err != nil {
			return nil, fmt.Errorf("parameter %s is %q, want true or false", p.Name, Text(given))
		}
	case string:
		if !isText {
			v = Text(v)
		}
	}
	if p.Choices != nil && !slices.Contains(p.Choices, v) {
		return nil, fmt.Errorf("parameter %s is %q, want one of %v", p.Name, Text(v), p.Choices)
	}
	return v, nil
}

// List computes the items of a foreach.
func (f *Foreach) List(env Env) ([]any, error) {
	if f.Expression == nil {
		return f.Items, nil
	}
	v, err := f.Expression.Eval(env)
	if err != nil {
		return nil, err
	}
	var items []any
	switch l := v.(type) {
	case []any:
		items = l
	case []int:
		for _, n := range l {
			items = append(items, int64(n))
		}
	case []string:
		for _, s := range l {
			items = append(items, s)
		}
	default:
		return nil, fmt.Errorf("%w: foreach %q gives %T, want a list", ErrInvalid, f.Expression.Text, v)
	}
	if len(items) > ItemsMax {
		return nil, fmt.Errorf("%w: foreach %q gives %d items, at most %d are allowed", ErrInvalid, f.Expression.Text, len(items), ItemsMax)
	}
	return items, checkItems(items)
}

// End is how a task ended, as far as those that wait for it care.
type End uint8

// The ends: skipped because a condition did not hold is no failure, and hands on no result.
const (
	EndSucceeded End = iota
	EndSkipped
	EndFailed
)

// Verdict is what is to become of a task.
type Verdict struct {
	// End is EndSucceeded for a task that is to run, else how it ends without running.
	End    End
	Reason string // why it does not run
}

// Decide says what is to become of a task once all that it waits for has ended. A task
// without a condition, or with one that does not look at how tasks ended, runs only if all
// of them succeeded.
func (t *Task) Decide(env Env, ended func(task string) End) (Verdict, error) {
	worst, which := EndSucceeded, ""
	for _, n := range t.After {
		if e := ended(n); e > worst {
			worst, which = e, n
		}
	}
	looks := t.LooksAtEnds()
	switch {
	case worst == EndFailed && !looks:
		return Verdict{EndFailed, "task " + which + " failed"}, nil
	case worst == EndSkipped && !looks:
		return Verdict{EndSkipped, "task " + which + " was skipped"}, nil
	case t.When == nil:
		return Verdict{}, nil
	}
	full := make(Env, len(env)+3)
	maps.Copy(full, env)
	full["always"], full["succeeded"], full["failed"] = true, worst == EndSucceeded, worst == EndFailed
	run, err := t.When.True(full)
	if !run || err != nil {
		return Verdict{EndSkipped, "when " + t.When.Text + " does not hold"}, err
	}
	return Verdict{}, nil
}
