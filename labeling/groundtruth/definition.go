// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Silence says what it means that nothing came until the window was over.
type Silence uint8

const (
	// SilenceUnknown means nothing: the prediction has no label.
	SilenceUnknown Silence = iota
	// SilenceNegative is the negative value of the label.
	SilenceNegative
)

// EarlyMax is how far the event time of an outcome may lie before the prediction that it
// names, for clocks that differ and outcomes that only know the day.
const EarlyMax = 24 * time.Hour

// AnySource, as the name of a source, stands for those that are not listed.
const AnySource = "*"

// Definition says which feedback is the label of a decision's predictions.
type Definition struct {
	// Name of the label, and the Decision whose predictions have it.
	Name, Decision string
	// Kind and Outcome, its name, are what feedback must have. A correction may be of
	// any kind.
	Kind    Kind
	Outcome string
	// Type of the values; TypeNull takes any. Feedback of another type does not count.
	Type ValueType
	// Window is the attribution window: what happened later does not count, and when it
	// is over the prediction is mature.
	Window time.Duration
	// Silence is what it means that nothing came, and Negative the value it stands for.
	Silence  Silence
	Negative Value
	// Sources that count; none is all, with priority 0.
	Sources []Source
	// Entity is the keys that feedback without a prediction id is matched by; none takes
	// no such feedback. It is of the entity's prediction with the latest time at or before
	// the event, and of equal ones that with the greatest id; it counts if the event is at
	// most Within after it.
	Entity []string
	Within time.Duration
}

// Source has a priority: feedback of a higher one counts, whenever it came.
type Source struct {
	Name     string `yaml:"name"`
	Priority int    `yaml:"priority"`
}

type yamlFile struct {
	Labels map[string]yamlLabel `yaml:"labels"`
}

type yamlLabel struct {
	Decision string   `yaml:"decision"`
	Kind     string   `yaml:"kind"`
	Name     string   `yaml:"name"`
	Type     string   `yaml:"type"`
	Window   string   `yaml:"window"`
	Silence  string   `yaml:"silence"`
	Negative any      `yaml:"negative"`
	Sources  []Source `yaml:"sources"`
	Match    struct {
		Entity []string `yaml:"entity"`
		Within string   `yaml:"within"`
	} `yaml:"match"`
}

// definitionBytesMax bounds a file of definitions.
const definitionBytesMax = 1 << 20

// Parse reads label definitions, in the order of their names:
//
//	labels:
//	  fraud:
//	    decision: card_payment
//	    kind: outcome          # or reward, label, user; outcome if left out
//	    name: is_fraud
//	    type: bool             # any if left out; or number, text, class
//	    window: 7d
//	    silence: negative      # or unknown, if left out
//	    negative: false        # what silence stands for; false if left out
//	    sources: [{name: chargeback, priority: 10}, {name: "*", priority: 1}]
//	    match: {entity: [customer_id], within: 1h}
//
// file is its name in errors. All that is wrong is reported, each by line, column and path.
func Parse(file string, text []byte) ([]*Definition, error) {
	if len(text) > definitionBytesMax {
		return nil, fmt.Errorf("%w: %s: has %d bytes, at most %d", ErrInvalid, file, len(text), definitionBytesMax)
	}
	raw, err := decodeFile(file, text)
	if err != nil {
		return nil, err
	}
	if len(raw.Labels) == 0 {
		return nil, fmt.Errorf("%w: %s: labels: has none", ErrInvalid, file)
	}
	var all []*Definition
	var wrong []*mistake
	for name, l := range raw.Labels {
		d, bad := l.definition(name)
		for _, err := range bad {
			wrong = append(wrong, newMistake(file, name, err))
		}
		all = append(all, d)
	}
	if len(wrong) > 0 {
		return nil, placed(text, wrong)
	}
	slices.SortFunc(all, func(a, b *Definition) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// decodeFile reads YAML. Its parser is not ours: a fault in it is a refused file, no crash.
func decodeFile(file string, text []byte) (raw yamlFile, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%w: %s: cannot be read as YAML: %v", ErrInvalid, file, fault)
		}
	}()
	if err := yaml.UnmarshalWithOptions(text, &raw, yaml.Strict()); err != nil {
		return raw, fmt.Errorf("%w: %s: %s", ErrInvalid, file, yaml.FormatError(err, false, false))
	}
	return raw, nil
}

