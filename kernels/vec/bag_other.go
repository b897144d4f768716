// SPDX-License-Identifier: Apache-2.0

//go:build purego || !(amd64 || arm64)

package vec

func bags(a *bagArgs) { bagsGeneric(a) }

func indicesWithin(indices []int64, low, high int64) bool {
	return indicesWithinGeneric(indices, low, high)
}
