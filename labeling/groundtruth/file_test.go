// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

// readAll reads a file to its end: what is in it, and what is wrong with it.
func readAll(t *testing.T, text string, o FileOptions) (all []Feedback, wrong []string) {
	t.Helper()
	r, err := NewFileReader(strings.NewReader(text), o)
	if err != nil {
		return nil, []string{err.Error()}
	}
	for {
		f, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return all, wrong
		case errors.Is(err, ErrInvalid):
			wrong = append(wrong, err.Error())
		case err != nil:
			t.Fatal(err)
		default:
			all = append(all, f)
		}
	}
}

func TestFiles(t *testing.T) {
	full := Feedback{ID: "f", PredictionID: "p", Name: "is_fraud", Kind: KindLabel, Value: Bool(true), Source: "s", EventTime: 1769860800000000, Weight: 0.5, Weighted: true, Reason: "because"}
	byEntity := Feedback{Entity: map[string]string{"customer_id": "7", "shop": "a,b"}, Name: "n", Value: Number(-2.5), EventTime: 1769860800000000, Source: "file"}
	user := Feedback{PredictionID: "p", Name: "n", Kind: KindUser, Value: Text("12"), Source: "file"}
	want := []Feedback{full, byEntity, user}
	for _, c := range []struct {
		format Format
		text   string
	}{
		{FormatJSONLines, `{"feedback_id":"f","prediction_id":"p","name":"is_fraud","kind":"label","value":true,"source":"s","event_time":"2026-01-31T12:00:00Z","weight":0.5,"reason":"because"}

{"entity":{"customer_id":7,"shop":"a,b"},"value":-2.5,"event_time":1769860800000000}
{"prediction_id":"p","kind":"user","value":"12","value_type":"text"}`},
		{FormatCSV, "\ufefffeedback_id,prediction_id,name,kind,value,value_type,source,event_time,weight,reason,entity.customer_id,entity.shop\r\n" +
			"f,p,is_fraud,label,1,bool,s,2026-01-31T12:00:00Z,0.5,because,,\r\n" +
			",,,,-2.5,,,1769860800000000,,,7,\"a,b\"\r\n" +
			",p,,user,12,text,,,,,,\r\n"},
	} {
		all, wrong := readAll(t, c.text, FileOptions{Format: c.format, Name: "n", Source: "file"})
		if len(wrong) > 0 || !reflect.DeepEqual(all, want) {
			t.Errorf("%v: %v\n got %+v\nwant %+v", c.format, wrong, all, want)
		}
	}
	all, wrong := readAll(t, `{"groundTruthData":{"data":"1","encoding":"CSV"},"eventMetadata":{"eventId":"aaaa-bbbb"},"eventVersion":"0"}
{"groundTruthData":{"data":"cat"},"eventMetadata":{"eventId":"e","inferenceId":"i"}}
`, FileOptions{Format: FormatSageMaker, Name: "truth"})
	if len(wrong) > 0 || len(all) != 2 || all[0].PredictionID != "aaaa-bbbb" || all[0].Value != Number(1) || all[1].PredictionID != "i" || all[1].Value != Class("cat") {
		t.Errorf("%v, %+v", wrong, all)
	}
}

