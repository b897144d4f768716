// SPDX-License-Identifier: Apache-2.0

//go:build purego || !(amd64 || arm64)

package quant

func run(j *job, _ *Scratch) { gemmGeneric(j) }

func reserve(*Scratch, int, *Packed) {}
