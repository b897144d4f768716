// SPDX-License-Identifier: Apache-2.0

package metric

func init() {
	register(
		decided("accuracy", "share of the rows that are decided rightly", accuracy),
		decided("balanced_accuracy", "mean over the classes of the share decided rightly", balancedAccuracy),
		decided("mcc", "Matthews correlation of truth and decision", matthews),
		decided("kappa", "Cohen's kappa: agreement of truth and decision beyond chance", kappa),
		&family{
			name: "specificity", args: "[@threshold]", keys: []string{"threshold"}, better: 1,
			examples: []string{"specificity", "specificity@0.3"},
			about:    "share of the negatives that are below the threshold",
			parse: func(n *name) (taskSet, builder) {
				threshold := n.number("threshold", true, thresholdDefault, anyNumber)
				return tasks(Binary), thresholded(threshold, specificity)
			},
		},
		&family{
			name: "cost", args: "[@fp=COST,fn=COST,tp=COST,tn=COST,threshold=T]", keys: []string{"fp", "fn", "tp", "tn", "threshold"}, better: -1,
			examples: []string{"cost", "cost@fp=1,fn=10,threshold=0.2", "cost@fp=1,fn=25,tp=-2,tn=0.1"},
			about:    "mean cost of a row, of false alarms (fp, default 1), misses (fn, 1), catches (tp, 0) and rest (tn, 0)",
			parse:    parseCost,
		},
		precisionFamily(), recallFamily(), f1Family(), fBetaFamily(),
		&family{
			name: "top_k_accuracy", args: "[@k]", keys: []string{"k"}, better: 1, examples: []string{"top_k_accuracy", "top_k_accuracy@3"},
			about: "share of the rows whose class is among the k (2) of highest score",
			parse: func(n *name) (taskSet, builder) {
				k := places(n, 2)
				return tasks(Multiclass), always(func(p *prepared) kernel { return topClasses(p, k) })
			},
		},
	)
	registerAverages("precision", "precision", precisionOf)
	registerAverages("recall", "recall", recallOf)
	registerAverages("f1", "F1", func(t *tally, c int) float64 { return fBetaOf(t, c, 1) })
}

func thresholded(threshold float64, of func(t *tally) float64) builder {
	return always(func(p *prepared) kernel { return decide(p, threshold, of) })
}

// decided is a family of binary decisions at a threshold, and of the decision for a class.
func decided(base, about string, of func(t *tally) float64) *family {
	return &family{
		name: base, args: "[@threshold]", keys: []string{"threshold"}, about: about, better: 1, examples: []string{base, base + "@0.3"},
		parse: func(n *name) (taskSet, builder) {
			set := tasks(Binary)
			if len(n.args) == 0 {
				set = tasks(Binary, Multiclass)
			}
			return set, thresholded(n.number("threshold", true, thresholdDefault, anyNumber), of)
		},
	}
}

func parseCost(n *name) (taskSet, builder) {
	fp, fn := n.number("fp", false, 1, anyNumber), n.number("fn", false, 1, anyNumber)
	tp, tn := n.number("tp", false, 0, anyNumber), n.number("tn", false, 0, anyNumber)
	threshold := n.number("threshold", true, thresholdDefault, anyNumber)
	return tasks(Binary), always(func(p *prepared) kernel {
		return perRow(p, func(y, score float64) float64 {
			switch {
			case score >= threshold && y == 1:
				return tp
			case score >= threshold:
				return fp
			case y == 1:
				return fn
			}
			return tn
		})
	})
}

// ofClass is a metric of the decisions for a class.
func ofClass(class string, of func(t *tally, class int) float64) (taskSet, builder) {
	return tasks(Multiclass), func(p *prepared) (kernel, error) {
		c, err := p.classNumber(class)
		if err != nil {
			return nil, err
		}
		return decide(p, 0, func(t *tally) float64 { return of(t, c) }), nil
	}
}

// ofPositives is a metric of class 1 at a threshold.
func ofPositives(n *name, of func(t *tally, class int) float64) (taskSet, builder) {
	threshold := n.number("threshold", true, thresholdDefault, anyNumber)
	return tasks(Binary), thresholded(threshold, func(t *tally) float64 { return of(t, 1) })
}

