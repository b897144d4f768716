// SPDX-License-Identifier: Apache-2.0

package labelstudio

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/labeling"
)

// Config is the part of a labelling configuration that fits a label set.
type Config struct {
	// Labels is what may be given.
	Labels labeling.LabelSet
	// From is the name of the control, as Choices, and To that of what it labels.
	From, To string
	// Rating tells that a Number is given by stars: type "rating" instead of "number".
	Rating bool
	// Field is the field of a task's data that is shown.
	Field string
}

// NewConfig is the configuration for a label set, which shows a field of the data.
func NewConfig(labels labeling.LabelSet, field string) Config {
	if labels.Kind == labeling.Spans {
		field = labels.Text
	}
	return Config{Labels: labels, From: "label", To: "item", Field: cmp.Or(field, "text")}
}

// kind is the type of a result.
func (c *Config) kind() string {
	switch {
	case c.Labels.Kind == labeling.Spans:
		return "labels"
	case c.Labels.Kind == labeling.Number && c.Rating:
		return "rating"
	case c.Labels.Kind == labeling.Number:
		return "number"
	}
	return "choices"
}

// XML is the configuration as Label Studio reads it.
func (c *Config) XML() string {
	var b strings.Builder
	attribute := func(name, value string) {
		b.WriteString(" " + name + `="`)
		_ = xml.EscapeText(&b, []byte(value)) // a strings.Builder takes everything
		b.WriteString(`"`)
	}
	tag := map[string]string{"labels": "Labels", "rating": "Rating", "number": "Number", "choices": "Choices"}[c.kind()]
	b.WriteString("<View>\n  <Text")
	attribute("name", c.To)
	attribute("value", "$"+c.Field)
	b.WriteString("/>\n  <" + tag)
	attribute("name", c.From)
	attribute("toName", c.To)
	switch {
	case tag == "Choices" && c.Labels.Kind == labeling.Single:
		attribute("choice", "single")
	case tag == "Choices":
		attribute("choice", "multiple")
	case tag == "Rating":
		attribute("maxRating", strconv.FormatFloat(c.Labels.Max, 'f', -1, 64))
	case tag == "Number" && (c.Labels.Min != 0 || c.Labels.Max != 0):
		attribute("min", strconv.FormatFloat(c.Labels.Min, 'f', -1, 64))
		attribute("max", strconv.FormatFloat(c.Labels.Max, 'f', -1, 64))
	}
	b.WriteString(">\n")
	for _, l := range c.Labels.Labels {
		b.WriteString("    <" + map[string]string{"Labels": "Label", "Choices": "Choice"}[tag])
		attribute("value", l.Name)
		if l.Key != "" {
			attribute("hotkey", l.Key)
		}
		b.WriteString("/>\n")
	}
	b.WriteString("  </" + tag + ">\n</View>\n")
	return b.String()
}

// ParseConfig reads the first control of a configuration that fits a label set: Choices
// without nesting, Rating, Number or Labels. Others are passed over.
func ParseConfig(text string) (Config, error) {
	if len(text) > ConfigBytesMax {
		return Config{}, fmt.Errorf("%w configuration: %d bytes, at most %d are taken", ErrTooLarge, len(text), ConfigBytesMax)
	}
	d := xml.NewDecoder(bytes.NewReader([]byte(text)))
	p := configParser{fields: map[string]string{}}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Config{}, fmt.Errorf("%w: configuration, byte %d: %w", ErrFormat, d.InputOffset(), err)
		}
		switch tag := token.(type) {
		case xml.StartElement:
			err = p.open(tag)
		case xml.EndElement:
			p.inside = p.inside && tag.Name.Local != p.tag
		}
		if err != nil {
			return Config{}, fmt.Errorf("%w: configuration, byte %d: %w", ErrFormat, d.InputOffset(), err)
		}
	}
	if p.tag == "" {
		return Config{}, fmt.Errorf("%w: configuration has none of Choices, Rating, Number and Labels", ErrFormat)
	}
	p.c.Field = p.fields[p.c.To]
	if p.c.Labels.Kind == labeling.Spans {
		p.c.Labels.Text = p.c.Field
	}
	if err := p.c.Labels.Validate(); err != nil {
		return Config{}, fmt.Errorf("%w: configuration: %w", ErrFormat, err)
	}
	return p.c, nil
}

type configParser struct {
	c      Config
	tag    string            // of the control, once there was one
	inside bool              // between its start and end
	fields map[string]string // shown, by name of the object
}

func (p *configParser) open(tag xml.StartElement) (err error) {
	a := map[string]string{}
	for _, x := range tag.Attr {
		a[x.Name.Local] = x.Value
	}
	if strings.HasPrefix(a["value"], "$") && a["name"] != "" {
		p.fields[a["name"]] = a["value"][1:]
	}
	if p.inside {
		if tag.Name.Local == "Choice" || tag.Name.Local == "Label" {
			p.c.Labels.Labels = append(p.c.Labels.Labels, labeling.Label{Name: cmp.Or(a["alias"], a["value"]), Key: singleKey(a["hotkey"])})
		}
		return nil
	}
	if p.tag != "" {
		return nil
	}
	l := &p.c.Labels
	switch tag.Name.Local {
	case "Choices":
		if l.Kind = labeling.Single; a["choice"] == "multiple" {
			l.Kind = labeling.Multiple
		}
	case "Labels":
		l.Kind = labeling.Spans
	case "Rating":
		l.Kind, l.Min, l.Max, p.c.Rating = labeling.Number, 1, 5, true
		if a["maxRating"] != "" {
			l.Max, err = strconv.ParseFloat(a["maxRating"], 64)
		}
	case "Number":
		l.Kind = labeling.Number
		for name, field := range map[string]*float64{"min": &l.Min, "max": &l.Max} {
			if a[name] != "" && err == nil {
				*field, err = strconv.ParseFloat(a[name], 64)
			}
		}
	default:
		return nil
	}
	p.tag, p.inside = tag.Name.Local, true
	p.c.From, p.c.To = a["name"], a["toName"]
	return err
}

// singleKey is a key that a label may have: chords are left out.
func singleKey(hotkey string) string {
	if len([]rune(hotkey)) == 1 {
		return hotkey
	}
	return ""
}
