// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/definition"
)

const somePayments = "\xef\xbb\xbfchannel,id,time,customer,amount,fraud,remark\r\n" +
	"web,a,2024-01-02T03:04:05Z,7,12.5,true,\"two\nlines, and a \"\"quote\"\"\"\r\n" +
	"\r\n" +
	",\"b\",2024-01-02 03:04:05.5,,0,0,\n" +
	"pos,c,2024-01-02T05:04:05.000001+02:00,-9223372036854775808,1e3,FALSE,x"

var paymentRows = []string{
	"a 1704164645000000 7 12.5 web 1",
	"b 1704164645500000 null 0 null 0",
	"c 1704164645000001 -9223372036854775808 1000 pos 0",
}

func TestCSV(t *testing.T) {
	for _, name := range []string{"in.csv", "in.csv.gz", "in.csv.zst"} {
		in := definition.Input{Format: definition.CSV, Path: put(t, filepath.Join(t.TempDir(), name), somePayments)}
		for _, batch := range []int{0, 1, 2} {
			got, r := readAll(t, payments(in), Options{BatchRows: batch})
			same(t, name, got, paymentRows)
			if r.Rows() != 3 || r.BadCount() != 0 || r.Progress() != 1 {
				t.Errorf("%d rows, %d bad, progress %v", r.Rows(), r.BadCount(), r.Progress())
			}
		}
	}
}

func TestColumnsOfInputs(t *testing.T) {
	in := csvInput(t, "ID,ms,amount\na,1704164645123,3\nb,1704164645123.75,4\nc,,5\n")
	in.Columns = map[string]string{"id": "ID", "time": "unix_ms(ms)", "customer": "-", "channel": "-", "fraud": "-"}
	got, _, err := tryAll(t, payments(in), Options{BadRowsMax: 1})
	must(t, err)
	same(t, "renamed", got, []string{"a 1704164645123000 null 3 null null", "b 1704164645123750 null 4 null null"})

	// A column may have the very name that reads like a unit.
	in = csvInput(t, "id,unix_s(x),amount\na,2024-01-02,3\n")
	in.Columns = map[string]string{"time": "unix_s(x)", "customer": "-", "channel": "-", "fraud": "-"}
	got, _ = readAll(t, payments(in), Options{})
	same(t, "odd name", got, []string{"a 1704153600000000 null 3 null null"})
}

func TestOnlySomeFields(t *testing.T) {
	in := csvInput(t, "id,time,amount\n,2024-01-02,-3\n")
	got, _ := readAll(t, payments(in), Options{Fields: []int{1}})
	same(t, "fields", got, []string{"- 1704153600000000 - - - -"})
}

// Every bad row is reported by line and field, and the others are read.
func TestBadRowsOfCSV(t *testing.T) {
	in := csvInput(t, strings.Join([]string{"id,time,customer,amount,channel,fraud",
		"ok1,2024-01-02,1,1,web,1",
		"b,not a time,1,1,web,1",
		"c,1704164645,1,1,web,1",
		"d,2024-01-02,1.5,1,web,1",
		"e,2024-01-02,1,0x10,web,1",
		"f,2024-01-02,1,NaN,web,1",
		"g,2024-01-02,1,-1,web,1",
		"h,2024-01-02,1,,web,1",
		"i,2024-01-02,1,1,fax,1",
		"j,2024-01-02,1,1,web,yes",
		"k,2024-01-02,1,1",
		`l,2024-01-02,1,1,w"eb,1`,
		",2024-01-02,1,1,web,1",
		"m,1969-12-31T23:59:59Z,1,1,web,1",
		strings.Repeat("n", 257) + ",2024-01-02,1,1,web,1",
		"o,2024-01-02,99999999999999999999,1,web,1",
		"p,2024-02-30,1,1,web,1",
		"q,2024-01-02,1,1,\xff,1",
		"r,2024-01-02,1,1e999,web,1",
		"ok2,2024-01-02,1,1,web,1"}, "\n"))
	for _, batch := range []int{0, 1, 3} {
		got, r, err := tryAll(t, payments(in), Options{BadRowsMax: -1, BatchRows: batch})
		must(t, err)
		same(t, "good rows", got, []string{"ok1 1704153600000000 1 1 web 1", "ok2 1704153600000000 1 1 web 1"})
		var faults []string
		for _, bad := range r.Bad() {
			faults = append(faults, fmt.Sprintf("%d %s", bad.Row, bad.Field))
			if bad.Input != in.Path || !bad.IsLine || bad.Message == "" {
				t.Errorf("%+v", bad)
			}
		}
		same(t, "bad rows", faults, []string{"3 time", "4 time", "5 customer", "6 amount", "7 amount", "8 amount", "9 amount", "10 channel",
			"11 fraud", "12 ", "13 ", "14 id", "15 time", "16 id", "17 customer", "18 time", "19 channel", "20 amount"})
	}
	_, _, err := tryAll(t, payments(in), Options{})
	expectError(t, err, ErrBadRows, "source payments", in.Path, "line 3", "field time", `"not a time"`)
	var first *RowError
	if !errors.As(err, &first) || first.Row != 3 {
		t.Errorf("the first bad row is %+v", first)
	}
	_, _, err = tryAll(t, payments(in), Options{BadRowsMax: 4})
	expectError(t, err, ErrBadRows, "with 4 allowed")
}

