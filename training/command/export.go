// SPDX-License-Identifier: Apache-2.0

package command

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/training/learn"
)

// Export implements learn.Model: the program's graph becomes a part of the one that is
// written, under names of its own, and is followed by what turns probabilities into
// scores.
func (m *model) Export(g *learn.Graph) (string, error) {
	prefix := g.Name("command") + "/"
	rename := func(name string) string {
		switch name {
		case "":
			return ""
		case m.input:
			return g.Matrix
		}
		return prefix + name
	}
	part := renamed(m.graph.Graph, rename)
	for _, t := range part.Initializers {
		g.Initializer(t)
	}
	if len(part.SparseInitializers) > 0 {
		return "", fmt.Errorf("%w: model.onnx has sparse initializers, which cannot be taken over: write them dense", ErrProgram)
	}
	for _, n := range part.Nodes {
		g.DomainNode(n.Domain, n.OpType, n.Inputs, n.Outputs, n.Attributes...)
	}
	// An output may lack the second dimension.
	width := int64(m.width)
	out := g.Apply("Reshape", []string{rename(m.output), g.Integers("shape", []int64{-1, width}, 2)})
	if !m.probabilities {
		return out, nil
	}
	logarithm := func(p string) string {
		return g.Apply("Log", []string{g.Apply("Clip", []string{p, g.Floats("least", []float32{leastProbability}), g.Floats("most", []float32{1})})})
	}
	column := func(i int64) string {
		return g.Apply("Gather", []string{out, g.Integers("column", []int64{i}, 1)}, onnx.IntAttribute("axis", 1))
	}
	switch {
	case m.task == learn.Multiclass:
		return logarithm(out), nil
	case m.width == 2:
		return g.Apply("Sub", []string{logarithm(column(1)), logarithm(column(0))}), nil
	}
	rest := g.Apply("Sub", []string{g.Floats("one", []float32{1}), out})
	return g.Apply("Sub", []string{logarithm(out), logarithm(rest)}), nil
}

// renamed copies a graph with other names of values, and the graphs inside it: they read
// values of the one around them.
func renamed(g *onnx.Graph, rename func(string) string) *onnx.Graph {
	c := *g
	values := func(list []onnx.ValueInfo) []onnx.ValueInfo {
		list = slices.Clone(list)
		for i := range list {
			list[i].Name = rename(list[i].Name)
		}
		return list
	}
	c.Inputs, c.Outputs, c.ValueInfos = values(g.Inputs), values(g.Outputs), values(g.ValueInfos)
	c.Initializers = slices.Clone(g.Initializers)
	for i := range c.Initializers {
		c.Initializers[i].Name = rename(c.Initializers[i].Name)
	}
	names := func(list []string) []string {
		list = slices.Clone(list)
		for i := range list {
			list[i] = rename(list[i])
		}
		return list
	}
	c.Nodes = slices.Clone(g.Nodes)
	for i := range c.Nodes {
		n := &c.Nodes[i]
		n.Name, n.Inputs, n.Outputs = rename(n.Name), names(n.Inputs), names(n.Outputs)
		n.Attributes = slices.Clone(n.Attributes)
		for j := range n.Attributes {
			a := &n.Attributes[j]
			if a.Graph != nil {
				a.Graph = renamed(a.Graph, rename)
			}
			a.Graphs = slices.Clone(a.Graphs)
			for k := range a.Graphs {
				a.Graphs[k] = *renamed(&a.Graphs[k], rename)
			}
		}
	}
	return &c
}

