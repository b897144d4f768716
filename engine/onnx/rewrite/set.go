// SPDX-License-Identifier: Apache-2.0

package rewrite

// Set is a choice of fusions.
type Set uint32

// The fusions. None, which must stand alone, chooses none.
const (
	// FuseLinear makes Gemm or OpLinear of a product, its bias and its factors.
	FuseLinear Set = 1 << iota
	// FuseScale folds BatchNormalization and constant factors and terms, per column or
	// channel, into the weights of the product or convolution before it.
	FuseScale
	// FuseNorm makes LayerNormalization and RMSNormalization of their parts.
	FuseNorm
	// FuseActivation makes Gelu, Swish, HardSwish and Mish of their parts.
	FuseActivation
	// FuseEpilogue puts activations and residuals into the product or convolution
	// before them; internal operators only.
	FuseEpilogue
	// FuseEmbeddingBag makes OpEmbeddingBag; internal operators only.
	FuseEmbeddingBag
	// FuseInt8 makes OpLinearDynamicInt8 and OpLinearInt8; internal operators only.
	FuseInt8
	// FuseHalf keeps the weights of OpLinear in 16 bits where the model has them so;
	// internal operators only.
	FuseHalf

	None Set = 1 << 31
	All  Set = None - 1
)

// has reports whether a fusion is chosen.
func (s Set) has(fusion Set) bool { return s&fusion != 0 }
