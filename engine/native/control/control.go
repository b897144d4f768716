// SPDX-License-Identifier: Apache-2.0

// Package control holds the operators that hold graphs (If, Loop, Scan), and those of
// sequences, which exporters write loops with.
//
// A body is planned in one of two ways. Where the condition or the number of turns is
// known before the run, as it is when it follows from shapes, its operators can be
// inlined: those of the branch that is taken, or those of every turn, which may then
// have other shapes than the turn before. Else it is a routine: bound once, in memory
// that is part of the arena, and run as often as the run wants; types and shapes then
// have to stay the same. A loop is a routine where that is possible, since it takes
// less memory, and inlined where it is not.
//
// Sequences exist while a model is planned, as lists of its values. A run only has the
// tensors in them, which are not copied on the way in or out of a sequence.
package control

import "github.com/millrace-ml/millrace/engine/native/op"

// turnsMax bounds the turns of a loop.
const turnsMax = 1 << 24

// Operators lists what this package runs.
func Operators() []op.Definition {
	return []op.Definition{
		{Name: "If", Since: 1, Build: buildIf},
		{Name: "Loop", Since: 1, Build: buildLoop},
		{Name: "Scan", Since: 9, Build: buildScan},
		{Name: "SequenceEmpty", Since: 11, Build: buildSequenceEmpty},
		{Name: "SequenceConstruct", Since: 11, Build: buildSequenceConstruct},
		{Name: "SequenceInsert", Since: 11, Build: buildSequenceInsert},
		{Name: "SequenceErase", Since: 11, Build: buildSequenceErase},
		{Name: "SequenceAt", Since: 11, Build: buildSequenceAt},
		{Name: "SequenceLength", Since: 11, Build: buildSequenceLength},
		{Name: "ConcatFromSequence", Since: 11, Build: buildConcatFromSequence},
		{Name: "SplitToSequence", Since: 11, Build: buildSplitToSequence},
	}
}
