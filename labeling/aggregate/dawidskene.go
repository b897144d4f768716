// SPDX-License-Identifier: Apache-2.0

package aggregate

import (
	"fmt"
	"math"
)

// Options of DawidSkene; the zero value is sensible.
type Options struct {
	// Strength is how many votes the prior of a voter's row is worth: 0 is 4. Accuracy is
	// the share of them that is right: 0 is 0.7.
	Strength, Accuracy float64
	// Abstaining makes abstaining one of the things that a voter says.
	Abstaining bool
	// RoundsMax bounds the rounds: 0 is 200, at most 10,000. Tolerance is the growth for
	// each item, in nats, that is too little to go on: 0 is 1e-7.
	RoundsMax int
	Tolerance float64
}

func (o *Options) ensureDefaults() {
	if o.Strength == 0 {
		o.Strength = 4
	}
	if o.Accuracy == 0 {
		o.Accuracy = 0.7
	}
	if o.RoundsMax == 0 {
		o.RoundsMax = 200
	}
	if o.Tolerance == 0 {
		o.Tolerance = 1e-7
	}
}

func (o *Options) validate() error {
	if !(o.Strength > 0 && o.Strength <= 1e6) || !(o.Accuracy > 0 && o.Accuracy < 1) || o.RoundsMax < 1 || o.RoundsMax > 10_000 || !(o.Tolerance > 0) {
		return fmt.Errorf("%w options %+v: want strength in 0 to 1e6, accuracy between 0 and 1, 1 to 10,000 rounds, tolerance above 0", ErrInvalid, *o)
	}
	return nil
}

// Model is what DawidSkene found.
type Model struct {
	// Probabilities are those of the labels of each item.
	Probabilities [][]float64
	// Priors are the shares of the labels.
	Priors []float64
	// Confusions are, by voter and true label, how likely each vote is; the last one is
	// abstaining, if that counts.
	Confusions [][][]float64
	// Rounds were run; Converged tells whether they ended by themselves. Objective is what
	// each began with: log-likelihood plus log-prior, but for a constant.
	Rounds    int
	Converged bool
	Objective []float64

	labels     int
	abstaining bool
}

// DawidSkene finds the truth and how good the voters are. Votes are by item and voter.
func DawidSkene(votes [][]int, labels int, o Options) (*Model, error) {
	voters, err := check(votes, labels)
	if err != nil {
		return nil, err
	}
	o.ensureDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	m := &Model{labels: labels, abstaining: o.Abstaining, Priors: make([]float64, labels)}
	if m.Probabilities, err = Majority(votes, labels, nil); err != nil {
		return nil, err
	}
	prior := m.prior(votes, voters, &o)
	for m.Rounds < o.RoundsMax && !m.Converged {
		m.maximize(votes, prior)
		m.Objective = append(m.Objective, m.expect(votes)+m.logPrior(prior))
		if n := m.Rounds; n > 0 && m.Objective[n]-m.Objective[n-1] < o.Tolerance*float64(len(votes)) {
			m.Converged = true
		}
		m.Rounds++
	}
	return m, nil
}

// outcome is the column of a vote; negative if it says nothing.
func (m *Model) outcome(vote int) int {
	if vote == Abstain && m.abstaining {
		return m.labels
	}
	return vote
}

// prior is the votes that are added to each voter's rows. How often a voter abstains is
// no matter of accuracy, so the prior has it as it is.
func (m *Model) prior(votes [][]int, voters int, o *Options) [][][]float64 {
	outcomes := m.labels
	if m.abstaining {
		outcomes++
	}
	out := make([][][]float64, voters)
	for r := range out {
		silent := 0.0
		if m.abstaining {
			for i := range votes {
				if votes[i][r] == Abstain {
					silent++
				}
			}
			silent = (silent + 0.5) / (float64(len(votes)) + 1)
		}
		out[r] = make([][]float64, m.labels)
		for j := range out[r] {
			row := make([]float64, outcomes)
			for l := range m.labels {
				row[l] = o.Strength * (1 - silent) * (1 - o.Accuracy) / float64(m.labels-1)
			}
			row[j] = o.Strength * (1 - silent) * o.Accuracy
			if m.abstaining {
				row[m.labels] = o.Strength * silent
			}
			out[r][j] = row
		}
	}
	return out
}

