// SPDX-License-Identifier: Apache-2.0

// Package groundtruth collects what became of predictions, and joins it to them: the
// table (prediction, vector, decision, arm, outcome, label time) that training, the
// monitor and labelling read, correct as of any instant.
//
// # Path of feedback
//
//	Submit -> event log (stream "outcomes") -> Join, as of an instant
//	                                        -> Live, as it arrives
//
// [Collector] checks feedback, tells repeats, and acknowledges what is durable. Feedback
// names a prediction, or an entity and a time; it has a kind, a name, a value, a source
// and an event time, and the log adds the arrival. Nothing is ever overwritten: a
// correction is another version of the same feedback id, and one with a null value
// withdraws it.
//
// A [Definition] says which feedback is the label of which decision:
//
//   - by prediction id it counts if its event is at most Window after the prediction, and
//     at most [EarlyMax] before;
//   - by entity it is of the entity's prediction with the latest time at or before the
//     event (of equal times the greatest id), and counts if the event is at most Within
//     after it;
//   - of several pieces the source of the highest priority wins, whenever it came; within
//     a priority the latest event, then the latest arrival. Row.Label says when they
//     were not of one mind;
//   - silence is the negative value only when now > time of the prediction + Window, and
//     until then the prediction is [Pending]: censored, not negative. A positive label may
//     come at any time; one that comes after that turns the negative around, and both
//     Join as of later and Live say so.
//
// These are the rules that work on delayed feedback asks for: negatives that are taken
// early are fake ones (O. Chapelle, Modeling delayed feedback in display advertising,
// KDD 2014), and rows that are labelled early are no fair sample, hence
// JoinOptions.MatureOnly.
//
// # Two joins
//
// [Join] reads predictions and feedback side by side, in order of time, and holds the
// feedback of one window. [Live] keeps the predictions of the last Window and Late in an
// index: 40 bytes each beside the Go heap, a hash table of 4-byte slots by a 64-bit hash
// of the id, and a heap by due time. The ids, details and feedback are in files of its
// own, where every match by hash is verified. The state follows from the log and is made
// again when it is opened.
//
// What Live does not show, because of its bounds, Join does: feedback later than Late,
// or that waited for its prediction longer than OrphanAge, or beyond PredictionsMax,
// OrphansMax and SpillBytesMax. All of that is counted in [LiveStats], and the last
// unmatched feedback is listed.
//
// # Invariants
//
//	G1  What Submit reported as accepted or duplicate is in the log after a crash.
//	G2  The same feedback counts once, however often it is sent.
//	G3  A row as of T depends on nothing that arrived after T.
//	G4  The rows that Live handed out last are those of Join as of its clock, within its
//	    bounds, whatever the order of arrival, the polls and the restarts.
//	G5  A prediction belongs to no feedback by entity for which there is a nearer one.
//
// # Concurrency
//
// A Collector may be used by many goroutines; Rows, Live and FileReader by one each. No
// goroutine is started here.
package groundtruth
