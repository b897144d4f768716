// SPDX-License-Identifier: Apache-2.0

package rewrite

// Domain is the domain of the internal operators: what the passes produce unless
// Options.Standard is set. A rewritten model imports it at DomainVersion. Models that
// come from outside must not use it.
const (
	Domain        = "ai.millrace"
	DomainVersion = 1
)

// The internal operators. Every optional input may be "" or missing from the end.
const (
	// OpLinear is a matrix product with constant weights.
	//
	//	inputs   X  float, [..., K], rank >= 1
	//	         W  constant: [K, N], or [N, K] when transB is 1; rank 2
	//	         B  optional constant float, [N]
	//	         R  optional float, the shape of the output: the residual
	//	output   Y  float, [..., N]: the shape of X with K replaced by N
	//	attributes
	//	         transB       int, 0 or 1; default 0
	//	         weight_type  string, element type of W: "float" (the default),
	//	                      "bfloat16" or "float16"
	//	         activation, alpha, beta   see Activation
	//
	// Y = activation(X W + B + R). Weights that are not float are widened; products
	// and sums are those of float.
	OpLinear = "Linear"

	// OpConv is the standard Conv followed by an activation: inputs X, W, optional B
	// and all attributes as Conv has them in the opset that the model imports, W and
	// B constant, and activation, alpha, beta as for OpLinear. It is produced only
	// where there is an activation.
	OpConv = "Conv"

	// OpLinearDynamicInt8 is a matrix product whose left side is quantised as it comes.
	//
	//	inputs   X   float, [..., K], rank >= 1
	//	         W   constant int8 or uint8, [K, N]
	//	         WS  constant float, scale of W: one element or [N]
	//	         WZ  optional constant of W's type, zero point of W: one element or
	//	             [N]; left out: 0
	//	         B   optional constant float, [N]
	//	output   Y   float, [..., N]
	//	attributes   activation, alpha, beta as for OpLinear
	//
	// With (Q, s, z) = DynamicQuantizeLinear(X), taken over the whole of X:
	// Y = activation(float(MatMulInteger(Q, W, z, WZ)) * (s * WS) + B).
	OpLinearDynamicInt8 = "LinearDynamicInt8"

	// OpLinearInt8 is a matrix product of quantised values whose scales are known.
	//
	//	inputs   X   [..., K], rank >= 1: int8 or uint8, or float
	//	         XS  constant float of one element, scale of X
	//	         XZ  constant int8 or uint8 of one element, zero point of X
	//	         W   constant int8 or uint8, [K, N], or [N, K] when transB is 1
	//	         WS  constant float, scale of W: one element or [N]
	//	         WZ  constant of W's type, zero point of W: one element or [N]
	//	         B   optional constant float, [N]
	//	         YS  optional constant float of one element, scale of the output
	//	         YZ  constant int8 or uint8 of one element, zero point of the output;
	//	             present exactly when YS is
	//	output   Y   [..., N]: float without YS, else of YZ's type
	//	attributes   transB as for OpLinear; activation, alpha, beta as for OpLinear
	//
	// A float X is first quantised: Q = QuantizeLinear(X, XS, XZ); else Q = X. Then
	// real = activation((Q - XZ)(W - WZ) * (XS * WS) + B), the product summed exactly
	// in 32 bits, and Y = real, or QuantizeLinear(real, YS, YZ).
	OpLinearInt8 = "LinearInt8"

	// OpEmbeddingBag is Gather along axis 0 followed by a reduction over each bag.
	//
	//	inputs   T  constant float, [V, D]: the table
	//	         I  int32 or int64, [..., L], rank >= 1: rows of the table; a negative
	//	            one counts from the end, as in Gather, and one out of range is an
	//	            error of the request
	//	         S  optional float, the shape of I: factor of each row; mode "sum" only
	//	output   Y  float, [..., D]
	//	attributes   mode  string: "sum", "mean" or "max"
	//
	// An empty bag gives 0 for sum, NaN for mean, -Inf for max.
	OpEmbeddingBag = "EmbeddingBag"
)

// Operators of the standard domain that are produced under Domain where the model's
// opset does not have them yet. Inputs, attributes and meaning are those of the
// opset named.
const (
	OpLayerNormalization = "LayerNormalization" // 17; axis -1, one output
	OpRMSNormalization   = "RMSNormalization"   // 23; axis -1
	OpGelu               = "Gelu"               // 20; approximate "none" or "tanh"
	OpSwish              = "Swish"              // 24; x * sigmoid(alpha * x)
	OpHardSwish          = "HardSwish"          // 14
	OpMish               = "Mish"               // 18
)

// The attributes of the internal operators.
const (
	AttrTransB     = "transB"
	AttrWeightType = "weight_type"
	AttrActivation = "activation"
	AttrAlpha      = "alpha"
	AttrBeta       = "beta"
	AttrMode       = "mode"
)

// Activation is the value of the attribute "activation": the name of a function
// applied to each element last. Without the attribute there is none. alpha and beta
// are floats, always both set for the functions that have them.
type Activation string

// The activations, with f(x) and the meaning of alpha (a) and beta (b).
const (
	ActivationRelu        Activation = "Relu"        // max(x, 0)
	ActivationLeakyRelu   Activation = "LeakyRelu"   // x < 0 ? a*x : x
	ActivationClip        Activation = "Clip"        // min(max(x, a), b); a bound left out is -/+ the largest float
	ActivationSigmoid     Activation = "Sigmoid"     // 1 / (1 + exp(-x))
	ActivationTanh        Activation = "Tanh"        // tanh(x)
	ActivationGelu        Activation = "Gelu"        // x/2 * (1 + erf(x/sqrt(2)))
	ActivationGeluTanh    Activation = "GeluTanh"    // x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))
	ActivationSwish       Activation = "Swish"       // x / (1 + exp(-a*x))
	ActivationHardSigmoid Activation = "HardSigmoid" // max(0, min(1, a*x + b))
	ActivationHardSwish   Activation = "HardSwish"   // x * max(0, min(1, x/6 + 1/2))
	ActivationElu         Activation = "Elu"         // x < 0 ? a*(exp(x)-1) : x
	ActivationSoftplus    Activation = "Softplus"    // log(exp(x) + 1)
	ActivationMish        Activation = "Mish"        // x * tanh(log(exp(x) + 1))
)

// The values of the attribute "mode" of OpEmbeddingBag.
const (
	ModeSum  = "sum"
	ModeMean = "mean"
	ModeMax  = "max"
)
