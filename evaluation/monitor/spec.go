// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/evaluation/internal/strictyaml"
)

// Spec is a monitor as a project's file has it, by its name.
type Spec struct {
	Name string `yaml:"-"`
	// File is where it is written.
	File string `yaml:"-"`
	// Decision is whose predictions are watched, Label the label that says what became of
	// them; empty is none.
	Decision string `yaml:"decision"`
	Label    string `yaml:"label"`
	// Positive is the value of the label that stands for 1, for labels that are neither true nor false.
	Positive string `yaml:"positive"`
	// Reference says what windows are compared with.
	Reference ReferenceSpec `yaml:"reference"`
	// QuietMax is how long there may be no prediction at all; 0 is for ever.
	QuietMax Duration `yaml:"quiet_max"`
	// Alarms says who is told.
	Alarms AlarmSpec `yaml:"alarms"`
	// Config is the rest. Its name is the decision's.
	Config Config `yaml:",inline"`
}

// ReferenceSpec is where a reference comes from. The zero value is Version.
type ReferenceSpec struct {
	// Version takes reference.parquet of the folder of the version that is served, and Log
	// where it has none.
	Version bool `yaml:"-"`
	// File is a Parquet file with the columns, and with scores and labels in the columns
	// Score and Label: ScoreColumn and LabelColumn if left out. The label "-" is none.
	File  string `yaml:"file"`
	Score string `yaml:"score"`
	Label string `yaml:"label"`
	// Log takes the first days of a version in the log.
	Log LogReference `yaml:"log"`
}

// LogReference says how many days of the log are a reference: 14 if left out.
type LogReference struct {
	Days int `yaml:"days"`
}

// SetText reads the word version.
func (r *ReferenceSpec) SetText(text string) {
	if r.Version = text == "version"; !r.Version {
		r.File = text // such as a path that nothing says is one; checked for its ending
	}
}

// AlarmSpec says who is told of alarms.
type AlarmSpec struct {
	// Webhook is posted to; ${NAME} is taken from the environment.
	Webhook string `yaml:"webhook"`
}

// SetText reads a column that is only named.
func (c *Column) SetText(name string) { c.Name = name }

// Columns of a reference beside the features, and the name of the file in a version's folder.
const (
	ScoreColumn       = "score"
	LabelColumn       = "label"
	ReferenceFileName = "reference.parquet"
)

// DaysDefault is how many days of the log are a reference.
const DaysDefault = 14

// daysMax bounds them.
const daysMax = 3660

// SpecsMax is the most monitors of a project.
const SpecsMax = 64

var specName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// LoadSpecs reads files of monitors, sorted by name. Check says what else is wrong, such as
// with what other files have to have; its paths are those within the monitor. All that is
// wrong is reported at once, as definition.Errors.
func LoadSpecs(files []string, check func(s *Spec, fail func(path, format string, args ...any))) ([]*Spec, error) {
	var all []*Spec
	seen := map[string]string{}
	var wrong []error
	for _, name := range files {
		var content struct {
			Monitors map[string]Spec `yaml:"monitors"`
		}
		f, err := strictyaml.Read(name, &content)
		if err != nil {
			return nil, err
		}
		if content.Monitors == nil && f.Err() == nil {
			f.Fail("", "monitors is missing")
		}
		readable := f.Err() == nil
		for _, key := range slices.Sorted(maps.Keys(content.Monitors)) {
			s := content.Monitors[key]
			s.Name, s.File = key, name
			path := "monitors." + key
			if first, twice := seen[key]; twice {
				f.Fail(path, "there is a monitor of this name in %s", first)
			}
			seen[key] = name
			good := readable
			fail := func(at, format string, args ...any) {
				good = false
				f.Fail(strings.TrimSuffix(path+"."+at, "."), format, args...)
			}
			if s.check(fail); good && check != nil {
				check(&s, fail)
			}
			all = append(all, &s)
		}
		if len(all) > SpecsMax {
			f.Fail("monitors", "there are %d monitors, at most %d", len(all), SpecsMax)
		}
		if err := f.Err(); err != nil {
			wrong = append(wrong, err)
		}
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("%w:\n%w", ErrConfig, joined(wrong))
	}
	slices.SortFunc(all, func(a, b *Spec) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// joined is one error of several.
func joined(all []error) error {
	err := all[0]
	for _, more := range all[1:] {
		err = fmt.Errorf("%w\n%w", err, more)
	}
	return err
}

// check reports what is wrong with the file's own words, and fills in what they leave out.
func (s *Spec) check(fail func(path, format string, args ...any)) {
	if !specName.MatchString(s.Name) {
		fail("", "the name has other characters than letters, digits, _ and -, or more than 64")
	}
	if s.Decision == "" {
		fail("decision", "decision is missing: whose predictions are watched")
	}
	if s.Config.Name != "" {
		fail("name", "the name is the key of the monitor")
	}
	s.Config.Name = s.Decision
	s.Reference.check(fail, s.File)
	if s.QuietMax < 0 {
		fail("quiet_max", "it cannot be negative")
	}
	if hook := s.Alarms.Webhook; hook != "" && !strings.Contains(hook, "${") && !IsWebhook(hook) {
		fail("alarms.webhook", "needs an address such as https://example.com/hook, or ${NAME} of the environment")
	}
	if s.Label == "" && s.Positive != "" {
		fail("positive", "there is no label that it could be a value of")
	}
	for i, c := range s.Config.Columns {
		if c.Text {
			fail(fmt.Sprintf("columns[%d].text", i), "leave it out: the feature says whether it is a text")
		}
	}
}

// IsWebhook says whether an address can be posted to.
func IsWebhook(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func (r *ReferenceSpec) check(fail func(path, format string, args ...any), file string) {
	switch {
	case r.File != "" && r.Log.Days != 0:
		fail("reference", "it is either of a file or of the log")
	case r.File != "" && filepath.Ext(r.File) != ".parquet":
		fail("reference", "is %q, it takes version, {file: NAME.parquet} or {log: {days: %d}}", r.File, DaysDefault)
	case r.File == "" && (r.Score != "" || r.Label != ""):
		fail("reference", "score and label are columns of a file")
	case r.Log.Days < 0 || r.Log.Days > daysMax:
		fail("reference.log.days", "needs 1 to %d", daysMax)
	}
	if r.File == "" && r.Log.Days == 0 {
		r.Version = true
	}
	if r.Log.Days == 0 {
		r.Log.Days = DaysDefault
	}
	if r.File != "" && !filepath.IsAbs(r.File) {
		r.File = filepath.Join(filepath.Dir(file), r.File)
	}
	if r.Score == "" {
		r.Score = ScoreColumn
	}
	switch r.Label {
	case "":
		r.Label = LabelColumn
	case "-":
		r.Label = ""
	}
}
