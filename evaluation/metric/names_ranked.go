// SPDX-License-Identifier: Apache-2.0

package metric

// binsDefault is the number of bins of calibration metrics.
const binsDefault = 10

// thresholdDefault is the score from which a row is taken for class 1.
const thresholdDefault = 0.5

func init() {
	registerRanked()
	registerProbabilities()
	registerTop()
}

func registerRanked() {
	register(
		&family{
			name: "roc_auc", args: "[:CLASS]", perClass: true, better: 1, examples: []string{"roc_auc", "roc_auc:b"},
			about: "area under the ROC curve; of several classes that of one against the rest, or the mean of all",
			parse: ofAllOrClass(func(r ranked) kernel { return rocAUC{r} }),
		},
		&family{
			name: "roc_auc_weighted", better: 1, examples: []string{"roc_auc_weighted"},
			about: "area under the ROC curve of each class against the rest, mean by size of the class",
			parse: fixed(tasks(Multiclass), rankedKernel(func(r ranked) kernel { return rocAUC{r} }, true)),
		},
		&family{
			name: "average_precision", args: "[:CLASS]", perClass: true, better: 1, examples: []string{"average_precision", "average_precision:b"},
			about: "mean of the precisions at each positive, the area under the precision-recall curve; of several classes that of one against the rest, or the mean of all",
			parse: ofAllOrClass(func(r ranked) kernel { return averagePrecision{r} }),
		},
		&family{
			name: "average_precision_weighted", better: 1, examples: []string{"average_precision_weighted"},
			about: "average precision of each class against the rest, mean by size of the class",
			parse: fixed(tasks(Multiclass), rankedKernel(func(r ranked) kernel { return averagePrecision{r} }, true)),
		},
		&family{
			name: "ks", better: 1, examples: []string{"ks"},
			about: "Kolmogorov-Smirnov: largest distance between the score distributions of the classes",
			parse: fixed(tasks(Binary), rankedKernel(func(r ranked) kernel { return kolmogorovSmirnov{r} }, false)),
		},
	)
}

// rankedKernel makes a kernel of a ranking, or of one for each class against the rest.
func rankedKernel(of func(r ranked) kernel, weighted bool) builder {
	return always(func(p *prepared) kernel {
		if p.Task == Binary {
			return of(ranked{p.by(0)})
		}
		k := oneVersusRest{p: p, weighted: weighted, kernels: make([]kernel, p.Outputs)}
		for c := range k.kernels {
			k.kernels[c] = of(ranked{p.by(c)})
		}
		return k
	})
}

// ofAllOrClass is the parse of a metric of a ranking that may be of one class.
func ofAllOrClass(of func(r ranked) kernel) func(*name) (taskSet, builder) {
	return func(n *name) (taskSet, builder) {
		if !n.hasClass {
			return tasks(Binary, Multiclass), rankedKernel(of, false)
		}
		return tasks(Multiclass), func(p *prepared) (kernel, error) {
			c, err := p.classNumber(n.class)
			if err != nil {
				return nil, err
			}
			return of(ranked{p.by(c)}), nil
		}
	}
}

func registerProbabilities() {
	register(
		&family{
			name: "log_loss", better: -1, examples: []string{"log_loss"},
			about: "mean of minus the logarithm of the probability of the truth",
			parse: fixed(tasks(Binary, Multiclass), calibrated(logLoss)),
		},
		&family{
			name: "brier", better: -1, examples: []string{"brier"},
			about: "mean squared error of the probability; of several classes the sum over them",
			parse: fixed(tasks(Binary, Multiclass), calibrated(brier)),
		},
		binned("brier_reliability", -1, "part of the Brier score that is miscalibration, over bins of equal mass", reliability),
		binned("brier_resolution", 1, "part of the Brier score that bins of equal mass explain", resolution),
		binned("brier_uncertainty", 0, "part of the Brier score that is in the data: base rate times its complement", uncertainty),
		binned("ece", -1, "expected calibration error: mean distance of score and share of positives over bins of equal mass", expectedError),
		binned("mce", -1, "largest distance of score and share of positives over bins of equal mass", maximumError),
	)
}

func binned(base string, better int, about string, of func([]bin) float64) *family {
	return &family{
		name: base, args: "[@bins]", keys: []string{"bins"}, about: about, better: better, examples: []string{base, base + "@15"},
		parse: func(n *name) (taskSet, builder) {
			bins := n.count("bins", true, binsDefault, binsMax)
			return tasks(Binary), calibrated(func(p *prepared) kernel { return calibration{ranked{p.by(0)}, bins, of} })
		},
	}
}

func registerTop() {
	register(
		&family{
			name: "lift", args: "@share", keys: []string{"share"}, better: 1, examples: []string{"lift@0.1", "lift@share=1"},
			about: "precision of a share of the rows, the highest, over that of all",
			parse: topShare(topLift),
		},
		&family{
			name: "gain", args: "@share", keys: []string{"share"}, better: 1, examples: []string{"gain@0.1", "gain@share=0.37"},
			about: "share of the positives that are in a share of the rows, the highest",
			parse: topShare(topRecall),
		},
	)
}

func topShare(of func(t top) float64) func(*name) (taskSet, builder) {
	return func(n *name) (taskSet, builder) {
		if len(n.args) == 0 {
			n.need("a share of the rows, such as @0.1")
		}
		s := n.number("share", true, 1, shareOrWhole)
		if s == 0 {
			n.fail("share is 0, it must be above 0 and at most 1")
		}
		return tasks(Binary), always(func(p *prepared) kernel { return atTop{ranked: ranked{p.by(0)}, share: s, of: of} })
	}
}

// highestRows is a metric of the k highest rows.
func highestRows(k int, of func(t top) float64) builder {
	return always(func(p *prepared) kernel { return atTop{ranked: ranked{p.by(0)}, k: float64(k), of: of} })
}

// perQuery is a metric of the first places of each query.
func perQuery(of func(a answered) float64) builder {
	return always(func(p *prepared) kernel { return newOverQueries(p, of) })
}

// byTask picks the builder by the task.
func byTask(binary, ranking builder) builder {
	return func(p *prepared) (kernel, error) {
		if p.Task == Ranking {
			return ranking(p)
		}
		return binary(p)
	}
}

// places is the k of a metric of the k highest.
func places(n *name, otherwise int) int {
	return n.count("k", true, otherwise, placesMax)
}
