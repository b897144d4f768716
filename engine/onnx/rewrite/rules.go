// SPDX-License-Identifier: Apache-2.0

package rewrite

// opsetMin is the first opset of the standard domain whose operators are understood;
// before it broadcasting was another. Graphs of older ones are only inlined and rid of
// what nobody reads.
const opsetMin = 7

// chooseRules is the table of rules that the options allow, by operator. The order of
// the rules of one operator is that in which they are tried.
func (r *rewriter) chooseRules() map[string][]rule {
	table := map[string][]rule{"If": {inlineIf}}
	if r.options.DropZipMap {
		table["ai.onnx.ml.ZipMap"] = []rule{dropZipMap}
	}
	if opset := r.opset(""); opset < opsetMin {
		return table
	}
	add := func(apply rule, ops ...string) {
		for _, op := range ops {
			table[op] = append(table[op], apply)
		}
	}
	add(dropIdentity, "Identity", "Dropout", "Cast", "Pad", "Flatten", "Concat", "Mul", "Div", "Sum", "Max", "Min", "Mean")
	add(mergeCasts, "Cast")
	add(fixReshape, "Reshape")
	add(mergeReshapes, "Reshape")
	add(dropReshape, "Reshape")
	add(dropSqueeze, "Squeeze", "Unsqueeze")
	add(mergeTransposes, "Transpose")
	add(dropWhere, "Where")
	fusions := r.options.Fusions
	internal := !r.options.Standard
	linear := []string{"MatMul", "Gemm"}
	if fusions.has(FuseInt8) && internal {
		add(fuseDynamicInt8, "Mul")
		add(fuseQDQ, linear...)
		add(fuseQLinearMatMul, "QLinearMatMul")
		add(addInt8Bias, "Add")
		add(quantizeOutput, "QuantizeLinear")
		add(quantizeInput, internalOp(OpLinearInt8))
	}
	if fusions.has(FuseLinear) {
		add(transposedOperand, "Gemm")
		add(foldFactors, "Gemm")
		add(addBias, "Add")
		if internal {
			add(toLinear, linear...)
		}
	}
	if fusions.has(FuseScale) {
		add(scaleBatchNorm, "BatchNormalization")
		add(scaleByConstant, "Mul", "Div", "Sub", "Add")
		add(scaleExactly, "Mul", "Div")
	}
	if fusions.has(FuseNorm) {
		add(fuseLayerNorm, "Div", "Mul")
		add(fuseNormScale, "Mul")
		add(fuseRMSNorm, "Mul", "Div")
		add(fuseNormBias, "Add")
	}
	if fusions.has(FuseActivation) {
		add(fuseGelu, "Mul", "Div")
		add(fuseSwish, "Mul")
		add(fuseHardSwish, "Mul", "Div")
		add(fuseMish, "Mul")
	}
	if fusions.has(FuseEmbeddingBag) && internal {
		add(fuseEmbeddingBag, "ReduceSum", "ReduceMean", "ReduceMax")
	}
	if fusions.has(FuseEpilogue) && internal {
		add(fuseResidual, "Add")
		for op := range activations {
			add(fuseEpilogue, op)
		}
	}
	return table
}

func internalOp(opType string) string { return Domain + "." + opType }
