// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/evaluation/interval"
	"github.com/millrace-ml/millrace/evaluation/monitor"
)

// TestReferenceIsInstalled: a pipeline makes a reference of the rows that its model was judged
// by, and it lies beside the model that is promoted; a monitor can be made of it.
func TestReferenceIsInstalled(t *testing.T) {
	pipelineWorld(t)
	text := strings.Replace(worldPipeline, "      promote: ", "      reference: {uses: reference, inputs: {model: train.model, data: split.test}, with: {label: is_fraud}}\n      promote: ", 1)
	writeText(t, "pipeline.yaml", strings.Replace(text, "report: evaluate.report}", "report: evaluate.report, reference: reference.reference}", 1))
	wants(t, saying(t, exitOK, "pipeline", "run"), "promoted")
	c := monitor.Config{Name: "fraud", Columns: []monitor.Column{{Name: "amount"}, {Name: "payments_1d"}}}
	r, err := monitor.ReferenceFile(t.Context(), c, "models/fraud/1/"+monitor.ReferenceFileName, monitor.ScoreColumn, monitor.LabelColumn)
	if err != nil {
		t.Fatal(err)
	}
	auc, err := interval.AUCOf(r.Labels, r.Scores, nil)
	if err != nil || len(r.Scores) != 450 || r.Profile.Rows != 450 || auc.Value < 0.7 {
		t.Errorf("%d scores, AUC %v, %v", len(r.Scores), auc, err)
	}
	if _, err := monitor.New(c, r); err != nil {
		t.Error(err)
	}
	writeText(t, "pipeline.yaml", strings.Replace(text, "label: is_fraud}}\n      promote", "label: is_frod}}\n      promote", 1))
	wants(t, saying(t, exitFailure, "pipeline", "run", "--ignore-cache"), "is_frod", "did you mean is_fraud?")
}
