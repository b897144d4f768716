// SPDX-License-Identifier: Apache-2.0

package labelstudio

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling"
)

// sdkCheck lets Label Studio's own library read a configuration and tasks: it says what is
// wrong with each.
const sdkCheck = `
import json, sys
try:
    from label_studio_sdk.label_interface import LabelInterface
except ImportError as e:
    print("none:", e); sys.exit(7)
interface = LabelInterface(open(sys.argv[1]).read())
interface.validate()
tasks = json.load(open(sys.argv[2]))
for t in tasks:
    if not interface.validate_task({"data": t["data"]}):
        print("task", t["id"])
    for x in t["annotations"] + t["predictions"]:
        for wrong in interface.validate_prediction(x, return_errors=True):
            print("task", t["id"], wrong)
print("checked", len(tasks))
`

// TestSDK: what is exported is what Label Studio's library takes, for every kind of labels.
func TestSDK(t *testing.T) {
	python, err := exec.LookPath("python3")
	if given := os.Getenv("LABEL_STUDIO_PYTHON"); given != "" {
		python, err = given, nil
	}
	if err != nil {
		t.Skip("no python3")
	}
	script := filepath.Join(t.TempDir(), "check.py")
	if err := os.WriteFile(script, []byte(sdkCheck), 0o644); err != nil {
		t.Fatal(err)
	}
	labels := []labeling.Label{{Name: "fraud", Key: "f"}, {Name: "genuine & <b>"}}
	for name, c := range map[string]struct {
		set  labeling.LabelSet
		said labeling.Value
	}{
		"single":   {labeling.LabelSet{Kind: labeling.Single, Labels: labels}, labeling.Choose("fraud")},
		"multiple": {labeling.LabelSet{Kind: labeling.Multiple, Labels: labels}, labeling.Choose("fraud", "genuine & <b>")},
		"number":   {labeling.LabelSet{Kind: labeling.Number, Min: 1, Max: 9}, labeling.Num(4)},
		"spans":    {labeling.LabelSet{Kind: labeling.Spans, Labels: labels, Text: "text"}, labeling.Value{Spans: []labeling.Span{{Start: 2, End: 5, Label: "fraud"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			config, tasks := filepath.Join(dir, "config.xml"), filepath.Join(dir, "tasks.json")
			exportFor(t, c.set, c.said, config, tasks)
			out, err := exec.CommandContext(t.Context(), python, script, config, tasks).CombinedOutput()
			if bytes.HasPrefix(out, []byte("none:")) {
				t.Skipf("Label Studio's library is not there (pip install label-studio-sdk): %s", out)
			}
			if err != nil || string(out) != "checked 2\n" {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// exportFor writes the configuration and two tasks, one annotated and one with a prediction.
func exportFor(t *testing.T, set labeling.LabelSet, said labeling.Value, config, tasks string) {
	t.Helper()
	log, err := offline.Open(t.Context(), offline.Options{Dir: t.TempDir(), CompactEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() }) // nothing is read after it
	s, err := labeling.Open(t.Context(), labeling.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := s.Define(ctx, labeling.Project{Name: "p", Labels: set}); err != nil {
		t.Fatal(err)
	}
	guess := labeling.Task{ID: "b", Data: []byte(`{"text": "naïve 😀 text"}`)}
	guess.Prediction = &labeling.Prediction{Model: "m", Version: "1", Value: said, Score: 0.75}
	if _, err := s.Add(ctx, "p", []labeling.Task{{ID: "a", Data: []byte(`{"text": "<b>some</b> text"}`)}, guess}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Import(ctx, []labeling.Imported{{Submission: labeling.Submission{Project: "p", Task: "a", Annotator: "anna@example.com", Value: said}}}); err != nil {
		t.Fatal(err)
	}
	c := NewConfig(set, "text")
	var out bytes.Buffer
	if err := Export(&out, s, "p", c); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string][]byte{config: []byte(c.XML()), tasks: out.Bytes()} {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
