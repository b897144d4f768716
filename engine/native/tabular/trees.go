// SPDX-License-Identifier: Apache-2.0

package tabular

import (
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/trees"
	"github.com/millrace-ml/millrace/kernels/vec"
)

// forest is compiled trees in two readings of the input: FP32 (and integers, which
// become FP32), and FP64, against which thresholds are compared in FP64.
type forest struct {
	carriesRows
	features, targets int
	nodes, trees      int // for estimates
	// ensemble is what the second reading is compiled of if it is asked for before Seal.
	ensemble *trees.Ensemble
	narrow   *trees.Forest // nil where thresholds or weights are of FP64
	wide     *trees.Forest // nil until it is asked for
}

func compile(e *trees.Ensemble) (*forest, error) {
	f := &forest{features: e.Features, targets: e.Targets, nodes: len(e.Nodes) + len(e.Leaves), trees: len(e.Roots), ensemble: e}
	datatype := tensor.FP32
	if e.Double {
		datatype = tensor.FP64
	}
	_, err := f.of(datatype)
	return f, err
}

// of is the forest that reads inputs of a type.
func (f *forest) of(t tensor.Datatype) (*trees.Forest, error) {
	double := t == tensor.FP64
	reading := &f.narrow
	if double {
		reading = &f.wide
	}
	if *reading != nil {
		return *reading, nil
	}
	if f.ensemble == nil || (f.ensemble.Double && !double) {
		return nil, op.NotCovered("trees of another type than the input, which is %s", t)
	}
	e := *f.ensemble
	e.Double = double
	compiled, err := trees.Compile(&e)
	if err != nil {
		return nil, op.Invalid("%w", err)
	}
	*reading = compiled
	return compiled, nil
}

// Seal implements op.Sealer: the description of the trees, many times as large as what
// is compiled of it, is given up.
func (f *forest) Seal() { f.ensemble = nil }

// check reports inputs that the trees cannot read.
func (f *forest) check(v *op.Value) (rows int, err error) {
	if err := op.Want(v, "input", numeric...); err != nil {
		return 0, err
	}
	if f.narrow == nil && v.Type != tensor.FP64 {
		return 0, op.NotCovered("thresholds of FP64 for an input of %s", v.Type)
	}
	if _, err := f.of(v.Type); err != nil {
		return 0, err
	}
	rows, cols, err := matrix(v)
	if err == nil && cols < f.features {
		err = op.Invalid("input of shape %v, the trees read %d features", v.Shape, f.features)
	}
	return rows, err
}

// bind makes the function that computes the scores of all rows.
func (f *forest) bind(v *op.Value, scores []float32, s *op.Scratch) (func(), error) {
	rows, cols, err := matrix(v)
	if err != nil {
		return nil, err
	}
	compiled, err := f.of(v.Type)
	if err != nil {
		return nil, err
	}
	targets := compiled.Targets()
	scratch := op.Keep(s, compiled, compiled.NewScratch)
	if v.Type == tensor.FP64 {
		x, y := op.As[float64](v), make([]float64, len(scores))
		return func() {
			compiled.Predict64(x, cols, rows, y, targets, scratch)
			vec.F64ToF32(scores, y)
		}, nil
	}
	load := floats(v)
	return func() { compiled.Predict(load(), cols, rows, scores, targets, scratch) }, nil
}

// Cost implements op.Coster: a walk takes about two nanoseconds a level for one row, in
// batches a quarter of a nanosecond a node and row.
func (f *forest) Cost(in, _ []*op.Value) float64 {
	rows, _, err := matrix(in[0])
	if err != nil {
		return 0
	}
	return float64(f.trees)*4 + float64(rows)*float64(f.nodes)*0.03
}

// Describe implements op.Describer.
func (f *forest) Describe(in, _ []*op.Value) string {
	compiled, err := f.of(in[0].Type)
	if err != nil {
		return err.Error()
	}
	return compiled.Describe()
}

// treeRegressor gives the sums of the trees, transformed.
type treeRegressor struct {
	*forest
	transform transform
}

func buildTreeRegressor(n *op.Node) (op.Operator, error) {
	targets := n.Int("n_targets", 1)
	if targets < 1 || targets > 1<<20 {
		return nil, op.Invalid("n_targets is %d", targets)
	}
	t, err := transformOf(n)
	if err != nil {
		return nil, err
	}
	e, err := ensembleOf(n, "target", int(targets))
	if err != nil {
		return nil, err
	}
	if e.Base, err = baseFor(e.Base, int(targets)); err != nil {
		return nil, err
	}
	f, err := compile(e)
	if err != nil {
		return nil, err
	}
	return &treeRegressor{f, t}, n.Arity(1, 1, 1, 1)
}

// baseFor is one base value for each target: none, that many, or one for the only one.
func baseFor(base []float64, targets int) ([]float64, error) {
	if len(base) == 0 || len(base) == targets {
		return base, nil
	}
	return nil, op.Invalid("%d base_values for %d targets", len(base), targets)
}

func buildTreeEnsemble(n *op.Node) (op.Operator, error) {
	e, err := ensembleOf5(n)
	if err != nil {
		return nil, err
	}
	transforms := []transform{transformNone, transformSoftmax, transformLogistic, transformSoftmaxZero, transformProbit}
	t := n.Int("post_transform", 0)
	if t < 0 || t >= int64(len(transforms)) {
		return nil, op.Invalid("post_transform %d", t)
	}
	f, err := compile(e)
	if err != nil {
		return nil, err
	}
	return &treeRegressor{f, transforms[t]}, n.Arity(1, 1, 1, 1)
}

