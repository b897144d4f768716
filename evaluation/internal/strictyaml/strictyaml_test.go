// SPDX-License-Identifier: Apache-2.0

package strictyaml

import (
	"reflect"
	"strings"
	"testing"
)

type word struct {
	Text  string   `yaml:"text"`
	Bound *float64 `yaml:"bound"`
}

func (w *word) SetText(text string) { w.Text = text }

type settings struct {
	Name  string            `yaml:"name"`
	Count int               `yaml:"count"`
	On    bool              `yaml:"on"`
	Words []word            `yaml:"words"`
	Parts map[string]nested `yaml:"parts"`
}

type nested struct {
	Inner  `yaml:",inline"`
	Factor float64 `yaml:"factor"`
}

type Inner struct {
	Seed uint64 `yaml:"seed"`
}

func TestReadsWhatIsThere(t *testing.T) {
	var got settings
	f := Parse("a.yaml", []byte(`
x-note: &half 0.5
name: 12
count: 1_000
on: true
words: [short, {text: long, bound: *half}]
parts:
  a: {seed: 7, factor: 2e3}
`), &got)
	if err := f.Err(); err != nil {
		t.Fatal(err)
	}
	half := 0.5
	want := settings{Name: "12", Count: 1000, On: true, Words: []word{{Text: "short"}, {Text: "long", Bound: &half}},
		Parts: map[string]nested{"a": {Inner{7}, 2000}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestReportsAllMistakes(t *testing.T) {
	var got settings
	f := Parse("a.yaml", []byte(`name: [1]
coutn: 3
on: 1
words:
  - {bound: much}
  - {bound: .nan}
parts: {a: {factor: , seed: -1}}
name: again
`), &got)
	f.Fail("words[0].text", "is missing")
	f.Fail("parts", "is too little")
	want := []string{
		`a.yaml:1:7: name: is a list, it takes a text`,
		`a.yaml:2:1: coutn: unknown key; did you mean count?`,
		`a.yaml:3:5: on: is "1", it takes true or false`,
		`a.yaml:5:5: words[0].text: is missing`,
		`a.yaml:5:13: words[0].bound: is "much", it takes a number`,
		`a.yaml:6:13: words[1].bound: `,
		`a.yaml:7:8: parts: is too little`,
		`parts.a.factor: has no value`,
		`parts.a.seed: is "-1", it takes a whole number from 0`,
		`a.yaml:8:1: name: given twice, first in line 1`,
	}
	lines := strings.Split(f.Err().Error(), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d mistakes, want %d:\n%v", len(lines), len(want), f.Err())
	}
	for i, line := range lines {
		if !strings.Contains(line, want[i]) {
			t.Errorf("%q, want %q", line, want[i])
		}
	}
}

func TestRefusesWhatIsNoFile(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "empty",
		"a: [":                          "not YAML",
		"\xff":                          "UTF-8",
		strings.Repeat("[", 1000):       "nested",
		"name: a\n---\nname: b":         "second document",
		"- 1":                           "takes a map",
		"name: *none":                   "alias",
		"count: 1\n<<: {on: true}":      "merging",
		strings.Repeat(" ", BytesMax+1): "more than",
	} {
		var got settings
		if err := Parse("a.yaml", []byte(text), &got).Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q gives %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("name: a\nwords: [b, {text: c}]\nparts: {d: {seed: 1}}")
	f.Add("a: &b [*b]\nwords: *b")
	f.Fuzz(func(t *testing.T, text string) {
		var got settings
		file := Parse("a.yaml", []byte(text), &got)
		file.Fail("words[3]", "is odd")
		if file.Err() == nil {
			t.Error("the mistake is lost")
		}
	})
}
