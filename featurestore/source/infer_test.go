// SPDX-License-Identifier: Apache-2.0

package source

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

func fieldList(fields []definition.Field) []string {
	var all []string
	for _, f := range fields {
		all = append(all, f.Name+" "+f.Type.String())
	}
	return all
}

func TestInfer(t *testing.T) {
	dir := t.TempDir()
	csv := put(t, filepath.Join(dir, "in.csv.gz"), "yes,n,x,at,day,text,none,one,\"odd,name\"\ntrue,1,1.5,2024-01-02T03:04:05Z,2024-01-02,a,,1,1\nFALSE,-2,2,2024-01-02 03:04:05,2024-01-03,,,0,x\nmalformed\n")
	jsonl := put(t, filepath.Join(dir, "in.jsonl"), `{"yes":true,"n":1,"x":1,"at":"2024-01-02T03:04:05Z","text":"1","none":null,"deep":{"a":1}}`+"\nmalformed\n"+`{"x":1.5,"late":"x","mixed":1}`+"\n"+`{"mixed":"x"}`)
	for _, c := range []struct {
		format definition.Format
		path   string
		want   []string
	}{
		{definition.CSV, csv, []string{"yes bool", "n int64", "x float64", "at timestamp", "day timestamp", "text string", "none string", "one int64", "odd,name string"}},
		{definition.JSONLines, jsonl, []string{"yes bool", "n int64", "x float64", "at timestamp", "text string", "none string", "late string", "mixed string"}},
		{definition.Parquet, parquetInput(t, []kinds{{}}).Path, []string{"whole float64", "half float64", "uint int64", "small int64", "zero int64", "epoch int64",
			"date timestamp", "money float64", "single float64", "maybe float64", "text string"}},
	} {
		got, err := Infer(t.Context(), c.format, c.path)
		must(t, err)
		same(t, c.path, fieldList(got), c.want)
	}
	_, err := Infer(t.Context(), definition.CSV, put(t, filepath.Join(dir, "twice.csv"), "a,a\n"))
	expectError(t, err, ErrInput, "twice.csv", `column "a" twice`)
	_, err = Infer(t.Context(), definition.JSONLines, put(t, filepath.Join(dir, "none.jsonl"), "[]\n"))
	expectError(t, err, ErrInput, "none.jsonl", "is an object")
	_, err = Infer(t.Context(), definition.Parquet, filepath.Join(dir, "gone.parquet"))
	expectError(t, err, ErrInput, "gone.parquet")
	_, err = OpenFile(t.Context(), definition.PostgreSQL, "x", nil, Options{})
	expectError(t, err, ErrInput, "no file")
}

func TestOpenFile(t *testing.T) {
	path := put(t, filepath.Join(t.TempDir(), "labels.csv"), "id,ms,fraud\na,1704164645000,1\n")
	r, err := OpenFile(t.Context(), definition.CSV, path, []definition.Field{field("id", "string"), field("at", "timestamp"), field("fraud", "bool")},
		Options{Columns: map[string]string{"at": "unix_ms(ms)"}})
	must(t, err)
	var b column.Batch
	if more, err := r.Next(&b); !more || err != nil {
		t.Fatal(more, err)
	}
	same(t, "labels", rows(&b), []string{"a 1704164645000000 1"})
	must(t, r.Close())
}

func TestHash(t *testing.T) {
	dir := t.TempDir()
	a, b := put(t, filepath.Join(dir, "a.csv"), "id\n1\n"), put(t, filepath.Join(dir, "b.csv"), "id\n2\n")
	s := &definition.Source{Name: "s", Inputs: []definition.Input{{Format: definition.CSV, Path: a}, {Format: definition.CSV, Path: filepath.Join(dir, "*.csv")}}}
	one, size, err := Hash(t.Context(), s, 0)
	if want := sha256.Sum256([]byte("id\n1\n")); err != nil || one != want || size != 5 {
		t.Errorf("%x, %d, %v; want %x", one, size, err, want)
	}
	both, size, err := Hash(t.Context(), s, 1)
	if err != nil || both == one || size != 10 {
		t.Errorf("%x, %d, %v", both, size, err)
	}
	put(t, b, "id\n3\n")
	if other, _, err := Hash(t.Context(), s, 1); err != nil || other == both {
		t.Errorf("another file has the hash %x, %v", other, err)
	}
	must(t, os.Rename(b, filepath.Join(dir, "c.csv")))
	if other, _, err := Hash(t.Context(), s, 1); err != nil || other == both {
		t.Errorf("another name has the hash %x, %v", other, err)
	}
	s.Inputs[0].Path = filepath.Join(dir, "gone.csv")
	_, _, err = Hash(t.Context(), s, 0)
	expectError(t, err, ErrInput, "source s", "gone.csv")
}

func TestRowIDs(t *testing.T) {
	if got := string(AppendRowID([]byte("x"), 3<<rowBits|1234567)); got != "x3:1234567" {
		t.Error(got)
	}
	e := RowError{Input: "in.csv", Row: 7, IsLine: true, Field: "amount", Message: "is bad"}
	if got := e.Error(); got != "in.csv: line 7, field amount: is bad" {
		t.Error(got)
	}
	if got := clip(fmt.Sprint("0123456789012345678901234567890123456789012345678901234567", "8é", "0")); got != "0123456789012345678901234567890123456789012345678901234567"+"8…" {
		t.Error(got)
	}
}
