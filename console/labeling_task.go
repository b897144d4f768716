// SPDX-License-Identifier: Apache-2.0

package console

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/labeling"
)

// Bounds of how a task is shown. The main text is shown whole; it is at most as long as
// the data of a task.
const (
	taskFieldsMax  = 200
	fieldRunesMax  = 500
	summaryRunes   = 120
	mainRunesMin   = 60 // a text that is longer is read rather than looked at
	annotationsMax = labeling.OverlapMax + 1
)

// field is a piece of a task's data for people.
type field struct {
	name, Title, Text string
}

// MarshalJSON writes what the page needs.
func (f field) MarshalJSON() ([]byte, error) { return json.Marshal([2]string{f.Title, f.Text}) }

// shownTask is a task as the page has it: all text, none of it markup.
type shownTask struct {
	ID   string  `json:"id"`
	At   string  `json:"at,omitempty"`
	Main *field  `json:"main,omitempty"`
	Rest []field `json:"fields"`
	// Summary says what it is in a line, for those who hear the page.
	Summary string `json:"summary"`
	// Chosen says why it is here.
	Chosen string       `json:"chosen,omitempty"`
	Guess  *shownAnswer `json:"guess,omitempty"`
	// Before is what the person had said of it.
	Before *labeling.Value `json:"before,omitempty"`
	// Answers are what others said, for a review.
	Answers []shownAnswer `json:"answers,omitempty"`
	// Free says that nobody holds the task for this person.
	Free bool `json:"free,omitempty"`
}

// shownAnswer is what a model or a person said of a task.
type shownAnswer struct {
	Who     string          `json:"who"`
	Text    string          `json:"text"`
	Value   *labeling.Value `json:"value,omitempty"`
	Score   string          `json:"score,omitempty"`
	Reasons []string        `json:"reasons,omitempty"`
	Comment string          `json:"comment,omitempty"`
}

// showTask makes of a task what people see of it. What a project does not show, and gold,
// does not leave the server.
func showTask(p *labeling.Project, a *labeling.Assignment, review bool) shownTask {
	t := &a.Task
	s := shownTask{ID: t.ID, Rest: withoutKnown(readFields(t.Data), t), Chosen: whyChosen(t.Chosen), Before: a.Before, Free: a.Expires.IsZero()}
	if !t.At.IsZero() {
		s.At = t.At.UTC().Format(time.RFC3339)
	}
	s.takeMain(p.Labels.Text)
	s.Summary = s.summary()
	text := ""
	if s.Main != nil {
		text = s.Main.Text
	}
	if g := t.Prediction; g != nil && (p.ShowPrediction || review) {
		s.Guess = &shownAnswer{
			Who: strings.TrimSpace(g.Model + " " + g.Version), Text: valueText(&p.Labels, &g.Value, text), Value: &g.Value,
			Score: formatNumber(100*g.Score) + " %", Reasons: g.Reasons,
		}
	}
	if review {
		for _, said := range a.Annotations[:min(len(a.Annotations), annotationsMax)] {
			s.Answers = append(s.Answers, showAnnotation(p, &said, text))
		}
	}
	return s
}

func showAnnotation(p *labeling.Project, said *labeling.Annotation, text string) shownAnswer {
	a := shownAnswer{Who: said.Annotator, Comment: said.Comment}
	switch said.Kind {
	case labeling.KindSkip:
		a.Text = "skipped"
	case labeling.KindPostpone:
		a.Text = "postponed"
	default:
		a.Text, a.Value = valueText(&p.Labels, &said.Value, text), &said.Value
	}
	return a
}

func whyChosen(c *labeling.Chosen) string {
	switch {
	case c == nil:
		return ""
	case c.Why != "":
		return c.Why
	case c.Strategy == "random":
		return "drawn at random"
	}
	why := fmt.Sprintf("chosen by %s, %s", c.Strategy, formatNumber(c.Score))
	if c.Slice != "" {
		why += ", of " + c.Slice
	}
	return why
}

// withoutKnown leaves out what stands above the fields anyway: the task's id and time.
func withoutKnown(all []field, t *labeling.Task) []field {
	return slices.DeleteFunc(all, func(f field) bool {
		at, err := time.Parse(time.RFC3339Nano, f.Text)
		return f.Text == t.ID || err == nil && at.Equal(t.At)
	})
}

// takeMain moves the text to read out of the fields: the one that spans are in, one that is
// called so, or the longest.
func (s *shownTask) takeMain(text string) {
	best, longest := -1, mainRunesMin
	for i, f := range s.Rest {
		if text != "" {
			if f.name == text {
				best = i
			}
			continue
		}
		if f.name == "text" || f.name == "message" {
			best = i
			break
		}
		if n := utf8.RuneCountInString(f.Text); n > longest && strings.ContainsAny(f.Text, " \n") {
			best, longest = i, n
		}
	}
	if best >= 0 {
		main := s.Rest[best]
		s.Main = &main
		s.Rest = append(s.Rest[:best:best], s.Rest[best+1:]...)
	}
	for i := range s.Rest {
		s.Rest[i].Text = shorten(s.Rest[i].Text, fieldRunesMax)
	}
}

