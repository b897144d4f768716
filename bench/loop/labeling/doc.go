// SPDX-License-Identifier: Apache-2.0

// Package labeling measures what labelling is worth on real text: the 77 intents of
// banking77 (Casanueva et al. 2020), with a model that learns in a second, logistic
// regression on TF-IDF.
//
// LabelsNeeded compares margin selection with random selection: how many labels each needs
// for the same accuracy on the test set, for several seeds. FlippedFound flips labels and
// counts how many of those that label-error detection lists first were flipped.
//
// The model is here and not in training: it is the yardstick, and changes only with the
// numbers. Runs of one seed are independent and run on all processors; the same options
// give the same numbers.
package labeling
