// SPDX-License-Identifier: Apache-2.0

// Package selection chooses what to label next out of a pool, from what models say of it.
//
// # Strategies
//
//	random            each item with the same probability
//	margin            the two most likely labels are close (Scheffer et al. 2001)
//	entropy           the probabilities are spread (Shannon)
//	least_confidence  the most likely label is unlikely (Lewis, Gale 1994)
//	vote_entropy      the members of a committee vote for different labels (Dagan, Engelson 1995)
//	consensus_kl      the members' probabilities differ: their mean Kullback-Leibler
//	                  divergence from the committee's mean (McCallum, Nigam 1998)
//	k_center          far from all that is labelled or chosen: greedy k-centre, at most twice
//	                  the best radius (Gonzalez 1985; Sener, Savarese 2018)
//	gradient          the label would change a logistic model most: expected length of its
//	                  gradient (Settles, Craven, Ray 2008)
//	badge             k-means++ over the gradients that the most likely labels would give
//	                  (Ash et al. 2020): uncertain and diverse at once
//	impact            the weight of the item's slice times its margin uncertainty, for slices
//	                  that drifted
//
// Margin is the one to begin with: on tables little beats it (Bahri et al. 2022).
//
// # The random slice
//
// A share of every selection is drawn at random from the whole pool before the strategy
// chooses, and says with which probability. Items that a strategy chose tell nothing about
// the rest of the data; those of the random slice give unbiased estimates of it (Mean).
//
// # Invariants
//
//	S1  The same input and options choose the same items in the same order.
//	S2  No item is chosen twice.
//	S3  An item of the random slice is chosen with exactly its propensity, whatever the
//	    strategy.
//
// Functions hold no state and start no goroutines; memory is a few numbers for each item
// of the pool.
package selection

import "errors"

// ErrInvalid means that input or options are wrong; the error has the place.
var ErrInvalid = errors.New("invalid selection")
