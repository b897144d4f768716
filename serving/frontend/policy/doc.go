// SPDX-License-Identifier: Apache-2.0

// Package policy decides what to do with a score. A policy is written in YAML, checked
// against the feature definitions when it is loaded, and compiled: deciding reads no
// clock, does no I/O and allocates nothing. docs/reference/decisions.md has every key.
//
// # The way of a decision
//
//	facts of the request ─► features ─► before ─► model ─► segment ─► threshold ─► after ─► explain
//	                                      │ first match answers                      │ first match overrides
//	                                      └──────────────────────────────► explain ◄─┘
//
// [Policy.Before] asks the rules that need no model. [Policy.Assign] draws the arm of the
// experiment, whose model is then run. [Policy.Decide] takes the segment, the threshold
// of the arm that the score reaches, and the rules that know both. Where features or
// model are late or down, [Policy.Fallback] answers, step by step. Every answer ends with
// the explain rules, which add reason codes; where a score led to it, [Policy.Attribute]
// adds those that follow from what the features added to the score.
//
// # Invariants
//
//	P1  Whatever Load accepts can be decided: every decision, reason, segment and arm that
//	    is named exists, every score has a threshold, and a fallback ends in an answer.
//	P2  The same facts, arm and score give the same outcome, on every machine.
//	P3  A condition on a null is false, so what is unknown never matches a rule.
//	P4  A score that is not a finite number is no score: Decide does not answer.
//	P5  A rule before the model that holds is not passed by because something is down: the
//	    fallback asks it too.
//	P6  Policy.Version differs if what is written may decide or answer differently, and does
//	    not depend on comments, on layout, or on the order of what has no order. Features have
//	    a version of their own.
//
// # Experiments
//
// The arm of a unit, such as a customer, is a function of the salt and the unit alone, so
// it is sticky over requests, restarts and replicas, and anybody can compute it again:
//
//	bucket = mix(KeyOf(unit) xor KeyOf(salt)) mod 10000
//
// where KeyOf is [window.KeyOf], a whole number counts as its decimal text, and mix is the
// finaliser of SplitMix64 (Steele, Lea, Flood 2014). Arms take the buckets in their order,
// 10000 * share each. Another salt draws anew, independent of the first: the hashes of two
// salts differ in about half of their bits, and the finaliser spreads every one of them.
// The remainder of 2^64 by 10000 favours no bucket by more than 1 in 10^15. The propensity
// of a decision is the share of the arm that its unit is in.
//
// # Concurrency
//
// A [Policy] is immutable and shared. A [Facts] and an [Outcome] belong to one goroutine at
// a time and are made to be reused.
package policy
