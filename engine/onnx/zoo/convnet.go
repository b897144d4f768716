// SPDX-License-Identifier: Apache-2.0

package zoo

import (
	"math"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// Extents of the convolution network.
const (
	imageSide  = 28
	kernelSide = 3
	channels1  = 8
	channels2  = 16
	classes    = 10
	pooledSide = imageSide / 4 // after two rounds of pooling
	flatWidth  = channels2 * pooledSide * pooledSide
)

// ConvNet sorts pictures of one channel and 28 x 28 pixels into 10 classes: two
// rounds of convolution, ReLU and max pooling, then a fully connected layer and a
// softmax. Its model takes input FP32 [batch, 1, 28, 28] and gives output FP32
// [batch, 10].
type ConvNet struct {
	kernels1, bias1 []float32 // [8, 1, 3, 3]
	kernels2, bias2 []float32 // [16, 8, 3, 3]
	dense, bias3    []float32 // [784, 10]
}

// NewConvNet draws a network from a seed.
func NewConvNet(seed uint64) *ConvNet {
	const area = kernelSide * kernelSide
	w := newWeights(seed)
	return &ConvNet{
		kernels1: w.draw(channels1*area, area, channels1*area),
		bias1:    w.draw(channels1, area, channels1*area),
		kernels2: w.draw(channels2*channels1*area, channels1*area, channels2*area),
		bias2:    w.draw(channels2, channels1*area, channels2*area),
		dense:    w.draw(flatWidth*classes, flatWidth, classes),
		bias3:    w.draw(classes, flatWidth, classes),
	}
}

// Model writes the network as an ONNX model.
func (n *ConvNet) Model() *onnx.Model {
	b := onnx.NewBuilder("convnet")
	b.Input("input", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(1), onnx.Extent(imageSide), onnx.Extent(imageSide))
	b.Initializer(onnx.TensorOf("kernels_1", n.kernels1, channels1, 1, kernelSide, kernelSide))
	b.Initializer(onnx.TensorOf("bias_1", n.bias1, channels1))
	b.Initializer(onnx.TensorOf("kernels_2", n.kernels2, channels2, channels1, kernelSide, kernelSide))
	b.Initializer(onnx.TensorOf("bias_2", n.bias2, channels2))
	b.Initializer(onnx.TensorOf("dense", n.dense, flatWidth, classes))
	b.Initializer(onnx.TensorOf("bias_3", n.bias3, classes))
	convolve(b, "input", "kernels_1", "bias_1", "round_1")
	convolve(b, "round_1_pooled", "kernels_2", "bias_2", "round_2")
	b.Node("Flatten", []string{"round_2_pooled"}, []string{"flat"}, onnx.IntAttribute("axis", 1))
	b.Node("Gemm", []string{"flat", "dense", "bias_3"}, []string{"scores"})
	b.Node("Softmax", []string{"scores"}, []string{"output"}, onnx.IntAttribute("axis", 1))
	b.Output("output", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(classes))
	return finish(b)
}

// convolve adds one round, whose result is named round_pooled.
func convolve(b *onnx.Builder, input, kernels, bias, round string) {
	b.Node("Conv", []string{input, kernels, bias}, []string{round},
		onnx.IntsAttribute("kernel_shape", kernelSide, kernelSide), onnx.IntsAttribute("pads", 1, 1, 1, 1))
	b.Node("Relu", []string{round}, []string{round + "_relu"})
	b.Node("MaxPool", []string{round + "_relu"}, []string{round + "_pooled"},
		onnx.IntsAttribute("kernel_shape", 2, 2), onnx.IntsAttribute("strides", 2, 2))
}

// Predict computes the class probabilities of one picture.
func (n *ConvNet) Predict(picture []float32) []float64 {
	round1 := planes{1, imageSide, widen(picture)}.convolve(n.kernels1, n.bias1).pool()
	round2 := round1.convolve(n.kernels2, n.bias2).pool()
	return softmax(dense(round2.values, n.dense, n.bias3))
}

// planes are square pictures of equal side, one for each channel.
type planes struct {
	channels, side int
	values         []float64
}

// at is a pixel, zero outside the picture.
func (p planes) at(channel, y, x int) float64 {
	if y < 0 || x < 0 || y >= p.side || x >= p.side {
		return 0
	}
	return p.values[(channel*p.side+y)*p.side+x]
}

// convolve applies one kernel for each bias, then ReLU.
func (p planes) convolve(kernels, bias []float32) planes {
	out := planes{len(bias), p.side, make([]float64, len(bias)*p.side*p.side)}
	size := p.channels * kernelSide * kernelSide
	for i := range out.values {
		kernel, y, x := i/(p.side*p.side), i/p.side%p.side, i%p.side
		sum := float64(bias[kernel])
		for k, w := range kernels[kernel*size : (kernel+1)*size] {
			channel, dy, dx := k/(kernelSide*kernelSide), k/kernelSide%kernelSide, k%kernelSide
			sum += float64(w) * p.at(channel, y+dy-1, x+dx-1)
		}
		out.values[i] = sum
	}
	relu(out.values)
	return out
}

// pool keeps the largest of each 2 x 2 pixels.
func (p planes) pool() planes {
	side := p.side / 2
	out := planes{p.channels, side, make([]float64, p.channels*side*side)}
	for i := range out.values {
		c, y, x := i/(side*side), 2*(i/side%side), 2*(i%side)
		out.values[i] = max(p.at(c, y, x), p.at(c, y, x+1), p.at(c, y+1, x), p.at(c, y+1, x+1))
	}
	return out
}

func softmax(scores []float64) []float64 {
	sum := 0.0
	for i, s := range scores {
		scores[i] = math.Exp(s)
		sum += scores[i]
	}
	for i := range scores {
		scores[i] /= sum
	}
	return scores
}