// changed says at which versions of ai.onnx the form or the meaning of an operator's nodes
// changed, so that one written for an older version reads otherwise. Versions that only
// added types or attributes are not among them. The source is ONNX's Changelog.md, versions
// 9 to 22. Operators that are not here are taken over at the graph's own version alone.
var changed = map[string][]int64{
	"Abs": nil, "Add": nil, "And": nil, "ArgMax": nil, "ArgMin": nil, "Cast": nil, "CastLike": nil, "Ceil": nil, "Clip": {11}, "Concat": nil,
	"Constant": nil, "ConstantOfShape": nil, "CumSum": nil, "Div": nil, "Elu": nil, "Equal": nil, "Erf": nil, "Exp": nil, "Expand": nil, "Flatten": nil,
	"Floor": nil, "Gather": nil, "GatherElements": nil, "GatherND": nil, "Gemm": nil, "Greater": nil, "GreaterOrEqual": nil, "HardSigmoid": nil,
	"Identity": nil, "IsInf": nil, "IsNaN": nil, "LeakyRelu": nil, "Less": nil, "LessOrEqual": nil, "Log": nil, "MatMul": nil, "Max": nil, "Mean": nil,
	"Min": nil, "Mod": nil, "Mul": nil, "Neg": nil, "Not": nil, "OneHot": nil, "Or": nil, "PRelu": nil, "Pow": nil, "Reciprocal": nil, "Relu": nil,
	"Reshape": nil, "Round": nil, "Selu": nil, "Shape": nil, "Sigmoid": nil, "Sign": nil, "Slice": {10}, "Softplus": nil, "Sqrt": nil, "Sub": nil,
	"Sum": nil, "Tanh": nil, "Tile": nil, "TopK": {10, 11}, "Transpose": nil, "Where": nil, "Xor": nil,
	"Softmax": {13}, "LogSoftmax": {13}, "Hardmax": {13}, "Squeeze": {13}, "Unsqueeze": {13}, "Split": {13, 18}, "ReduceSum": {13},
	"BatchNormalization": {14}, "ReduceL1": {18}, "ReduceL2": {18}, "ReduceLogSum": {18}, "ReduceLogSumExp": {18}, "ReduceMax": {18},
	"ReduceMean": {18}, "ReduceMin": {18}, "ReduceProd": {18}, "ReduceSumSquare": {18},
}

// changedML is the same of ai.onnx.ml, versions 1 to 4.
var changedML = map[string][]int64{
	"ArrayFeatureExtractor": nil, "Binarizer": nil, "CategoryMapper": nil, "FeatureVectorizer": nil, "Imputer": nil, "LinearClassifier": nil,
	"LinearRegressor": nil, "Normalizer": nil, "OneHotEncoder": nil, "Scaler": nil, "SVMClassifier": nil, "SVMRegressor": nil,
	"TreeEnsembleClassifier": nil, "TreeEnsembleRegressor": nil, "LabelEncoder": {2, 4},
}

// checkOpsets refuses nodes that would mean something else among those of the graph, which
// imports learn.Opset and learn.OpsetML.
func checkOpsets(m *onnx.Model) error {
	if len(m.Functions) > 0 {
		return fmt.Errorf("it has functions of its own, such as %q, which cannot be taken over", m.Functions[0].Name)
	}
	return checkNodes(m, m.Graph)
}

func checkNodes(m *onnx.Model, g *onnx.Graph) error {
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if err := checkNode(n.OpType, cmp.Or(n.Domain, "ai.onnx"), m.Opset(n.Domain)); err != nil {
			return err
		}
		for _, a := range n.Attributes {
			if a.Graph != nil {
				if err := checkNodes(m, a.Graph); err != nil {
					return err
				}
			}
			for j := range a.Graphs {
				if err := checkNodes(m, &a.Graphs[j]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func checkNode(operator, domain string, version int64) error {
	table, ours, least, most := changed, int64(learn.Opset), int64(9), int64(22)
	switch domain {
	case "ai.onnx":
	case learn.DomainML:
		table, ours, least, most = changedML, learn.OpsetML, 1, 4
	default:
		return fmt.Errorf("the operator %s of the domain %q cannot be taken over", operator, domain)
	}
	if version == ours {
		return nil
	}
	steps, known := table[operator]
	between := slices.ContainsFunc(steps, func(step int64) bool { return step > min(version, ours) && step <= max(version, ours) })
	if !known || between || version < least || version > most {
		return fmt.Errorf("the operator %s of %s %d cannot be taken over into %s %d: export with that version (target_opset)", operator, domain, version, domain, ours)
	}
	return nil
}
