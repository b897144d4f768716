// SPDX-License-Identifier: Apache-2.0

package aggregate

import (
	"fmt"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
)

// Function is a labelling function: it votes for a label where an expression is true, and
// abstains elsewhere.
type Function struct {
	Name string
	// When is an expression (expr-lang.org) over the fields of an item's data, as
	// `amount > 220` or `text contains "refund"`.
	When string
	// Label is its vote.
	Label int
}

// Functions are compiled labelling functions. They may be used by many goroutines.
type Functions struct {
	all      []Function
	programs []*vm.Program
}

// Compile checks functions for a number of labels.
func Compile(all []Function, labels int) (*Functions, error) {
	if len(all) == 0 || len(all) > VotersMax {
		return nil, fmt.Errorf("%w: %d functions, want 1 to %d", ErrInvalid, len(all), VotersMax)
	}
	f := &Functions{all: append([]Function(nil), all...)}
	for i, one := range all {
		if one.Label < 0 || one.Label >= labels {
			return nil, fmt.Errorf("%w: functions[%d] %q: label %d is not in 0 to %d", ErrInvalid, i, one.Name, one.Label, labels-1)
		}
		program, err := expr.Compile(one.When, expr.AsBool(), expr.AllowUndefinedVariables())
		if err != nil {
			return nil, fmt.Errorf("%w: functions[%d] %q: %w", ErrInvalid, i, one.Name, err)
		}
		f.programs = append(f.programs, program)
	}
	return f, nil
}

// Summary says how a function did.
type Summary struct {
	Name string
	// Coverage is the share of items it votes on; Overlap that on which another one votes
	// too, and Conflict that on which another one votes for another label.
	Coverage, Overlap, Conflict float64
	// Errors counts items on which it could not be computed, as when a field is missing:
	// it abstains there. FirstError is the first of them.
	Errors     int
	FirstError string
}

// Vote lets all functions vote on items, each the fields of its data.
func (f *Functions) Vote(items []map[string]any) ([][]int, []Summary, error) {
	if len(items) == 0 || len(items) > ItemsMax {
		return nil, nil, fmt.Errorf("%w: %d items, want 1 to %d", ErrInvalid, len(items), ItemsMax)
	}
	sums := make([]Summary, len(f.all))
	votes := make([][]int, len(items))
	for i, item := range items {
		votes[i] = make([]int, len(f.all))
		for r, program := range f.programs {
			votes[i][r] = Abstain
			is, err := expr.Run(program, item)
			if err != nil {
				if sums[r].Errors++; sums[r].Errors == 1 {
					sums[r].FirstError = fmt.Sprintf("item %d: %v", i, err)
				}
			} else if is == true {
				votes[i][r] = f.all[r].Label
			}
		}
		count(sums, votes[i])
	}
	for r := range sums {
		sums[r].Name = f.all[r].Name
		for _, share := range []*float64{&sums[r].Coverage, &sums[r].Overlap, &sums[r].Conflict} {
			*share /= float64(len(items))
		}
	}
	return votes, sums, nil
}

// count adds the votes on an item to the summaries.
func count(sums []Summary, row []int) {
	voters, labels := 0, map[int]bool{}
	for _, v := range row {
		if v != Abstain {
			voters++
			labels[v] = true
		}
	}
	for r, v := range row {
		if v == Abstain {
			continue
		}
		sums[r].Coverage++
		if voters > 1 {
			sums[r].Overlap++
		}
		if len(labels) > 1 {
			sums[r].Conflict++
		}
	}
}