// definition is the label, or all that is wrong with it.
func (l *yamlLabel) definition(name string) (d *Definition, wrong []error) {
	d = &Definition{Name: name, Decision: l.Decision, Outcome: l.Name, Kind: KindOutcome, Sources: l.Sources, Entity: l.Match.Entity}
	bad := func(err error) {
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	if l.Kind != "" {
		i, err := parseName("kind", kindNames[:], l.Kind)
		bad(err)
		d.Kind = Kind(i)
	}
	if l.Type != "" {
		i, err := parseName("type", typeNames[1:], l.Type)
		bad(err)
		d.Type = ValueType(i + 1)
	}
	var err error
	d.Window, err = parseDuration("window", l.Window, true)
	bad(err)
	d.Within, err = parseDuration("match.within", l.Match.Within, len(d.Entity) > 0)
	bad(err)
	switch l.Silence {
	case "negative":
		d.Silence = SilenceNegative
	case "", "unknown":
	default:
		bad(fmt.Errorf("silence: %.40q is neither negative nor unknown", l.Silence))
	}
	d.Negative, err = l.negative(d)
	bad(err)
	if len(wrong) == 0 { // else some of what it checks was not read
		return d, d.problems()
	}
	if l.Decision == "" {
		bad(errDecision)
	}
	if l.Name == "" {
		bad(errOutcome)
	}
	return d, wrong
}

// negative is the value that silence stands for.
func (l *yamlLabel) negative(d *Definition) (Value, error) {
	if d.Silence != SilenceNegative {
		if l.Negative != nil {
			return Value{}, errors.New("negative: is only for silence: negative")
		}
		return Value{}, nil
	}
	switch v := l.Negative.(type) {
	case nil:
		if d.Type == TypeNumber {
			return Number(0), nil
		}
		return Bool(false), nil
	case bool:
		return Bool(v), nil
	case uint64:
		return Number(float64(v)), nil
	case int64:
		return Number(float64(v)), nil
	case float64:
		return Number(v), nil
	case string:
		if d.Type == TypeText {
			return Text(v), nil
		}
		return Class(v), nil
	}
	return Value{}, errors.New("negative: is no bool, number or text")
}

// WindowMax is the longest window.
const WindowMax = 10 * 366 * 24 * time.Hour

// parseDuration reads a number and a unit: that of time.ParseDuration, d or w.
func parseDuration(path, text string, required bool) (time.Duration, error) {
	if text == "" {
		if required {
			return 0, fmt.Errorf("%s: is required, such as 7d", path)
		}
		return 0, nil
	}
	unit, digits := time.Duration(0), text
	switch text[len(text)-1] {
	case 'd':
		unit, digits = 24*time.Hour, text[:len(text)-1]
	case 'w':
		unit, digits = 7*24*time.Hour, text[:len(text)-1]
	}
	if unit > 0 {
		x, err := strconv.ParseFloat(digits, 64)
		if err != nil || !(math.Abs(x) < float64(math.MaxInt64)/float64(unit)) {
			return 0, fmt.Errorf("%s: %.40q is no duration such as 1h, 7d or 2w", path, text)
		}
		return time.Duration(x * float64(unit)), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %.40q is no duration such as 1h, 7d or 2w", path, text)
	}
	return d, nil
}

var (
	errDecision = errors.New("decision: is required")
	errOutcome  = errors.New("name: is required: that of the outcome")
)

// Validate says all that is wrong with a definition; each error begins with the field's path.
func (d *Definition) Validate() error { return errors.Join(d.problems()...) }

func (d *Definition) problems() (all []error) {
	wrong := func(bad bool, err error) {
		if bad {
			all = append(all, err)
		}
	}
	wrong(d.Name == "", errors.New("label: has no name"))
	wrong(d.Decision == "", errDecision)
	wrong(d.Outcome == "", errOutcome)
	wrong(d.Kind == 0 || int(d.Kind) >= len(kindNames) || d.Kind == KindCorrection, errors.New("kind: is none of outcome, reward, label, user; corrections count for each"))
	wrong(d.Window < time.Microsecond || d.Window > WindowMax, fmt.Errorf("window: %v is not between 1us and ten years", d.Window))
	wrong(len(d.Entity) > EntityKeysMax, fmt.Errorf("match.entity: has %d keys, at most %d", len(d.Entity), EntityKeysMax))
	wrong(len(d.Entity) > 0 && (d.Within < 0 || d.Within > d.Window), fmt.Errorf("match.within: %v is not between 0 and the window, %v", d.Within, d.Window))
	wrong(len(d.Entity) == 0 && d.Within != 0, errors.New("match.entity: is required with within"))
	wrong(d.Silence == SilenceNegative && d.Type != TypeNull && d.Negative.Type != d.Type, fmt.Errorf("negative: is a %v, and the label takes a %v", d.Negative.Type, d.Type))
	for i, key := range d.Entity {
		wrong(key == "" || slices.Contains(d.Entity[:i], key), fmt.Errorf("match.entity[%d]: %q is empty or there twice", i, key))
	}
	for i, s := range d.Sources {
		wrong(slices.ContainsFunc(d.Sources[:i], func(o Source) bool { return o.Name == s.Name }), fmt.Errorf("sources[%d].name: %q is there twice", i, s.Name))
	}
	return all
}

// Hears tells whether what a source says counts.
func (d *Definition) Hears(source string) bool {
	_, ok := d.priority(source)
	return ok
}

// priority of a source, and whether it counts.
func (d *Definition) priority(source string) (int, bool) {
	other, ok := 0, len(d.Sources) == 0
	for i := range d.Sources {
		switch d.Sources[i].Name {
		case source:
			return d.Sources[i].Priority, true
		case AnySource:
			other, ok = d.Sources[i].Priority, true
		}
	}
	return other, ok
}
