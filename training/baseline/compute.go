// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"math"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/training/learn"
)

var null = float32(math.NaN())

// value computes a node for a row.
func (n *node) value(values [][]float32, row int) float32 {
	switch n.op {
	case opFeature:
		return values[n.feature][row]
	case opConstant:
		return n.constant
	}
	a := n.args[0].value(values, row)
	switch n.op {
	case opNegative:
		return -a
	case "not":
		return 1 - a
	case "abs":
		return float32(math.Abs(float64(a)))
	case "is_null":
		return truth(a != a)
	case opCondition:
		if a == 1 {
			return n.args[1].value(values, row)
		}
		return n.args[2].value(values, row)
	}
	for _, argument := range n.args[1:] {
		b := argument.value(values, row)
		switch n.op {
		case "clamp": // of three: the larger of low and the smaller of high and a
			high := n.args[2].value(values, row)
			if !(b <= high) {
				return null
			}
			return pair("max", b, pair("min", a, high))
		default:
			a = pair(n.op, a, b)
		}
	}
	return a
}

// pair computes an operator of two.
func pair(op string, a, b float32) float32 {
	switch op {
	case "+":
		return finite(a + b)
	case "-":
		return finite(a - b)
	case "*":
		return finite(a * b)
	case "/":
		return finite(a / b)
	case "and":
		if a == 0 || b == 0 {
			return 0
		}
		return a * b
	case "or":
		if a == 1 || b == 1 {
			return 1
		}
		return a + b
	case "??":
		if a != a {
			return b
		}
		return a
	case "min", "max":
		if b != b || (op == "min" && b < a) || (op == "max" && b > a) {
			return b
		}
		return a
	}
	if a != a || b != b {
		return null
	}
	switch op {
	case "==":
		return truth(a == b)
	case "!=":
		return truth(a != b)
	case "<":
		return truth(a < b)
	case "<=":
		return truth(a <= b)
	case ">":
		return truth(a > b)
	}
	return truth(a >= b)
}

// finite turns an infinity into null, as expressions have it.
func finite(x float32) float32 {
	if x-x != 0 {
		return null
	}
	return x
}

// ruleExporter writes nodes as operators on columns of shape [rows, 1], or [1, 1].
type ruleExporter struct {
	*learn.Graph
	columns map[int]string
}

func (e *ruleExporter) constant(x float32) string { return e.Floats("literal", []float32{x}, 1, 1) }

// float makes 0 and 1 of truth values.
func (e *ruleExporter) float(truths string) string {
	return e.Apply("Cast", []string{truths}, onnx.IntAttribute("to", int64(onnx.ElemFloat)))
}

func (e *ruleExporter) isNull(x string) string { return e.Apply("IsNaN", []string{x}) }

// node writes a node and returns its value's name.
func (e *ruleExporter) node(n *node) string {
	switch n.op {
	case opFeature:
		name, ok := e.columns[n.feature]
		if !ok {
			index := e.Integers("columns", []int64{int64(n.feature)}, 1)
			name = e.Apply("Gather", []string{e.Matrix, index}, onnx.IntAttribute("axis", 1))
			e.columns[n.feature] = name
		}
		return name
	case opConstant:
		return e.constant(n.constant)
	}
	args := make([]string, len(n.args))
	for i, a := range n.args {
		args[i] = e.node(a)
	}
	switch n.op {
	case opNegative:
		return e.Apply("Neg", args)
	case "not":
		return e.Apply("Sub", []string{e.constant(1), args[0]})
	case "abs":
		return e.Apply("Abs", args)
	case "is_null":
		return e.float(e.isNull(args[0]))
	case opCondition:
		return e.Apply("Where", []string{e.Apply("Equal", []string{args[0], e.constant(1)}), args[1], args[2]})
	case "clamp":
		held := e.pair("max", args[1], e.pair("min", args[0], args[2]))
		return e.Apply("Where", []string{e.Apply("LessOrEqual", args[1:]), held, e.constant(null)})
	}
	for _, b := range args[1:] {
		args[0] = e.pair(n.op, args[0], b)
	}
	return args[0]
}

// operators are the names that ONNX has.
var operators = map[string]string{
	"+": "Add", "-": "Sub", "*": "Mul", "/": "Div",
	"==": "Equal", "<": "Less", "<=": "LessOrEqual", ">": "Greater", ">=": "GreaterOrEqual",
}

// pair is what the function pair computes.
func (e *ruleExporter) pair(op, a, b string) string {
	both := []string{a, b}
	switch op {
	case "+", "-", "*", "/":
		x := e.Apply(operators[op], both)
		return e.Apply("Where", []string{e.Apply("IsInf", []string{x}), e.constant(null), x})
	case "and":
		return e.Apply("Where", []string{e.either(both, 0), e.constant(0), e.Apply("Mul", both)})
	case "or":
		return e.Apply("Where", []string{e.either(both, 1), e.constant(1), e.Apply("Add", both)})
	case "??":
		return e.Apply("Where", []string{e.isNull(a), b, a})
	case "min", "max":
		better := e.Apply(operators[map[string]string{"min": "<", "max": ">"}[op]], []string{b, a})
		return e.Apply("Where", []string{e.Apply("Or", []string{e.isNull(b), better}), b, a})
	}
	var truths string
	if op == "!=" {
		truths = e.Apply("Not", []string{e.Apply("Equal", both)})
	} else {
		truths = e.Apply(operators[op], both)
	}
	unknown := e.Apply("Or", []string{e.isNull(a), e.isNull(b)})
	return e.Apply("Where", []string{unknown, e.constant(null), e.float(truths)})
}

// either tells whether one of two is a value.
func (e *ruleExporter) either(both []string, value float32) string {
	x := e.constant(value)
	return e.Apply("Or", []string{e.Apply("Equal", []string{both[0], x}), e.Apply("Equal", []string{both[1], x})})
}
