// SPDX-License-Identifier: Apache-2.0

package metric

import "math"

func init() {
	register(
		meanError("mae", "mean absolute error", absoluteError, nil),
		meanError("mse", "mean squared error", squaredError, nil),
		meanError("rmse", "root of the mean squared error", squaredError, math.Sqrt),
		meanError("mape", "mean absolute error relative to the truth, as a fraction", relativeError, nil),
		meanError("smape", "mean absolute error relative to the mean of truth and prediction, as a fraction, 0 to 2", symmetricError, nil),
		&family{
			name: "bias", examples: []string{"bias"}, about: "mean of prediction less truth",
			parse: fixed(tasks(Regression), always(func(p *prepared) kernel {
				return perRow(p, func(y, score float64) float64 { return score - y })
			})),
		},
		&family{
			name: "r2", better: 1, examples: []string{"r2"}, about: "share of the variance that is explained",
			parse: fixed(tasks(Regression), always(func(p *prepared) kernel { return determination{labels: p.Labels, scores: p.Scores} })),
		},
		&family{
			name: "median_ae", better: -1, examples: []string{"median_ae"}, about: "median absolute error",
			parse: fixed(tasks(Regression), always(func(p *prepared) kernel {
				return quantileOf{s: newSorted(perRow(p, absoluteError).values), q: 0.5}
			})),
		},
		&family{
			name: "max_error", better: -1, examples: []string{"max_error"}, about: "largest absolute error",
			parse: fixed(tasks(Regression), always(func(p *prepared) kernel {
				return extremeOf{s: newSorted(perRow(p, absoluteError).values), largest: true}
			})),
		},
		&family{
			name: "pinball", args: "[@q]", keys: []string{"q"}, better: -1, examples: []string{"pinball", "pinball@0.9"},
			about: "mean pinball loss of a forecast of the q-quantile (0.5)",
			parse: func(n *name) (taskSet, builder) {
				q := n.number("q", true, 0.5, share)
				return tasks(Regression), always(func(p *prepared) kernel { return perRow(p, pinball(q)) })
			},
		},
	)
	registerQueries()
}

// meanError is a mean error, less is better.
func meanError(base, about string, f func(y, p float64) float64, finish func(float64) float64) *family {
	return &family{
		name: base, better: -1, examples: []string{base}, about: about,
		parse: fixed(tasks(Regression), always(func(p *prepared) kernel {
			k := perRow(p, f)
			k.finish = finish
			return k
		})),
	}
}

func registerQueries() {
	register(
		&family{
			name: "ndcg", args: "[@k][,gain=linear|exponential]", keys: []string{"k", "gain"}, better: 1,
			examples: []string{"ndcg", "ndcg@3", "ndcg@k=5,gain=exponential"},
			about:    "discounted gain of the first k places of a query over that of the best order, mean over queries",
			parse: func(n *name) (taskSet, builder) {
				gain := linearGain
				if n.choice("gain", "linear", "exponential") == "exponential" {
					gain = exponentialGain
				}
				return tasks(Ranking), perQuery(ndcg(places(n, placesMax), gain))
			},
		},
		&family{
			name: "map", args: "[@k]", keys: []string{"k"}, better: 1, examples: []string{"map", "map@3"},
			about: "average precision in the first k places of a query, mean over queries that have a relevant row",
			parse: func(n *name) (taskSet, builder) { return tasks(Ranking), perQuery(meanPrecision(places(n, placesMax))) },
		},
		&family{
			name: "mrr", better: 1, examples: []string{"mrr"},
			about: "one over the place of the first relevant row, mean over queries that have one",
			parse: fixed(tasks(Ranking), perQuery(reciprocalRank)),
		},
	)
}