func TestInputsThatDoNotFit(t *testing.T) {
	for _, c := range []struct {
		content string
		says    []string
	}{
		{"", []string{"empty"}},
		{"id,time,customer,amount,channel\n", []string{"field fraud", `no column "fraud"`, `"channel"`, "columns: {fraud: ITS NAME}"}},
		{"id,time,customer,amount,channel,fraud,id\n", []string{"field id", "twice"}},
		{"id,\"time,customer\n", []string{"header"}},
	} {
		_, _, err := tryAll(t, payments(csvInput(t, c.content)), Options{})
		expectError(t, err, ErrInput, append(c.says, "in.csv")...)
	}
	in := csvInput(t, "id,time,customer,amount,channel,fraud\n")
	in.Columns = map[string]string{"customer": "unix_s(customer)"}
	_, _, err := tryAll(t, payments(in), Options{})
	expectError(t, err, ErrInput, "customer is int64", "for timestamps")

	_, err = Open(t.Context(), payments(definition.Input{Format: definition.CSV, Path: "/nowhere/*.csv"}), Options{})
	expectError(t, err, ErrInput, "input 1", "no file /nowhere/*.csv")
	_, err = Open(t.Context(), payments(definition.Input{Format: definition.CSV, Path: t.TempDir()}), Options{})
	expectError(t, err, ErrInput, "is a folder")
	_, err = Open(t.Context(), payments(), Options{})
	expectError(t, err, ErrInput, "no inputs")
	if _, err = Open(t.Context(), payments(in), Options{Fields: []int{0, 9, 0}, BatchRows: -1, Parallel: 1000}); err == nil {
		t.Error("bad options were taken")
	} else if n := strings.Count(err.Error(), "\n"); n != 3 {
		t.Errorf("not all of %v", err)
	}
}

// A quote that is not closed must not take the file into memory.
func TestQuoteThatIsNotClosed(t *testing.T) {
	const header = "id,time,customer,amount,channel,fraud\n"
	line := "a,2024-01-02,1,1,web,1\n"
	_, _, err := tryAll(t, payments(csvInput(t, header+"\"b,2024-01-02,1,1,web,1\n"+strings.Repeat(line, LineBytesMax/len(line)*2))), Options{BadRowsMax: -1})
	expectError(t, err, ErrInput, "line 2", "quote that is not closed")

	// One within a value spoils its line alone.
	content := header + strings.Repeat("x\"y,2024-01-02,1,1,web,1\n"+line+"\"x\"y,2024-01-02,1,1,web,1\n"+line, 400)
	for _, batch := range []int{1, 7, 1000} {
		got, r, err := tryAll(t, payments(csvInput(t, content)), Options{BadRowsMax: -1, BatchRows: batch})
		if err != nil || len(got) != 800 || r.BadCount() != 800 {
			t.Errorf("%d rows and %d bad ones: %v", len(got), r.BadCount(), err)
		}
	}
}

func TestPatternsAndSeveralInputs(t *testing.T) {
	dir := t.TempDir()
	const header = "id,time,customer,amount,channel,fraud\n"
	put(t, filepath.Join(dir, "2.csv"), header+"b,2024-01-02,1,1,web,1\n")
	put(t, filepath.Join(dir, "1.csv"), header+"a,2024-01-02,1,1,web,1\n\nbad\n")
	put(t, filepath.Join(dir, "[x].jsonl"), `{"id":"c","time":"2024-01-02","amount":1}`)
	s := payments(definition.Input{Format: definition.CSV, Path: filepath.Join(dir, "?.csv")},
		definition.Input{Format: definition.JSONLines, Path: filepath.Join(dir, "[x].jsonl")})
	got, r, err := tryAll(t, s, Options{RowNumbers: true, BadRowsMax: 1})
	must(t, err)
	var ids []string
	for _, row := range got {
		var n int64
		parts := strings.Fields(row)
		_, err := fmt.Sscan(parts[6], &n)
		must(t, err)
		ids = append(ids, parts[0]+" "+string(AppendRowID(nil, n)))
	}
	same(t, "row numbers", ids, []string{"a 1:2", "b 2:2", "c 3:1"})
	if r.Size() <= 0 || r.RowsTotal() != -1 {
		t.Errorf("size %d, rows %d", r.Size(), r.RowsTotal())
	}
	got, _ = readAll(t, s, Options{Input: func(i int) bool { return i == 1 }})
	same(t, "second input", got, []string{"c 1704153600000000 null 1 null null"})
}