// maximize sets priors and confusions to what the probabilities make most likely.
func (m *Model) maximize(votes [][]int, prior [][][]float64) {
	for j := range m.Priors {
		m.Priors[j] = 1 // one item of each label is added, so none is impossible
	}
	m.Confusions = make([][][]float64, len(prior))
	for r := range prior {
		m.Confusions[r] = make([][]float64, m.labels)
		for j := range prior[r] {
			m.Confusions[r][j] = append([]float64(nil), prior[r][j]...)
		}
	}
	for i, row := range votes {
		for j, p := range m.Probabilities[i] {
			m.Priors[j] += p
		}
		for r, v := range row {
			if l := m.outcome(v); l >= 0 {
				for j, p := range m.Probabilities[i] {
					m.Confusions[r][j][l] += p
				}
			}
		}
	}
	normalize(m.Priors)
	for _, rows := range m.Confusions {
		for _, row := range rows {
			normalize(row)
		}
	}
}

// expect sets the probabilities, and returns the log-likelihood.
func (m *Model) expect(votes [][]int) float64 {
	sum := 0.0
	logs := m.logs()
	for i, row := range votes {
		sum += m.posterior(row, logs, m.Probabilities[i])
	}
	return sum
}

// logs are the logarithms of confusions, by voter, outcome and true label, so that a vote
// adds neighbours.
func (m *Model) logs() [][][]float64 {
	out := make([][][]float64, len(m.Confusions))
	for r, rows := range m.Confusions {
		out[r] = make([][]float64, len(rows[0]))
		for l := range out[r] {
			out[r][l] = make([]float64, m.labels)
			for j := range rows {
				out[r][l][j] = math.Log(rows[j][l])
			}
		}
	}
	return out
}

// posterior fills in the probabilities of an item, and returns the log-likelihood of its
// votes.
func (m *Model) posterior(row []int, logs [][][]float64, out []float64) float64 {
	top := math.Inf(-1)
	for j, p := range m.Priors {
		out[j] = math.Log(p)
	}
	for r, v := range row {
		if l := m.outcome(v); l >= 0 {
			for j, x := range logs[r][l] {
				out[j] += x
			}
		}
	}
	for _, x := range out {
		top = max(top, x)
	}
	sum := 0.0
	for j, x := range out {
		out[j] = math.Exp(x - top)
		sum += out[j]
	}
	normalize(out)
	return top + math.Log(sum)
}

func (m *Model) logPrior(prior [][][]float64) float64 {
	sum := 0.0
	for _, p := range m.Priors {
		sum += math.Log(p)
	}
	for r, rows := range prior {
		for j, row := range rows {
			for l, weight := range row {
				sum += weight * math.Log(m.Confusions[r][j][l])
			}
		}
	}
	return sum
}

// Infer is the probabilities of new items, by the voters as they were found to be.
func (m *Model) Infer(votes [][]int) ([][]float64, error) {
	voters, err := check(votes, m.labels)
	if err != nil {
		return nil, err
	}
	if voters != len(m.Confusions) {
		return nil, fmt.Errorf("%w: %d voters, and the model has %d", ErrInvalid, voters, len(m.Confusions))
	}
	logs := m.logs()
	out := make([][]float64, len(votes))
	for i, row := range votes {
		out[i] = make([]float64, m.labels)
		m.posterior(row, logs, out[i])
	}
	return out, nil
}

// Accuracy is how often each voter is right when they vote, by the priors of the labels.
func (m *Model) Accuracy() []float64 {
	out := make([]float64, len(m.Confusions))
	for r, rows := range m.Confusions {
		right, spoken := 0.0, 0.0
		for j, row := range rows {
			right += m.Priors[j] * row[j]
			for _, p := range row[:m.labels] {
				spoken += m.Priors[j] * p
			}
		}
		out[r] = right / spoken
	}
	return out
}
