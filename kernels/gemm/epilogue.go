// SPDX-License-Identifier: Apache-2.0

package gemm

import (
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/kernels/act"
)

// Activation is a function that is applied to each output after bias and residual.
// NaN stays NaN in all of them.
type Activation uint8

// The activations. Alpha and Beta are those of the Epilogue.
const (
	// None leaves the output as it is.
	None Activation = iota
	// Relu is max(0, x).
	Relu
	// Clip limits x to [Alpha, Beta].
	Clip
	// LeakyRelu is x where x >= 0, and Alpha*x elsewhere.
	LeakyRelu
	// Sigmoid is 1/(1+exp(-x)).
	Sigmoid
	// Tanh is the hyperbolic tangent.
	Tanh
	// Gelu is x/2*(1+erf(x/sqrt 2)).
	Gelu
	// GeluTanh is Gelu by its approximation with tanh.
	GeluTanh
	// Silu is x*Sigmoid(x).
	Silu
	// Softplus is log(1+exp(x)).
	Softplus
	// Elu is x where x >= 0, and Alpha*(exp(x)-1) elsewhere.
	Elu
	// HardSigmoid is Alpha*x+Beta, limited to [0, 1].
	HardSigmoid
	// HardSwish is x*max(0, min(1, x/6+1/2)).
	HardSwish
	activations
)

var activationNames = [activations]string{
	"none", "relu", "clip", "leaky relu", "sigmoid", "tanh", "gelu", "gelu tanh", "silu", "softplus", "elu", "hard sigmoid", "hard swish",
}

// String is the activation's name.
func (a Activation) String() string {
	if a < activations {
		return activationNames[a]
	}
	return fmt.Sprintf("activation %d", uint8(a))
}

// Epilogue is what happens to each output before it is stored:
// activation(product + Bias + Add). The zero value, like nil, does nothing.
type Epilogue struct {
	// Bias has one value for each column, or is nil.
	Bias []float32
	// Activation is applied last, with the parameters Alpha and Beta.
	Activation  Activation
	Alpha, Beta float32
	// Add is a residual of the output's shape whose rows are LdAdd elements apart, or
	// nil. It must not overlap the output.
	Add   []float32
	LdAdd int
}

// check panics unless the epilogue fits an output of m rows and n columns.
func (e *Epilogue) check(m, n int) {
	if e == nil {
		return
	}
	if e.Bias != nil && len(e.Bias) < n {
		panic(fmt.Sprintf("gemm: bias of %d values for %d columns", len(e.Bias), n))
	}
	if e.Add != nil {
		checkMatrix("residual", len(e.Add), m, n, e.LdAdd)
	}
	if e.Activation >= activations {
		panic(fmt.Sprintf("gemm: %v is not known", e.Activation))
	}
}

// bounds are the limits that a Relu or Clip keeps to.
func (e *Epilogue) bounds() (lo, hi float32) {
	if e.Activation == Relu {
		return 0, float32(math.Inf(1))
	}
	return e.Alpha, e.Beta
}

// simple reports whether the tile kernels do the activation in registers.
func (a Activation) simple() bool { return a <= LeakyRelu }

// slow reports whether there is an activation that they do not do.
func (e *Epilogue) slow() bool { return e != nil && !e.Activation.simple() }

// finish does the whole epilogue on one row of products: columns col and on of row i
// of the output, in plain Go.
func (e *Epilogue) finish(c []float32, i, col int) {
	if e != nil {
		e.addTo(c, i, col)
		e.activate(c)
	}
}

// addTo adds bias and residual.
func (e *Epilogue) addTo(c []float32, i, col int) {
	if e.Bias != nil {
		for j, b := range e.Bias[col : col+len(c)] {
			c[j] += b
		}
	}
	if e.Add != nil {
		start := i*e.LdAdd + col
		for j, v := range e.Add[start : start+len(c)] {
			c[j] += v
		}
	}
}

// activate applies the activation.
func (e *Epilogue) activate(c []float32) {
	switch e.Activation {
	case Relu, Clip:
		lo, hi := e.bounds()
		for j, x := range c {
			// Written so that NaN passes both comparisons.
			if x < lo {
				x = lo
			}
			if x > hi {
				x = hi
			}
			c[j] = x
		}
	case LeakyRelu:
		for j, x := range c {
			if x < 0 {
				c[j] = e.Alpha * x
			}
		}
	default:
		e.activateSlow(c)
	}
}

// activateSlow applies the activations that the tile kernels do not do.
func (e *Epilogue) activateSlow(c []float32) {
	switch e.Activation {
	case Sigmoid:
		act.Sigmoid(c, c)
	case Tanh:
		act.Tanh(c, c)
	case Gelu:
		act.Gelu(c, c)
	case GeluTanh:
		act.GeluTanh(c, c)
	case Silu:
		act.Silu(c, c)
	case Softplus:
		act.Softplus(c, c)
	case Elu:
		act.Elu(c, c, e.Alpha)
	case HardSigmoid:
		act.HardSigmoid(c, c, e.Alpha, e.Beta)
	case HardSwish:
		act.HardSwish(c, c)
	}
}

// activateBlock applies the activation to m rows of n columns, in as few calls as the
// stride allows.
func (e *Epilogue) activateBlock(m, n int, c []float32, ldc int) {
	if ldc == n {
		e.activate(c[:m*n])
		return
	}
	for i := range m {
		e.activate(c[i*ldc:][:n])
	}
}