func precisionFamily() *family {
	return &family{
		name: "precision", args: "[:CLASS][@k|@threshold]", keys: []string{"k", "threshold"}, better: 1, perClass: true,
		examples: []string{"precision", "precision@0.3", "precision@3", "precision@k=5", "precision@threshold=1", "precision:b"},
		about: "share of positives among the rows from a threshold on, or among the k highest (of each query); " +
			"k is a whole number, a threshold has a point; for a class: share of it among what is taken for it",
		parse: func(n *name) (taskSet, builder) {
			switch {
			case n.hasClass:
				return ofClass(n.class, precisionOf)
			case n.whole("") || n.args["k"] != "":
				k := places(n, 1)
				return tasks(Binary, Ranking), byTask(highestRows(k, topPrecision), perQuery(queryPrecision(k)))
			}
			return ofPositives(n, precisionOf)
		},
	}
}

func recallFamily() *family {
	return &family{
		name: "recall", args: "[:CLASS][@k|@threshold|@fpr=SHARE]", keys: []string{"k", "threshold", "fpr"}, better: 1, perClass: true,
		examples: []string{"recall", "recall@0.3", "recall@3", "recall@k=5", "recall@threshold=1", "recall@fpr=0.2", "recall@fpr=0", "recall:b"},
		about: "share of the positives from a threshold on, or among the k highest (of each query), or at a rate of false alarms of at most fpr; " +
			"k is a whole number, a threshold has a point; for a class: share of it that is taken for it",
		parse: func(n *name) (taskSet, builder) {
			switch {
			case n.hasClass:
				return ofClass(n.class, recallOf)
			case n.args["fpr"] != "":
				limit := n.number("fpr", false, 0, shareOrWhole)
				return tasks(Binary), always(func(p *prepared) kernel { return recallAtFPR{ranked{p.by(0)}, limit} })
			case n.whole("") || n.args["k"] != "":
				k := places(n, 1)
				return tasks(Binary, Ranking), byTask(highestRows(k, topRecall), perQuery(queryRecall(k)))
			}
			return ofPositives(n, recallOf)
		},
	}
}

func f1Family() *family {
	of := func(t *tally, class int) float64 { return fBetaOf(t, class, 1) }
	return &family{
		name: "f1", args: "[:CLASS][@threshold]", keys: []string{"threshold"}, better: 1, perClass: true,
		examples: []string{"f1", "f1@0.3", "f1:b"},
		about:    "harmonic mean of precision and recall at a threshold, or of a class",
		parse: func(n *name) (taskSet, builder) {
			if n.hasClass {
				return ofClass(n.class, of)
			}
			return ofPositives(n, of)
		},
	}
}

func fBetaFamily() *family {
	return &family{
		name: "fbeta", args: "[:CLASS]@beta=BETA[,threshold=T]", keys: []string{"beta", "threshold"}, better: 1, perClass: true,
		examples: []string{"fbeta@beta=2", "fbeta@beta=0.5,threshold=0.3", "fbeta:b@beta=2"},
		about:    "F-score in which recall weighs beta times as much as precision, at a threshold or of a class",
		parse: func(n *name) (taskSet, builder) {
			if n.args["beta"] == "" {
				n.need("beta, such as @beta=2")
			}
			beta := n.number("beta", false, 1, positive)
			of := func(t *tally, class int) float64 { return fBetaOf(t, class, beta) }
			if n.hasClass {
				return ofClass(n.class, of)
			}
			return ofPositives(n, of)
		},
	}
}

func registerAverages(base, words string, of func(t *tally, class int) float64) {
	for how, about := range map[average]string{
		macro:    "mean over the classes of the " + words + " of each",
		micro:    words + " over the decisions for all classes, which is the accuracy",
		weighted: "mean over the classes, by their size, of the " + words + " of each",
	} {
		full := base + "_" + [...]string{"macro", "micro", "weighted"}[how]
		register(&family{
			name: full, better: 1, examples: []string{full}, about: about,
			parse: fixed(tasks(Multiclass), thresholded(0, averaged(how, of))),
		})
	}
}
