// SPDX-License-Identifier: Apache-2.0

//go:build purego || !(amd64 || arm64)

package vec

func bucketize(dst []int32, src, edges []float32, right bool) {
	bucketizeGeneric(dst, src, edges, right)
}

func bucketizeBytes(dst []uint8, src, edges []float32, right bool) {
	bucketizeGeneric(dst, src, edges, right)
}
