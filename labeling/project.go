// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// ReviewPolicy says when annotations are enough and when somebody has to look again.
type ReviewPolicy string

// The review policies. Numbers agree within the set's tolerance.
const (
	// ReviewUnanimous sends a task to review unless all annotations are the same.
	ReviewUnanimous ReviewPolicy = "unanimous"
	// ReviewMajority sends it there unless more than half are the same.
	ReviewMajority ReviewPolicy = "majority"
	// ReviewAlways sends every task there.
	ReviewAlways ReviewPolicy = "always"
	// ReviewNever takes the most frequent annotation, of equally frequent ones the one
	// whose text comes first, and of numbers the median.
	ReviewNever ReviewPolicy = "never"
)

// Bounds of projects and of what one person has at once.
const (
	// NameBytesMax is the longest name of a project or person.
	NameBytesMax = 64
	// TaskIDBytesMax is the longest id of a task.
	TaskIDBytesMax = 120
	// OverlapMax is the largest overlap.
	OverlapMax = 20
	// HeldMax is the most tasks that a person can have at once.
	HeldMax = 16
	// PostponedMax is the most tasks that a person can have postponed in a project.
	PostponedMax = 1000
	// GoldMax is the largest number of gold tasks of a project.
	GoldMax = 1000
	// LeaseMax is the longest lease.
	LeaseMax = 7 * 24 * time.Hour
	// GuideBytesMax is the longest guide.
	GuideBytesMax = 64 << 10
)

// Project is what is to be labelled, and how.
type Project struct {
	// Name has letters, digits, '_', '.' and '-', at most NameBytesMax.
	Name string `json:"name"`
	// Title and Guide are for people; Guide says what the labels mean.
	Title string `json:"title,omitempty"`
	Guide string `json:"guide,omitempty"`
	// Labels cannot lose a label while the project has tasks, nor change kind or text.
	Labels LabelSet `json:"labels"`
	// Overlap is how many people label each task, 1 to OverlapMax: 0 is 1.
	Overlap int `json:"overlap,omitempty"`
	// Lease is how long a task stays with whom it was handed to, 1 s to LeaseMax: 0 is
	// 10 minutes.
	Lease time.Duration `json:"lease,omitempty"`
	// Review is when a task goes to review: empty is ReviewMajority.
	Review ReviewPolicy `json:"review,omitempty"`
	// SkipsMax is how many people may skip a task before it goes to review: 0 is 3, at
	// most OverlapMax.
	SkipsMax int `json:"skips_max,omitempty"`
	// GoldShare is the share of handed out tasks that are gold, 0 to 0.5, while there are
	// gold tasks that the person has not had.
	GoldShare float64 `json:"gold_share,omitempty"`
	// ShowPrediction lets people see the prediction before they label. It saves time and
	// draws them towards it.
	ShowPrediction bool `json:"show_prediction,omitempty"`
}

// EnsureDefaults replaces zero values by what they stand for.
func (p *Project) EnsureDefaults() {
	if p.Overlap == 0 {
		p.Overlap = 1
	}
	if p.Lease == 0 {
		p.Lease = 10 * time.Minute
	}
	if p.Review == "" {
		p.Review = ReviewMajority
	}
	if p.SkipsMax == 0 {
		p.SkipsMax = 3
	}
}

// Validate reports everything that is wrong, after EnsureDefaults. The error wraps
// ErrInvalid.
func (p *Project) Validate() error {
	var problems []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	if err := checkName(p.Name, "_.-"); err != nil {
		problems = append(problems, fmt.Errorf("name: %w", err))
	}
	bad(len(p.Title) <= 200 && utf8.ValidString(p.Title), "title: want at most 200 bytes of UTF-8")
	bad(len(p.Guide) <= GuideBytesMax && utf8.ValidString(p.Guide), "guide: want at most %d bytes of UTF-8", GuideBytesMax)
	bad(p.Overlap >= 1 && p.Overlap <= OverlapMax, "overlap: %d is not in 1 to %d", p.Overlap, OverlapMax)
	bad(p.Lease >= time.Second && p.Lease <= LeaseMax, "lease: %v is not in 1s to %v", p.Lease, LeaseMax)
	bad(p.SkipsMax >= 1 && p.SkipsMax <= OverlapMax, "skips_max: %d is not in 1 to %d", p.SkipsMax, OverlapMax)
	bad(p.GoldShare >= 0 && p.GoldShare <= 0.5, "gold_share: %v is not in 0 to 0.5", p.GoldShare)
	switch p.Review {
	case ReviewUnanimous, ReviewMajority, ReviewAlways, ReviewNever:
	default:
		bad(false, "review: %q is none of %s, %s, %s, %s", p.Review, ReviewUnanimous, ReviewMajority, ReviewAlways, ReviewNever)
	}
	if err := p.Labels.Validate(); err != nil {
		problems = append(problems, fmt.Errorf("labels: %w", err))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w project %.80q: %w", ErrInvalid, p.Name, err)
	}
	return nil
}

// compatible reports why what was labelled by the old definition would not fit the new.
func (p *Project) compatible(old *Project) error {
	if p.Labels.Kind != old.Labels.Kind || p.Labels.Text != old.Labels.Text {
		return fmt.Errorf("%w: project %q has tasks, so kind %s and text field %q stay; define another project", ErrConflict, p.Name, old.Labels.Kind, old.Labels.Text)
	}
	for _, l := range old.Labels.Labels {
		if p.Labels.index(l.Name) < 0 {
			return fmt.Errorf("%w: project %q has tasks, so label %q stays; define another project", ErrConflict, p.Name, l.Name)
		}
	}
	if p.Labels.Kind == Number && (p.Labels.Min != old.Labels.Min || p.Labels.Max != old.Labels.Max) {
		return fmt.Errorf("%w: project %q has tasks, so min and max stay; define another project", ErrConflict, p.Name)
	}
	return nil
}

// checkName checks the name of a project or person: letters, digits and some others. It
// never has a slash, which parts ids, nor '!', with which ids of the store begin.
func checkName(name, others string) error {
	if name == "" || len(name) > NameBytesMax {
		return fmt.Errorf("want 1 to %d characters, not %d", NameBytesMax, len(name))
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(others, r) {
			return fmt.Errorf("%.80q has %q: want letters, digits and %q", name, r, others)
		}
	}
	return nil
}

// checkPerson checks who acts; addresses of mail are fine.
func checkPerson(name string) error {
	if err := checkName(name, "_.-@+"); err != nil {
		return fmt.Errorf("%w annotator: %w", ErrInvalid, err)
	}
	return nil
}
