// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/console"
)

func TestAuditTrail(t *testing.T) {
	dir := t.TempDir()
	a := &auditTrail{state: filepath.Join(dir, "state")}
	if all, err := a.Entries(10); err != nil || len(all) != 0 {
		t.Fatalf("before anything happened: %v, %v", all, err)
	}
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for i, action := range []string{"swap", "rollback"} {
		if err := a.Append(console.Entry{Time: noon.Add(2 * time.Duration(i) * time.Hour), Who: "ann", Action: action, Subject: "fraud"}); err != nil {
			t.Fatal(err)
		}
	}
	record := `{"time":"2026-01-02T13:00:00Z","model":"fraud","decision":"promoted","version":2,"previous":1,"by":"schedule","run":"r1","verdict":"pass","rollback":"millrace models swap fraud --version 1"}` + "\n"
	if err := os.WriteFile(filepath.Join(a.state, promotionsFile), []byte(record), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(a.state, auditFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"time":"2026-01-02T15:`); err != nil { // a crash in the middle
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := a.Entries(2)
	if err != nil || len(all) != 2 || all[0].Action != "rollback" || all[1].Action != decisionPromoted || all[1].Link != "/console/audit/promotions/r1" {
		t.Errorf("%+v, %v", all, err)
	}
	if err := a.Append(console.Entry{Time: noon.Add(5 * time.Hour), Action: "swap"}); err != nil {
		t.Fatal(err)
	}
	if all, err = a.Entries(10); err != nil || len(all) != 4 || all[0].Time.Hour() != 17 {
		t.Errorf("%+v, %v", all, err)
	}
}
