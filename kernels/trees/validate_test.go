// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// pair is two trees of one node each, between four leaves.
func pair() *Ensemble {
	leaf := func(v float64) Leaf { return Leaf{Weights: []Weight{{0, v}}} }
	return &Ensemble{
		Features: 2, Targets: 1,
		Nodes:  []Node{{True: ^0, False: ^1}, {Feature: 1, True: ^2, False: ^3}},
		Leaves: []Leaf{leaf(1), leaf(2), leaf(3), leaf(4)},
		Roots:  []int32{0, 1},
	}
}

func TestValidate(t *testing.T) {
	if err := pair().Validate(); err != nil {
		t.Fatal(err)
	}
	for says, change := range map[string]func(e *Ensemble){
		"tree 0: node 0 is reached":    func(e *Ensemble) { e.Nodes[0].True = 0 },
		"tree 1: node 0 is reached":    func(e *Ensemble) { e.Nodes[1].False = 0 },
		"tree 1: node 1 is reached":    func(e *Ensemble) { e.Nodes[0].False = 1 },
		"node 1: true branch: node 2":  func(e *Ensemble) { e.Nodes[1].True = 2 },
		"node 0: false branch: leaf 4": func(e *Ensemble) { e.Nodes[0].False = ^4 },
		"tree 1: the root is node 9":   func(e *Ensemble) { e.Roots[1] = 9 },
		"tree 0: the root is leaf 5":   func(e *Ensemble) { e.Roots[0] = ^5 },
		"node 1: feature 2 of 2":       func(e *Ensemble) { e.Nodes[1].Feature = 2 },
		"node 0: feature -1 of 2":      func(e *Ensemble) { e.Nodes[0].Feature = -1 },
		"node 0: comparison 7":         func(e *Ensemble) { e.Nodes[0].Compare = compares },
		"node 1: the threshold is NaN": func(e *Ensemble) { e.Nodes[1].Threshold = math.NaN() },
		"node 0: 1 members":            func(e *Ensemble) { e.Nodes[0].Members = []float64{1} },
		"node 0: member 1 is NaN":      func(e *Ensemble) { e.Nodes[0].Compare, e.Nodes[0].Members = Member, []float64{1, math.NaN()} },
		"leaf 2: weight 0: target 1":   func(e *Ensemble) { e.Leaves[2].Weights[0].Target = 1 },
		"leaf 3: weight 0: NaN":        func(e *Ensemble) { e.Aggregate, e.Leaves[3].Weights[0].Value = Min, math.NaN() },
		"aggregate 4":                  func(e *Ensemble) { e.Aggregate = aggregates },
		"2 base values for 1 targets":  func(e *Ensemble) { e.Base = make([]float64, 2) },
		"0 targets":                    func(e *Ensemble) { e.Targets = 0 },
		"99999999 features":            func(e *Ensemble) { e.Features = 99999999 },
	} {
		e := pair()
		change(e)
		_, err := Compile(e)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want one that says %q", err, says)
		}
	}
}