// TestWrongFiles: the line is named, and reading goes on.
func TestWrongFiles(t *testing.T) {
	good := `{"prediction_id":"p","name":"n","value":true}`
	for _, c := range []struct {
		format Format
		text   string
		good   int
		wrong  []string
	}{
		{FormatJSONLines, good + "\n{\n" + good + "\n{\"x\":1}\n" + good + good, 2, []string{"line 2: invalid: JSON", "line 4", "line 5: invalid: JSON: more than one"}},
		{FormatJSONLines, strings.Repeat("x", LineBytesMax+10) + "\n" + good, 1, []string{"line 1: has more than"}},
		{FormatJSONLines, `{"value":"a","value_type":"number"}` + "\n" + `{"kind":"x"}` + "\n" + `{"event_time":"now"}` + "\n" + `{"entity":{"a":[1]}}` + "\n" + `{"value":{}}`, 0,
			[]string{"is a class and not a number", "kind", "neither RFC 3339", "entity.a", "is no bool"}},
		{FormatCSV, "", 0, []string{"the file is empty"}},
		{FormatCSV, "prediction_id,whatever", 0, []string{`column "whatever" is none of`}},
		{FormatCSV, "name,name", 0, []string{"is there twice"}},
		{FormatCSV, "prediction_id,value,weight\na,b\np,1,\np,1,heavy\n\"p\"x,1,\np,2,3\n", 2, []string{"line 2", "line 4: invalid: weight", "line 5"}},
		{FormatSageMaker, "{}\n" + `{"groundTruthData":{"data":"x","encoding":"BASE64"},"eventMetadata":{"eventId":"e"}}` + "\n" + `{"groundTruthData":{"data":" "},"eventMetadata":{"eventId":"e"}}`, 0,
			[]string{"eventId: is required", "is not CSV", "is empty"}},
		{0, "", 0, []string{"format"}},
	} {
		all, wrong := readAll(t, c.text, FileOptions{Format: c.format})
		if len(all) != c.good || len(wrong) != len(c.wrong) {
			t.Errorf("%v %.60q: %d good, wrong %q", c.format, c.text, len(all), wrong)
			continue
		}
		for i := range wrong {
			if !strings.Contains(wrong[i], c.wrong[i]) {
				t.Errorf("%v: %q, want %q", c.format, wrong[i], c.wrong[i])
			}
		}
	}
}

// TestEndlessCell: a cell without end is not held, with lines in it or not.
func TestEndlessCell(t *testing.T) {
	for _, part := range []string{"x", "x\n"} {
		endless := `"` + strings.Repeat(part, 3*LineBytesMax)
		if _, err := NewFileReader(strings.NewReader(endless), FileOptions{Format: FormatCSV}); !errors.Is(err, ErrTooMany) {
			t.Error(err)
		}
		r, err := NewFileReader(strings.NewReader("prediction_id,value\np,1\n"+endless), FileOptions{Format: FormatCSV})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Next(); err != nil {
			t.Error(err)
		}
		if _, err := r.Next(); !errors.Is(err, ErrTooMany) || errors.Is(err, ErrInvalid) {
			t.Error(err)
		}
	}
}

// TestJSONRoundTrip: what is written is read back.
func TestJSONRoundTrip(t *testing.T) {
	for _, f := range []Feedback{
		{ID: "f", PredictionID: "p", Name: "n", Kind: KindReward, Value: Number(0.1), Source: "s", EventTime: 5, Weight: 2, Weighted: true, Reason: "<b>"},
		{Entity: map[string]string{"a": "1"}, Name: "n", Value: Text("x")}, {Value: Class("c")}, {Value: Bool(true)}, {Kind: KindCorrection},
	} {
		text, err := AppendJSON(nil, &f)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseJSON(text)
		if err != nil || !reflect.DeepEqual(back, f) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", text, err, back, f)
		}
	}
}

func FuzzParseJSON(f *testing.F) {
	f.Add(`{"feedback_id":"f","prediction_id":"p","name":"n","kind":"label","value":true,"value_type":"bool","event_time":"2026-01-31T12:00:00Z","weight":0.5}`)
	f.Add(`{"feedback_id":"f","prediction_id":"p","name":"n","value":true}`)
	f.Add(`{"entity":{"customer_id":7},"value":-2.5,"event_time":1}`)
	f.Add(`{"entity":{"a": }}`)
	f.Fuzz(func(t *testing.T, text string) {
		feedback, err := ParseJSON([]byte(text))
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		if feedback.Check() != nil { // not check, which adds what is not said
			return
		}
		again, err := AppendJSON(nil, &feedback)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseJSON(again)
		if err != nil || !reflect.DeepEqual(back, feedback) {
			t.Fatalf("%v: %+v, then %+v", err, feedback, back)
		}
	})
}

func FuzzFile(f *testing.F) {
	f.Add("prediction_id,value\np,1\n", byte(FormatCSV))
	f.Add(`{"groundTruthData":{"data":"1"},"eventMetadata":{"eventId":"e"}}`, byte(FormatSageMaker))
	f.Add(`{"value":null}`, byte(FormatJSONLines))
	f.Fuzz(func(t *testing.T, text string, format byte) {
		r, err := NewFileReader(strings.NewReader(text), FileOptions{Format: Format(format)})
		for n := 0; err == nil || errors.Is(err, ErrInvalid); n++ {
			if n > len(text)+1 {
				t.Fatal("it does not end")
			}
			if r == nil {
				return
			}
			_, err = r.Next()
		}
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	})
}
