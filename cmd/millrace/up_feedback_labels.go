// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// feedbackFileMax bounds a file of labels, in bytes.
const feedbackFileMax = 1 << 20

// labelName is what a label may be called: it is part of paths, metrics and addresses.
var labelName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`)

// labelsIn reads a project with its decisions and labels.
func labelsIn(folder string) (p *project, policies []*policy.Policy, labels []*groundtruth.Definition, err error) {
	if p, err = loadProject(folder); err != nil {
		return nil, nil, nil, err
	}
	if _, policies, err = p.catalog(); err != nil {
		return nil, nil, nil, err
	}
	labels, err = p.labels(policies)
	return p, policies, labels, err
}

// labels reads the project's feedback files, and reports all that is wrong in any.
func (p *project) labels(policies []*policy.Policy) ([]*groundtruth.Definition, error) {
	var all []*groundtruth.Definition
	var wrong []error
	file := map[string]string{} // by label
	for _, path := range p.Feedback {
		text, err := readBounded(path, feedbackFileMax)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		found, err := groundtruth.Parse(path, text)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		for _, d := range found {
			bad := func(within, format string, values ...any) {
				wrong = append(wrong, groundtruth.MistakeAt(path, text, "labels."+d.Name+within, fmt.Sprintf(format, values...)))
			}
			if other, ok := file[d.Name]; ok {
				bad("", "%s has a label of this name", other)
			}
			file[d.Name] = path
			checkLabel(d, policies, bad)
		}
		all = append(all, found...)
	}
	return all, errors.Join(wrong...)
}

// checkLabel holds a label to the decisions that there are. bad takes the path within the
// label and what is wrong there.
func checkLabel(d *groundtruth.Definition, policies []*policy.Policy, bad func(within, format string, values ...any)) {
	if !labelName.MatchString(d.Name) {
		bad("", "a name has letters, digits, _ and -, and 64 of them at most")
	}
	at := slices.IndexFunc(policies, func(p *policy.Policy) bool { return p.Name == d.Decision })
	if at < 0 {
		bad(".decision", "%q is not defined; there is %s", d.Decision, decisionNames(policies))
		return
	}
	for i, key := range d.Entity {
		if !slices.ContainsFunc(policies[at].Facts, func(f definition.Field) bool { return f.Name == key }) {
			bad(fmt.Sprintf(".match.entity[%d]", i), "decision %s has no fact %q that a prediction could be found by", d.Decision, key)
		}
	}
}

func decisionNames(policies []*policy.Policy) string {
	if len(policies) == 0 {
		return "none: the project has no decisions"
	}
	names := make([]string, len(policies))
	for i, p := range policies {
		names[i] = p.Name
	}
	return strings.Join(names, ", ")
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s: has more than %d bytes", path, limit)
	}
	return text, err
}