func (s *shownTask) summary() string {
	if s.Main != nil {
		return shorten(s.Main.Text, summaryRunes)
	}
	var parts []string
	for _, f := range s.Rest[:min(len(s.Rest), 4)] {
		parts = append(parts, f.Title+" "+shorten(f.Text, 40))
	}
	return cmp.Or(shorten(strings.Join(parts, ", "), summaryRunes), "task "+s.ID)
}

// readFields are the fields of a task's data in their order, those of objects among them in
// the place of the object. Numbers stay as they are written, but for long fractions.
func readFields(data json.RawMessage) []field {
	var all []field
	walkObject(data, "", 3, func(name string, raw json.RawMessage) {
		if len(all) < taskFieldsMax {
			all = append(all, field{name: name, Text: cmp.Or(plainTime(name, raw), plainText(raw))})
		}
	})
	ends := map[string]int{}
	for i := range all {
		ends[lastName(all[i].name)]++
	}
	for i, f := range all {
		if short := lastName(f.name); ends[short] == 1 {
			all[i].Title = readable(short)
		} else {
			all[i].Title = readable(f.name)
		}
	}
	return all
}

// walkObject visits what is in an object, and in objects in it down to a depth. A text that
// is an object itself, as the facts of a decision in the log, counts as one.
func walkObject(data json.RawMessage, prefix string, depth int, visit func(name string, raw json.RawMessage)) {
	d := json.NewDecoder(bytes.NewReader(data))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return
		}
		name := prefix + key.(string) // keys of an object are strings
		if inner := asObject(raw); inner != nil && depth > 1 {
			walkObject(inner, name+".", depth-1, visit)
			continue
		}
		visit(name, raw)
	}
}

// asObject is the object that a value is or is the text of; nil if it is none.
func asObject(raw json.RawMessage) json.RawMessage {
	var text string
	switch {
	case bytes.HasPrefix(raw, []byte("{")):
		return raw
	case bytes.HasPrefix(raw, []byte(`"{`)) && json.Unmarshal(raw, &text) == nil && json.Valid([]byte(text)):
		return json.RawMessage(text)
	}
	return nil
}

// plainTime is the time that a whole number of microseconds is, as those of the event log,
// where the name says so and the number is one of our time; else empty.
func plainTime(name string, raw json.RawMessage) string {
	micros, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || !strings.Contains(name, "time") || micros < 5e14 || micros > 5e15 {
		return ""
	}
	return time.UnixMicro(micros).UTC().Format(time.RFC3339Nano)
}

// plainText is a value as people read it.
func plainText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil && string(raw) != "null" {
		return text
	}
	switch string(raw) {
	case "null":
		return "–"
	case "true":
		return "yes"
	case "false":
		return "no"
	}
	// What has many digits behind the point was computed, and nobody reads them all.
	if x, err := strconv.ParseFloat(string(raw), 64); err == nil && len(raw) > 10 && bytes.ContainsAny(raw, ".eE") {
		return strconv.FormatFloat(x, 'g', 6, 64)
	}
	return string(raw)
}

func lastName(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// readable makes words of a name: card_age.days is Card age days.
func readable(name string) string {
	words := strings.TrimSpace(strings.NewReplacer("_", " ", ".", " ").Replace(name))
	r, n := utf8.DecodeRuneInString(words)
	if n == 0 {
		return name
	}
	return string(unicode.ToUpper(r)) + words[n:]
}

// labelTitle is what people read for a label.
func labelTitle(set *labeling.LabelSet, name string) string {
	for i := range set.Labels {
		if l := &set.Labels[i]; l.Name == name {
			return cmp.Or(l.Title, l.Name)
		}
	}
	return name
}

// valueText is a value in words.
func valueText(set *labeling.LabelSet, v *labeling.Value, text string) string {
	var parts []string
	for _, name := range v.Choices {
		parts = append(parts, labelTitle(set, name))
	}
	if v.Number != nil {
		return formatNumber(*v.Number)
	}
	if len(v.Spans) > 0 {
		runes := []rune(text)
		for _, s := range v.Spans {
			part := string(runes[min(max(s.Start, 0), len(runes)):min(max(s.End, s.Start, 0), len(runes))])
			parts = append(parts, fmt.Sprintf("%s: “%s”", labelTitle(set, s.Label), shorten(part, 60)))
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "nothing")
}
