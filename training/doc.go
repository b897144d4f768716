// SPDX-License-Identifier: Apache-2.0

// Package training builds models: it reads a training set, tries candidates on the same
// folds, searches their parameters, calibrates, fits the best one on everything, and
// writes one artefact that a model server runs.
//
//	training set ──► table ──► folds ──► candidates ──► best ──► final fit ──► calibration
//	                                     (baselines,                               │
//	                                      searches)                                ▼
//	              model.onnx (preprocessing and signature inside), card, manifest ◄─ checked
//
// Methods are packages below this one, behind the interface of package learn: baseline,
// linear, trees, neural, command (a program in any language). Split, calibration, tuning
// and runs (the log of experiments) stand beside them.
//
// Invariants:
//
//   - B1: baselines are trained in every build and their numbers are in its result.
//   - B2: no row that a candidate is judged by was learnt from, stopped by, or calibrated on.
//   - B3: equal training sets, specifications and versions give equal bytes of model.onnx,
//     with any number of workers. Programs (command) have to see to it themselves.
//   - B4: an artefact is whole or not there. What it answers was compared with what was
//     learnt, by the engine that will serve it, before it was written.
//   - B5: nothing is learnt from a feature that tells the label (Spec.Trust overrules it).
//
// Concurrency: Build may be called from many goroutines. What it starts ends before it
// returns, and soon after its context does.
package training
