// SPDX-License-Identifier: Apache-2.0

package vec

// twoLevelMax is the most edges that 16 blocks of 16 hold, when one is to spare.
const twoLevelMax = 255

// Bucketize sets dst[i] to the count of edges below src[i], or below or equal to it:
// with right, bucket b has edges[b-1] < x <= edges[b], without edges[b-1] <= x <
// edges[b], as numpy.digitize has it. Edges are sorted and not NaN. A value that is
// NaN goes to the last bucket, len(edges).
func Bucketize(dst []int32, src, edges []float32, right bool) {
	need("Bucketize", len(dst), len(src))
	if len(dst) > 0 {
		bucketize(dst, src, edges, right)
	}
}

// BucketizeBytes is Bucketize for at most 255 edges.
func BucketizeBytes(dst []uint8, src, edges []float32, right bool) {
	need("BucketizeBytes", len(dst), len(src))
	if len(edges) > twoLevelMax {
		panic("vec.BucketizeBytes: more than 255 edges")
	}
	if len(dst) > 0 {
		bucketizeBytes(dst, src, edges, right)
	}
}