func (o *treeRegressor) Infer(in, out []*op.Value) error {
	rows, err := o.check(in[0])
	if err != nil {
		return err
	}
	datatype := tensor.FP32
	if o.narrow == nil {
		datatype = tensor.FP64
	}
	return out[0].Set(datatype, int64(rows), int64(o.targets))
}

func (o *treeRegressor) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	if out[0].Type == tensor.FP64 {
		return o.bindWide(in[0], out[0], s)
	}
	scores := op.Floats(out[0])
	predict, err := o.bind(in[0], scores, s)
	if err != nil {
		return nil, err
	}
	if o.transform == transformNone {
		return func() error {
			predict()
			return nil
		}, nil
	}
	targets := o.targets
	return func() error {
		predict()
		for at := 0; at < len(scores); at += targets {
			o.transform.apply(scores[at : at+targets])
		}
		return nil
	}, nil
}

// bindWide is for trees that are of FP64 throughout.
func (o *treeRegressor) bindWide(in, out *op.Value, s *op.Scratch) (op.Run, error) {
	if o.transform != transformNone {
		return nil, op.NotCovered("a post_transform in FP64")
	}
	rows, cols, err := matrix(in)
	if err != nil {
		return nil, err
	}
	compiled, err := o.of(tensor.FP64)
	if err != nil {
		return nil, err
	}
	x, y, scratch := op.As[float64](in), op.As[float64](out), op.Keep(s, compiled, compiled.NewScratch)
	return func() error {
		compiled.Predict64(x, cols, rows, y, compiled.Targets(), scratch)
		return nil
	}, nil
}

// treeClassifier gives labels and scores.
type treeClassifier struct {
	*forest
	labels    labels
	transform transform
	// single is set where a binary classifier has weights for one class only: the
	// forest then has one target, from which both scores follow.
	single bool
	// positive says that all weights of such a classifier are at least 0, so that its
	// sum is a probability.
	positive bool
}

func buildTreeClassifier(n *op.Node) (op.Operator, error) {
	o := &treeClassifier{labels: labelsOf(n, "classlabels_strings", "classlabels_int64s")}
	classes := o.labels.len()
	if classes == 0 {
		return nil, op.Invalid("there are no class labels")
	}
	var err error
	if o.transform, err = transformOf(n); err != nil {
		return nil, err
	}
	e, err := ensembleOf(n, "class", classes)
	if err != nil {
		return nil, err
	}
	if err := o.narrowDown(e); err != nil {
		return nil, err
	}
	if o.forest, err = compile(e); err != nil {
		return nil, err
	}
	return o, n.Arity(1, 1, 1, 2)
}

// narrowDown makes an ensemble of two classes with weights for one of them one of a
// single target.
func (o *treeClassifier) narrowDown(e *trees.Ensemble) (err error) {
	used, positive := make(map[int32]bool), true
	for i := range e.Leaves {
		for _, w := range e.Leaves[i].Weights {
			used[w.Target] = true
			positive = positive && w.Value >= 0
		}
	}
	o.single = e.Targets == 2 && len(used) == 1
	if !o.single {
		if len(e.Base) == 1 && e.Targets > 1 {
			return op.Invalid("1 base value for %d classes", e.Targets)
		}
		e.Base, err = baseFor(e.Base, e.Targets)
		return err
	}
	o.positive = positive
	if len(e.Base) == 2 {
		for target := range used {
			e.Base = e.Base[target : target+1]
		}
	}
	e.Targets = 1
	for i := range e.Leaves {
		for k := range e.Leaves[i].Weights {
			e.Leaves[i].Weights[k].Target = 0
		}
	}
	e.Base, err = baseFor(e.Base, 1)
	return err
}

func (o *treeClassifier) Infer(in, out []*op.Value) error {
	rows, err := o.check(in[0])
	if err != nil {
		return err
	}
	if o.narrow == nil {
		return op.NotCovered("a classifier with weights of FP64")
	}
	return o.labels.setOutputs(out, rows, o.labels.len())
}

func (o *treeClassifier) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	rows, classes := int(out[0].Shape[0]), o.labels.len()
	scores := scoresOf(out, rows*classes)
	label := o.labels.writer(out[0])
	if o.single {
		sums := make([]float32, rows)
		predict, err := o.bind(in[0], sums, s)
		return func() error {
			predict()
			for i, sum := range sums {
				label(i, o.binary(sum, scores[2*i:2*i+2]))
			}
			return nil
		}, err
	}
	predict, err := o.bind(in[0], scores, s)
	return func() error {
		predict()
		o.transform.finish(scores, classes, label, largest)
		return nil
	}, err
}

// binary writes the scores of both classes and gives the class.
func (o *treeClassifier) binary(sum float32, scores []float32) (class int) {
	switch {
	case o.transform == transformLogistic:
		scores[0], scores[1] = logistic(-sum), logistic(sum)
	case o.transform == transformNone && o.positive:
		scores[0], scores[1] = 1-sum, sum
		sum -= 0.5
	default:
		scores[0], scores[1] = -sum, sum
		o.transform.apply(scores)
	}
	if sum > 0 {
		return 1
	}
	return 0
}

// largest is the first place of the largest score; NaN never is.
func largest(scores []float32) int {
	best := 0
	for i, x := range scores {
		if x > scores[best] || scores[best] != scores[best] {
			best = i
		}
	}
	return best
}
