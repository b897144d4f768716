// SPDX-License-Identifier: Apache-2.0

// Package aggregate makes one label of what several voters say, annotators or labelling
// functions, with a probability.
//
//	Majority      each vote counts the same, or as much as its voter's weight
//	DawidSkene    how often each voter gives label l when the truth is j, and what the truth
//	              is, found together by expectation-maximisation (Dawid, Skene 1979)
//	Rule          says when the result is good enough, and else why somebody has to look
//	Functions     labelling functions: expressions that vote for a label or abstain
//
// # Dawid and Skene, with priors
//
// Voter r's row j of confusions has a Dirichlet prior: Strength votes of which Accuracy are
// right and the others spread evenly. With few votes a voter is about as good as that;
// maximum likelihood would believe a voter with two lucky votes without limit. Each round
// raises the sum of log-likelihood and log-prior; it ends when that grows by less than
// Tolerance for each item, or after RoundsMax.
//
// When to abstain may tell something: a function that looks for a word abstains mostly on
// one class. With Options.Abstaining it is one more thing that a voter can say; for
// annotators, who just did not see the item, it must not be.
//
// # Invariants
//
//	G1  Probabilities of an item sum to 1; an item without votes has the class priors.
//	G2  The same input gives the same result; ties go to the first label.
//
// Functions keep no state and start no goroutines; a model takes voters times labels
// squared, and items times labels, numbers.
package aggregate

import (
	"errors"
	"fmt"
)

// ErrInvalid means that the input is wrong; the error has the place.
var ErrInvalid = errors.New("invalid input")

// Abstain is the vote of who gives none.
const Abstain = -1

// Bounds of the input.
const (
	// ItemsMax, VotersMax and LabelsMax bound votes.
	ItemsMax, VotersMax, LabelsMax = 5_000_000, 5000, 1000
	// CellsMax bounds voters times labels squared.
	CellsMax = 50_000_000
)

// check validates votes by item and voter, and says how many voters there are.
func check(votes [][]int, labels int) (voters int, err error) {
	if len(votes) == 0 || len(votes) > ItemsMax || labels < 2 || labels > LabelsMax {
		return 0, fmt.Errorf("%w: %d items and %d labels: want 1 to %d and 2 to %d", ErrInvalid, len(votes), labels, ItemsMax, LabelsMax)
	}
	voters = len(votes[0])
	if voters < 1 || voters > VotersMax || voters*labels*labels > CellsMax {
		return 0, fmt.Errorf("%w: %d voters of %d labels: want 1 to %d voters, and voters * labels^2 at most %d", ErrInvalid, voters, labels, VotersMax, CellsMax)
	}
	for i, row := range votes {
		if len(row) != voters {
			return 0, fmt.Errorf("%w: votes[%d]: %d voters, and votes[0] has %d", ErrInvalid, i, len(row), voters)
		}
		for r, v := range row {
			if v < Abstain || v >= labels {
				return 0, fmt.Errorf("%w: votes[%d][%d]: %d is neither %d nor in 0 to %d", ErrInvalid, i, r, v, Abstain, labels-1)
			}
		}
	}
	return voters, nil
}
