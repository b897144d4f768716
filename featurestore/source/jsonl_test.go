// SPDX-License-Identifier: Apache-2.0

package source

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/definition"
)

func jsonInput(t testing.TB, content string) definition.Input {
	t.Helper()
	return definition.Input{Format: definition.JSONLines, Path: put(t, filepath.Join(t.TempDir(), "in.jsonl"), content)}
}

func TestJSONLines(t *testing.T) {
	in := jsonInput(t, "\xef\xbb\xbf"+`{"id":"a","time":"2024-01-02T03:04:05Z","customer":9007199254740993,"amount":12.5,"channel":"web","fraud":true,"more":{"x":[1,{"y":2}]}}`+"\r\n"+
		"  \n"+
		`{"fraud":false,"id":"b\u00e9\n\"","time":"2024-01-02 03:04:05","customer":null,"amount":0,"channel":null}`+"\n"+
		`{"id":"c","id":"d","time":"2024-01-02","amount":1e-3}`)
	for _, batch := range []int{0, 1} {
		got, _ := readAll(t, payments(in), Options{BatchRows: batch})
		same(t, "rows", got, []string{
			"a 1704164645000000 9007199254740993 12.5 web 1",
			"bé\n\" 1704164645000000 null 0 null 0",
			"d 1704153600000000 null 0.001 null null",
		})
	}
}

func TestBadRowsOfJSON(t *testing.T) {
	in := jsonInput(t, strings.Join([]string{
		`{"id":"ok","time":"2024-01-02","amount":1}`,
		`{"id":"a","time":"2024-01-02","amount":"1"}`,
		`{"id":7,"time":"2024-01-02","amount":1}`,
		`{"id":"c","time":1704164645,"amount":1}`,
		`{"id":"d","time":"2024-01-02","amount":1,"customer":1.0}`,
		`{"id":"e","time":"2024-01-02","amount":1,"fraud":1}`,
		`{"id":"f","time":"2024-01-02","amount":[1]}`,
		`{"id":"g","time":"","amount":1}`,
		`{"id":"h","time":"2024-01-02","amount":1`,
		`{"id":"i","time":"2024-01-02","amount":1}{}`,
		`["j"]`,
		`{"id":"k","deep":` + strings.Repeat("[", 3_000_000) + `}`,
		`{"id":"l","time":"2024-01-02","amount":1e999}`,
		`{"id":"m","time":"2024-01-02","amount":1,"customer":9223372036854775808}`,
		"{\"id\":\"\xff\",\"time\":\"2024-01-02\",\"amount\":1}",
		`not json`,
	}, "\n"))
	got, r, err := tryAll(t, payments(in), Options{BadRowsMax: -1})
	must(t, err)
	same(t, "good rows", got, []string{"ok 1704153600000000 null 1 null null"})
	var faults []string
	for _, bad := range r.Bad() {
		faults = append(faults, fmt.Sprintf("%d %s", bad.Row, bad.Field))
	}
	same(t, "bad rows", faults, []string{"2 amount", "3 id", "4 time", "5 customer", "6 fraud", "7 amount", "8 time", "9 ", "10 ", "11 ", "12 ",
		"13 amount", "14 customer", "15 id", "16 "})
}

func TestTimesOfJSONAsNumbers(t *testing.T) {
	in := jsonInput(t, `{"id":"a","t":1704164645.25,"amount":1}`+"\n"+`{"id":"b","t":-1,"amount":1}`+"\n"+`{"id":"c","t":"2024-01-02","amount":1}`)
	in.Columns = map[string]string{"time": "unix_s(t)"}
	got, r, err := tryAll(t, payments(in), Options{BadRowsMax: 1})
	must(t, err)
	same(t, "rows", got, []string{"a 1704164645250000 null 1 null null", "c 1704153600000000 null 1 null null"})
	if bad := r.Bad(); len(bad) != 1 || !strings.Contains(bad[0].Message, "before 1970") {
		t.Errorf("%+v", bad)
	}
}

func TestLineThatIsTooLong(t *testing.T) {
	in := jsonInput(t, `{"id":"a","time":"2024-01-02","amount":1}`+"\n"+`{"id":"`+strings.Repeat("x", 2*LineBytesMax+blockBytes)+`"}`)
	_, _, err := tryAll(t, payments(in), Options{BadRowsMax: -1})
	expectError(t, err, ErrInput, "line 2", "longer than")
}
