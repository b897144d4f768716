// SPDX-License-Identifier: Apache-2.0

package tabular

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
)

// svmClassifier decides between each two of its classes and gives the label with the
// most votes. Its scores are probabilities where the model has what they are computed
// from, else the decisions. What the standard leaves open is as in ONNX Runtime.
type svmClassifier struct {
	*machine
	labels labels
	// first is the number of each class's first support vector, with the number of all
	// behind the last.
	first []int
	// coefficients has a row of all vectors for each class but one: those of class i
	// against class j > i in row j-1, those of j against i in row i.
	coefficients, rho []float32
	// summed says that the machine gives the decisions themselves, less rho.
	summed bool
	// probA and probB are set where scores are probabilities.
	probA, probB []float32
	transform    transform
}

func buildSVMClassifier(n *op.Node) (op.Operator, error) {
	o := &svmClassifier{
		labels:       labelsOf(n, "classlabels_strings", "classlabels_ints"),
		coefficients: n.Floats("coefficients"), rho: n.Floats("rho"),
		probA: n.Floats("prob_a"), probB: n.Floats("prob_b"),
	}
	counts := n.Ints("vectors_per_class")
	if len(counts) == 0 {
		return buildLinearSVM(n)
	}
	classes := o.labels.len()
	if classes < 2 || len(counts) != classes {
		return nil, op.Invalid("vectors_per_class has %d values for %d class labels", len(counts), classes)
	}
	o.first = make([]int, 1, classes+1)
	for _, count := range counts {
		if count < 0 || count > int64(len(n.Floats("support_vectors"))) {
			return nil, op.Invalid("vectors_per_class %v", counts)
		}
		o.first = append(o.first, o.first[len(o.first)-1]+int(count))
	}
	if err := o.checkSizes(); err != nil {
		return nil, err
	}
	var err error
	if o.machine, err = machineOf(n, o.first[classes]); err != nil {
		return nil, err
	}
	if o.similarity == similarityLinear && o.pairs() <= o.vectors {
		o.machine, o.summed = o.machine.summed(n.Floats("support_vectors"), o.pairs(), o.weighed), true
	}
	if o.transform, err = transformOf(n); err != nil {
		return nil, err
	}
	if o.transform == transformProbit && classes == 2 && len(o.probA) == 0 {
		return nil, op.NotCovered("post_transform PROBIT of one decision")
	}
	return o, n.Arity(1, 1, 1, 2)
}

// checkSizes reports lists that do not fit the classes and support vectors.
func (o *svmClassifier) checkSizes() error {
	classes, vectors, pairs := o.labels.len(), o.first[len(o.first)-1], o.pairs()
	if vectors == 0 || len(o.coefficients) != (classes-1)*vectors {
		return op.Invalid("%d coefficients for %d classes and %d support vectors", len(o.coefficients), classes, vectors)
	}
	if len(o.rho) != pairs {
		return op.Invalid("rho has %d values for %d classes", len(o.rho), classes)
	}
	if len(o.probA) != len(o.probB) || len(o.probA) != 0 && len(o.probA) != pairs {
		return op.Invalid("prob_a and prob_b have %d and %d values for %d classes", len(o.probA), len(o.probB), classes)
	}
	return nil
}

// pairs is how many decisions there are.
func (o *svmClassifier) pairs() int { return o.labels.len() * (o.labels.len() - 1) / 2 }

// scores is how many scores a row has.
func (o *svmClassifier) scores() int {
	if classes := o.labels.len(); len(o.probA) > 0 || classes == 2 {
		return classes
	}
	return o.pairs()
}

func (o *svmClassifier) Infer(in, out []*op.Value) error {
	rows, err := o.check(in[0])
	if err != nil {
		return err
	}
	return o.labels.setOutputs(out, rows, o.scores())
}

func (o *svmClassifier) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	rows, width := int(in[0].Shape[0]), o.scores()
	if in[0].Rank() == 1 {
		rows = 1
	}
	var scores []float32
	if len(out) > 1 && out[1] != nil {
		scores = op.Floats(out[1])
	}
	label, compare := o.labels.writer(out[0]), o.bind(in[0], rows, s)
	decisions, votes := make([]float32, o.pairs()), make([]int, o.labels.len())
	couple := newCoupling(o.labels.len())
	each := func(row int, k []float32) {
		o.decide(k, decisions, votes)
		label(row, winner(votes))
		if scores != nil {
			o.score(scores[row*width:(row+1)*width], decisions, couple)
		}
	}
	return func() error {
		compare(each)
		return nil
	}, nil
}

// weighed calls run with the support vectors that decision pair weighs.
func (o *svmClassifier) weighed(pair int, run func(first int, weights []float32)) {
	i, j := 0, pair+1
	for n := o.labels.len(); j >= n; {
		i, j = i+1, j-n+i+2
	}
	vectors := o.first[len(o.first)-1]
	for _, c := range []struct{ class, row int }{{i, j - 1}, {j, i}} {
		first, end := o.first[c.class], o.first[c.class+1]
		run(first, o.coefficients[c.row*vectors+first:c.row*vectors+end])
	}
}

// decide computes the decision between each two classes and counts the votes.
func (o *svmClassifier) decide(k, decisions []float32, votes []int) {
	clear(votes)
	pair := 0
	for i := range votes {
		for j := i + 1; j < len(votes); j++ {
			sum := float64(o.rho[pair])
			if o.summed {
				sum += float64(k[pair])
			} else {
				sum += o.weigh(i, j-1, k) + o.weigh(j, i, k)
			}
			decisions[pair] = float32(sum)
			if sum > 0 {
				votes[i]++
			} else {
				votes[j]++
			}
			pair++
		}
	}
}

// weigh is the sum over the support vectors of a class, with a row of coefficients.
func (o *svmClassifier) weigh(class, row int, k []float32) float64 {
	first, end := o.first[class], o.first[class+1]
	return weigh(o.coefficients[row*o.vectors+first:row*o.vectors+end], k[first:end])
}

// winner is the first class with the most votes.
func winner(votes []int) int { return slices.Index(votes, slices.Max(votes)) }

// score writes the scores of a row.
func (o *svmClassifier) score(scores, decisions []float32, c *coupling) {
	switch {
	case len(o.probA) > 0:
		c.probabilities(scores, decisions, o.probA, o.probB)
		o.transform.apply(scores)
	case len(decisions) > 1:
		copy(scores, decisions)
		o.transform.apply(scores)
	default:
		scores[0], scores[1] = o.transform.both(decisions[0])
	}
}

// both makes the scores of two classes of one decision.
func (t transform) both(decision float32) (first, second float32) {
	switch t {
	case transformNone:
		return -decision, decision
	case transformLogistic:
		return logistic(-decision), logistic(decision)
	}
	return 1 - decision, decision
}

// Cost implements op.Coster.
func (o *svmClassifier) Cost(_, out []*op.Value) float64 {
	rows := out[0].Len()
	each := 20.0
	if len(o.probA) > 0 && o.labels.len() > 1 {
		each += 30 * float64(o.labels.len()*o.labels.len())
	}
	return o.cost(rows, o.labels.len()-1) + each*float64(rows)
}

// Describe implements op.Describer.
func (o *svmClassifier) Describe(_, _ []*op.Value) string { return o.describe() }
