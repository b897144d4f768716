// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// signedModel writes a model with a signature; empty leaves it out.
func signedModel(t *testing.T, signature string) string {
	t.Helper()
	b := onnx.NewBuilder("signed")
	b.Input("input", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(2))
	b.Node("Identity", []string{"input"}, []string{"output"})
	b.Output("output", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(2))
	if signature != "" {
		b.Metadata(signatureKey, signature)
	}
	data, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSignatureIsHeldToTheService(t *testing.T) {
	s := &definition.Service{Name: "fraud", Features: []definition.Feature{{Name: "amount"}, {Name: "hour"}}}
	for name, test := range map[string]struct{ signature, want string }{
		"the same":       {`{"features": [{"name": "amount"}, {"name": "hour"}]}`, ""},
		"none":           {"", ""},
		"another order":  {`{"features": [{"name": "hour"}, {"name": "amount"}]}`, "learnt hour as feature 1, where the service has amount"},
		"one less":       {`{"features": [{"name": "amount"}]}`, "hour is new to it"},
		"one more":       {`{"features": [{"name": "amount"}, {"name": "hour"}, {"name": "day"}]}`, "day is missing"},
		"not a document": {`{"features": 7}`, "cannot be read"},
	} {
		err := checkSignature(s, &fakeCall{version: &fakeVersion{file: signedModel(t, test.signature)}})
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, file := range []string{"", "/no/such/file"} {
		if err := checkSignature(s, &fakeCall{version: &fakeVersion{file: file}}); err != nil {
			t.Errorf("file %q: %v", file, err)
		}
	}
}

// TestModelOfOtherFeaturesIsNotAsked: it would answer, and be wrong.
func TestModelOfOtherFeaturesIsNotAsked(t *testing.T) {
	s := &definition.Service{Name: "fraud", Features: []definition.Feature{{Name: "amount"}, {Name: "hour"}}}
	v := &fakeVersion{
		inputs: []Tensor{{Name: "input", Datatype: tensor.FP32, Width: 2}}, outputs: []Tensor{{Name: "output", Datatype: tensor.FP32, Width: 2}},
		file: signedModel(t, `{"features": [{"name": "hour"}, {"name": "amount"}]}`),
	}
	if _, err := newBinding(s, &policy.Model{Name: "fraud", Class: 1}, &fakeCall{version: v, number: 3}); err == nil || !strings.Contains(err.Error(), "model fraud version 3 does not fit service fraud") {
		t.Errorf("%v", err)
	}
}
