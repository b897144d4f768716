// SPDX-License-Identifier: Apache-2.0

//go:build !(beside && cgo)

package main

// foreignMissing says what is left out, and why.
const foreignMissing = "OpenBLAS and oneDNN are left out: this was built without the tag beside"

func foreignFloats(*product) ([]rival, error) { return nil, nil }

func foreignBytes(*product) ([]rival, error) { return nil, nil }
