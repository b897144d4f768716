// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/serving/frontend"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

const testFeatures = `
entities:
  user: {key: user_id, type: int64}
sources:
  payments:
    push: true
    timestamp: at
    fields: {at: timestamp, user_id: int64, amount: float64}
views:
  spent:
    entity: user
    source: payments
    features: {payments: {function: count, window: 1d}}
services:
  anyone:
    request: {number: float64, whole: int64, when: timestamp, text: string, flag: bool}
    features: [number, whole]
  user:
    request: {amount: {type: float64, required: true}}
    features: [amount, spent.payments]
`

const testPolicies = `
decisions:
  anyone:
    service: anyone
    model: score
    reasons: {HIGH: the score is high, TEXT: a text came}
    decisions: [approve, block]
    thresholds: {default: [{from: 0.5, decision: block, reason: HIGH}, {decision: approve}]}
    explain: {rules: [{code: TEXT, when: "text == 'come'"}]}
  user:
    service: user
    model: score
    unit: user_id
    decisions: [approve, block]
    thresholds: {default: [{from: 0.5, decision: block}, {decision: approve}]}
`

// scores is one model of two FP64 features; the score is the first of them.
type scores struct{}

func (scores) NewCall() frontend.Call { return new(scoreCall) }
func (scores) Previous(string) int64  { return 0 }

type scoreCall struct{ memory [16]byte }

var (
	scoreInputs  = []frontend.Tensor{{Name: "input", Datatype: tensor.FP64, Width: 2}}
	scoreOutputs = []frontend.Tensor{{Name: "score", Datatype: tensor.FP64, Width: 1}}
)

func (*scoreCall) Begin(string, string) error           { return nil }
func (*scoreCall) Version() int64                       { return 3 }
func (*scoreCall) ModelFile() (string, error)           { return "", errors.New("it has no file") }
func (*scoreCall) Inputs() []frontend.Tensor            { return scoreInputs }
func (*scoreCall) Outputs() []frontend.Tensor           { return scoreOutputs }
func (c *scoreCall) Input(int, int) ([]byte, error)     { return c.memory[:], nil }
func (*scoreCall) InputTexts(int, []string) error       { return nil }
func (*scoreCall) Run(context.Context, time.Time) error { return nil }
func (c *scoreCall) Output(int) ([]byte, error)         { return c.memory[:8], nil }
func (*scoreCall) Release()                             {}

func newService(t testing.TB) *Service {
	t.Helper()
	c, err := definition.Parse("features.yaml", []byte(testFeatures))
	if err != nil {
		t.Fatal(err)
	}
	policies, err := policy.Parse(c, "decisions.yaml", []byte(testPolicies))
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	store, err := featurestore.Open(t.Context(), featurestore.Options{Dir: t.TempDir(), Catalog: c, Logger: quiet,
		Log: offline.Options{CompactEvery: -1}, Online: online.Options{Shards: 1, CheckpointEvery: -1, SweepEvery: -1}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := frontend.New(t.Context(), frontend.Options{Store: store, Policies: policies, Models: scores{}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return New(f)
}
