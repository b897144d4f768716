// SPDX-License-Identifier: Apache-2.0

//go:build purego || !amd64

package trees

func rowLanesFast() bool { return false }

func rowBinsOf(b *rowBins, x []float32, tables []uint8) { binsGeneric(b, x, tables) }

func rowLanes(span *rowSpan, g, last *rowGroup, st *rowState) { lanesGeneric(span, g, last, st) }

func rowSum(span *rowSpan, last *rowGroup, st *rowState) { sumGeneric(span, last, st) }

func rowTwigs(span *rowSpan, last *rowGroup, st *rowState) { twigsGeneric(span, last, st) }
