// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestPromotionsSurviveATornLine: a record that a crash cut short costs no other record.
func TestPromotionsSurviveATornLine(t *testing.T) {
	h := &taskHost{project: &project{State: t.TempDir()}}
	path := filepath.Join(h.project.State, promotionsFile)
	if err := os.WriteFile(path, []byte(`{"model": "fraud", "decision": "promoted", "run": "1"}`+"\n"+`{"model": "fra`), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time is the same run again
		if err := h.record(&promotion{Model: "fraud", Decision: decisionPromoted, Run: "2"}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := readPromotions(h.project.State)
	if err != nil || len(all) != 2 || all[0].Run != "1" || all[1].Run != "2" {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestPromotedModelsStayInTheRepository: a name is no path.
func TestPromotedModelsStayInTheRepository(t *testing.T) {
	h := &taskHost{project: &project{}}
	kind := h.promoteKind()
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/etc", `a\b`, "a\x00b"} {
		if checkModelName(name) == nil {
			t.Errorf("%q is taken", name)
		}
	}
	if _, err := kind.Decode([]byte(`{"model": "../../x"}`)); err == nil {
		t.Error("a path is taken for a model")
	}
	if _, err := kind.Decode([]byte(`{"model": "fraud-2.1"}`)); err != nil {
		t.Error(err)
	}
}
